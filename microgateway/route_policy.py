"""What a route does to its requests and answers besides sending them on, compiled for the data plane."""

from dataclasses import dataclass

from microgateway.core.addresses import EVERYBODY, AddressList, networks
from microgateway.core.cors import Cors, is_cors_field, without_vary_origin
from microgateway.core.field_sections import FieldSection
from microgateway.core.header_edits import NO_EDITS, HeaderEdits
from microgateway.core.path_templates import PathTemplate, stripped
from microgateway.core.routing import PathPattern
from microgateway.entities import Route


@dataclass(frozen=True, slots=True)
class Alteration:
    """What a route changes in a request on its way.

    `strips`: how many leading segments of the path are taken off; `template`: what the path becomes instead.
    """

    strips: int = 0
    template: PathTemplate | None = None
    edits: HeaderEdits | None = None

    def path(self, path: bytes) -> bytes:
        """The path to ask the service for."""
        if self.template is not None:
            return self.template.fill(path)
        return stripped(path, self.strips) if self.strips else path

    def fields(self, section: FieldSection) -> bytes:
        """The end-to-end lines for the service."""
        return section.passed_on if self.edits is None else self.edits.apply(section.fields)


@dataclass(frozen=True, slots=True)
class AnswerAlteration:
    """What a route changes in the answers of its service: its edits first, then what browsers are told."""

    edits: HeaderEdits
    cors: Cors | None

    def apply(self, head: bytes, origin: bytes | None) -> bytes:
        """`head` is a status line and fields, each with its line end; `origin` is that of the request."""
        status, *lines = head.split(b"\r\n")[:-1]
        if self.cors is None:
            return b"%b\r\n%b" % (status, self.edits.apply(lines))
        lines = [line for line in lines if not is_cors_field(line)]
        said = without_vary_origin(self.cors.fields(origin), lines)
        return b"%b\r\n%b%b" % (status, self.edits.apply(lines), said)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a route asks of a request that may pass otherwise.

    `preflight`: this is no request for the service at all, but a browser's question, and here is the answer.
    """

    addresses: AddressList = EVERYBODY
    preflight: Cors | None = None


def cors_of(route: Route) -> Cors | None:
    """None where the route says nothing to browsers."""
    return None if route.cors is None else route.cors.compiled(route.methods)


def gate_of(route: Route) -> Gate | None:
    """None where the route is open to every address."""
    addresses = AddressList(networks(route.allow_addresses), networks(route.deny_addresses))
    return None if addresses == EVERYBODY else Gate(addresses)


def alteration_of(route: Route, pattern: PathPattern) -> Alteration | None:
    """None where requests go on as they came. `pattern` is the route's path."""
    alteration = Alteration(
        strips=len(pattern.segments) if route.strip_prefix else 0,
        template=None if route.rewrite is None else PathTemplate.parse(route.rewrite, pattern),
        edits=route.request_headers.compiled(),
    )
    return None if alteration == Alteration() else alteration


def answer_alteration_of(route: Route, cors: Cors | None) -> AnswerAlteration | None:
    """None where answers go on as they came."""
    edits = route.response_headers.compiled()
    return None if edits is None and cors is None else AnswerAlteration(edits or NO_EDITS, cors)
