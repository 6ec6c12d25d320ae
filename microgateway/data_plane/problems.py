"""The answers of the proxy stage: what went wrong between the gateway and an upstream, or with the request's bytes."""

import math

from microgateway.core.fields import HeadError
from microgateway.exchange import Problem


def _bad_gateway(code: str, detail: str) -> Problem:
    return Problem(502, "Bad Gateway", code, "proxy", detail)


def _gateway_timeout(code: str, detail: str) -> Problem:
    return Problem(504, "Gateway Timeout", code, "proxy", detail)


UPSTREAM_UNREACHABLE = _bad_gateway("upstream_unreachable", "The service behind this route can't be reached.")
UPSTREAM_LOST = _bad_gateway("upstream_connection_lost", "The service closed the connection before it had answered.")
UPSTREAM_MALFORMED = _bad_gateway("upstream_malformed", "The service's answer can't be understood.")
CONNECT_TIMEOUT = _gateway_timeout("upstream_connect_timeout", "The service did not accept a connection in time.")
UPSTREAM_TIMEOUT = _gateway_timeout("upstream_timeout", "The service did not answer in time.")
REQUEST_TIMEOUT = _gateway_timeout("request_timeout", "The request was not done within its route's time limit.")
NO_CONNECTION_LEFT = Problem(
    503,
    "Service Unavailable",
    "upstream_overloaded",
    "proxy",
    "The service has all the connections that it may have.",
    b"Retry-After: 1\r\n",
)
BODY_TOO_LARGE = Problem(
    413, "Content Too Large", "body_too_large", "parse", "The request's body is larger than allowed here."
)
CLIENT_TIMEOUT = Problem(408, "Request Timeout", "client_timeout", "parse", "The request did not come in time.")
TOO_MANY_CONNECTIONS = Problem(
    503,
    "Service Unavailable",
    "too_many_connections",
    "parse",
    "The gateway has all the connections that it may have.",
    b"Retry-After: 1\r\n",
)

_TITLES = {
    204: "No Content",
    400: "Bad Request",
    405: "Method Not Allowed",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}


def no_healthy_target(retry_after: float) -> Problem:
    """For a service that would rather have no requests than send them to a target that is not well."""
    seconds = max(1, math.ceil(retry_after))
    detail = f"No target of the service is well; they are looked at again in {seconds} s."
    fields = b"Retry-After: %d\r\n" % seconds
    return Problem(503, "Service Unavailable", "no_healthy_target", "proxy", detail, fields)


def bad_head(error: HeadError) -> Problem:
    """What to answer to a head, or a framing, that can't be understood, or that is not to be passed on."""
    fields = b"Allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n" if error.status in (204, 405) else b""
    return Problem(error.status, _TITLES[error.status], error.code, "parse", str(error), fields)
