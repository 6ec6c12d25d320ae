"""How an exchange ended, in the eight kinds that charts are stacked of. Every exchange is of exactly one."""

from typing import Final

from microgateway.exchange import CLIENT_CLOSED_REQUEST

OUTCOMES: Final = (
    "success",  # 1xx and 2xx: 101 is a WebSocket, which is counted at its end
    "redirect",  # 3xx
    "client_error",  # 4xx, the service's or the gateway's, that is none of the next two
    "refused",  # by the gateway's own authentication: 401, 403
    "limited",  # by the gateway's own limits: 429
    "upstream_error",  # 5xx that the service answered
    "gateway_error",  # 5xx of the gateway's own: 502, 503, 504
    "client_closed",  # 499: the client left before its answer
)
SUCCESS, REDIRECT, CLIENT_ERROR, REFUSED, LIMITED, UPSTREAM_ERROR, GATEWAY_ERROR, CLIENT_CLOSED = range(len(OUTCOMES))
ERRORS: Final = (UPSTREAM_ERROR, GATEWAY_ERROR)  # what an error rate counts: the fault of this side


def outcome_of(status: int, stage: str) -> int:
    """The place in `OUTCOMES`. `stage` is what decided, "" when the answer is the service's."""
    if status >= 500:
        return GATEWAY_ERROR if stage else UPSTREAM_ERROR
    if status == CLIENT_CLOSED_REQUEST and not stage:
        return CLIENT_CLOSED
    if status >= 400:
        if stage == "rate_limit":
            return LIMITED
        return REFUSED if stage == "auth" else CLIENT_ERROR
    return REDIRECT if status >= 300 else SUCCESS
