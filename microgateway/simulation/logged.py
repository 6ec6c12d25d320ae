"""A row of the log as a request to be judged: what it said where that is known, what its route asked where it isn't.

The log keeps no Host, no header fields, no body and no credential. Of a request that a route took it is known that it
met the route's conditions, so it is given a host and fields that meet them; whose it was is known by the key's id.
"""

from collections.abc import Iterable
from math import inf

from microgateway.core.field_sections import FieldSection
from microgateway.core.requests import RequestHead
from microgateway.core.routing import Router, Rule
from microgateway.data_plane.authentication import Authentication
from microgateway.exchange import Postponed, Problem
from microgateway.persistence.log_stream import LoggedRequest
from microgateway.simulation.asked import Asked
from microgateway.snapshot import CompiledRoute, KeyRing, Principal

MOST_HEADS = 20_000
FORWARDED = "forwarded"
PREFLIGHT = "preflight"
CUT_OFF = "…"  # at the end of a path that was too long for the log

Fields = tuple[bytes, dict[bytes, bytes]]
"""Host, and the values of others by lower-case name."""

NO_FIELDS: Fields = (b"", {})


class LoggedCredentials(Authentication):
    """Believes what the log says of the request `row`."""

    __slots__ = ("assumed", "row")

    row: LoggedRequest

    def __init__(self) -> None:
        super().__init__()
        self.assumed = 0  # requests without a key that now need one

    def authenticate(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem | Postponed:
        row = self.row
        if row.key_id is None:
            if row.stage == "auth":
                return Problem(401, "Unauthorized", row.code, "auth", "As it was then.")
            self.assumed += 1
            return self._problems.missing
        principal = keys.of_id(row.key_id) or _of_issuer(row.key_id, keys)
        if principal is None:
            return self._problems.invalid
        if not principal.enabled:
            return self._problems.disabled
        return principal if wall < principal.expires_at else self._problems.expired


class LoggedHeads:
    """Heads for rows. A head that comes again is the same object, as on a connection that stays."""

    def __init__(self, served: Router[CompiledRoute], proposed: Router[CompiledRoute]) -> None:
        self._fields = {**_fields(proposed.rules()), **_fields(served.rules())}
        self._conditional = {route_id for (route_id, _), (_, values) in self._fields.items() if values}
        self._heads: dict[tuple[str, ...], RequestHead] = {}

    def has_conditions(self, row: LoggedRequest) -> bool:
        """Whether this row's Host or fields were made up to meet its route's conditions."""
        return row.route_id in self._conditional

    def asked(self, row: LoggedRequest) -> Asked:
        """The row as a client may have written it, but for its credential."""
        authority, values = self._fields_of(row)
        fields = tuple((_text(name), _text(value)) for name, value in values.items())
        host = _text(authority) or None
        return Asked(method=row.method, target=row.path + row.query, host=host, fields=fields, client_ip=row.client_ip)

    def of(self, row: LoggedRequest) -> RequestHead | None:
        """None for one that can't be judged again: it made no sense, or its path was cut off."""
        known = (row.method, row.path, row.query, row.route_id or "", row.key_id or row.code, row.client_ip)
        head = self._heads.get(known)
        if head is None:
            if not row.method or row.path.endswith(CUT_OFF) or (row.stage == "parse" and row.route_id is None):
                return None
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            head = self._heads[known] = self._make(row)
        return head

    def _make(self, row: LoggedRequest) -> RequestHead:
        """With a header section of its own: what judgement notes there is of one client."""
        section = FieldSection()
        host, section.values = self._fields_of(row)
        section.host = section.authority = host
        head = RequestHead(row.method.encode("latin-1"), section)
        head.path, head.query = row.path.encode("latin-1", "replace"), row.query.encode("latin-1", "replace")
        return head

    def _fields_of(self, row: LoggedRequest) -> Fields:
        if row.route_id is None:
            return NO_FIELDS
        return self._fields.get((row.route_id, outcome_of(row) == PREFLIGHT), NO_FIELDS)


def outcome_of(row: LoggedRequest) -> str:
    """`forwarded`, or the code of the answer that the gateway's judgement was."""
    if row.breaker is not None and row.code != "circuit_open":
        return FORWARDED
    return row.code or PREFLIGHT


def _of_issuer(principal_id: str, keys: KeyRing) -> Principal | None:
    """Who came with another issuer's token; what the token claimed is not known."""
    issuer_id, mark, subject = principal_id.partition(":")
    if mark:
        for issuer in keys.issuers.values():
            if issuer.id == issuer_id:
                return issuer.principal(subject, {}, inf)
    return None


def _fields(rules: Iterable[Rule[CompiledRoute]]) -> dict[tuple[str, bool], Fields]:
    """What meets each route's conditions on host and fields, and those of its preflight."""
    found = {}
    for rule in rules:
        is_preflight = rule.target.gate is not None and rule.target.gate.preflight is not None
        values = {}
        for condition in rule.conditions.headers:
            if condition.pattern is not None:
                values[condition.name] = condition.pattern.filled(b"x")
            elif condition.present:
                values[condition.name] = min(condition.values, default=b"x")
        host = rule.hosts[0].replace(b"*", b"any") if rule.hosts else b""
        found[rule.target.id, is_preflight] = host, values
    return found


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")
