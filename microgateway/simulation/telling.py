"""An explanation in the words of the control API: stage by stage, with the reasons."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from microgateway.control_plane.gateway_requests import (
    CircuitReading,
    GatewayAnswer,
    GatewayRequest,
    LimitReading,
    NormalisedRequest,
    Stage,
    StageName,
    StageVerdict,
    UpstreamRequest,
)
from microgateway.core.circuit import Permit
from microgateway.core.token_bucket import TOKEN
from microgateway.exchange import Postponed, Problem
from microgateway.simulation.asked import Asked
from microgateway.simulation.explaining import Explanation
from microgateway.simulation.headers import changes, fields_of
from microgateway.simulation.readings import candidate_reading, limit_reading
from microgateway.simulation.watching import LimitSeen
from microgateway.snapshot import CompiledRoute, Principal

_ORDER = get_args(StageName)
# Which of our stages a problem's own `stage` speaks of, but for these codes
_STAGES: dict[str, StageName] = {
    "parse": "normalise",
    "auth": "authenticate",
    "rate_limit": "rate_limit",
    "router": "route",
    "circuit_breaker": "circuit",
    "proxy": "target",
}
_OF_CODES: dict[str, StageName] = {"service_not_allowed": "route", "body_too_large": "attempt", "bad_chunk": "attempt"}
_FRAMING = frozenset(("content-length", "transfer-encoding", "connection"))


def asked_of(request: GatewayRequest) -> Asked:
    """The request as it would be written."""
    target = request.path
    if request.query is not None:
        target += ("&" if "?" in target else "?") + request.query
    fields = tuple(
        (name, value)
        for name, values in request.headers.items()
        for value in ([values] if isinstance(values, str) else values)
    )
    return Asked(
        method=request.method,
        target=target,
        host=request.host,
        fields=fields,
        body=(request.body or "").encode(),
        api_key=request.api_key,
        token=request.token,
        client_ip=request.client_ip,
    )


def told(explanation: Explanation) -> GatewayAnswer:
    """All of it."""
    return _Teller(explanation).answer()


class _Teller:
    """Goes over one explanation."""

    def __init__(self, explanation: Explanation) -> None:
        self._told = explanation
        self._seen = explanation.seen
        exchange = explanation.exchange
        self._judgement = None if exchange is None else exchange.judgement
        self._is_held = self._judgement is not None and isinstance(self._judgement.outcome, Postponed)
        has_answer = exchange is not None and not explanation.sent and not self._is_held
        self._code = exchange.code if has_answer and exchange is not None else ""
        self._problem_stage = exchange.stage if has_answer and exchange is not None else ""
        head, _, body = explanation.answer.partition(b"\r\n\r\n")
        self._status = None if explanation.sent or not head else int(head.split(b" ", 2)[1])
        self._fields = fields_of(head)
        self._body = body
        self._stopped_at = self._find_stop()
        self._passed: Mapping[StageName, Callable[[], tuple[StageVerdict, str]]] = {
            "normalise": self._normalise_passed,
            "guards": self._guards_passed,
            "authenticate": self._authenticate_passed,
            "rate_limit": self._rate_limit_passed,
            "route": self._route_passed,
            "circuit": self._circuit_passed,
            "target": self._target_passed,
            "attempt": self._attempt_passed,
        }

    def answer(self) -> GatewayAnswer:
        match, told = self._seen.match, self._told
        destination = match if isinstance(match, CompiledRoute) else None
        fields = [field for field in self._fields if self._status is not None or field[0].lower() not in _FRAMING]
        return GatewayAnswer(
            upstream="none",
            status=self._status,
            headers=fields,
            body=self._body.decode() if self._status is not None and self._body else None,
            stage="proxy" if told.sent else self._problem_stage,
            code=self._code or None,
            key_id=None if self._principal is None else self._principal.id,
            route_id=None if destination is None else destination.id,
            service_id=None if destination is None else destination.service_id,
            configuration_version=told.snapshot.version,
            stages=[self._stage(name) for name in _ORDER],
        )

    @property
    def _principal(self) -> Principal | None:
        return self._seen.who if isinstance(self._seen.who, Principal) else None

    def _find_stop(self) -> StageName | None:
        """The stage at which it ends, None where it reaches the service."""
        if self._told.sent:
            return None
        if self._is_held:
            return "authenticate"
        if self._code == "rate_limited" and self._refusing_guards():
            return "guards"
        return _OF_CODES.get(self._code) or _STAGES.get(self._problem_stage, "route")

    def _refusing_guards(self) -> list[LimitSeen]:
        return [one for one in self._seen.guards or () if not one.grant.admitted and one.is_enforced]

    def _stage(self, name: StageName) -> Stage:
        verdict, why = self._verdict(name)
        took = self._seen.took.get(name)
        is_end = name == self._stopped_at
        return Stage(
            stage=name,
            verdict=verdict,
            why=why,
            code=self._code or None if is_end else None,
            took_us=None if took is None else round(took * 1e6, 1),
            request=self._request() if name == "normalise" else None,
            limits=self._limits(name),
            candidates=[candidate_reading(one) for one in self._told.candidates] if name == "route" else None,
            circuit=self._circuit() if name == "circuit" else None,
            upstream_request=self._upstream_request() if name == "target" else None,
        )

    def _verdict(self, name: StageName) -> tuple[StageVerdict, str]:
        stop = self._stopped_at
        if stop is not None and _ORDER.index(name) > _ORDER.index(stop):
            return "not_reached", "It ends before."
        if name == stop:
            if self._is_held:
                return "postponed", "The keys of the token's issuer are fetched first, for which the request is held."
            return ("passed" if self._code == "" else "refused"), self._detail()
        return self._passed[name]()

    def _detail(self) -> str:
        """The problem's own words."""
        outcome = None if self._judgement is None else self._judgement.outcome
        if isinstance(outcome, Problem):
            return outcome.detail or "A browser's question is answered."
        try:
            return str(json.loads(self._body)["detail"])
        except (ValueError, KeyError):
            return self._code  # an answer to HEAD has no body

    # -- what is said of a stage that lets the request pass ------------------------------------------------------------

    def _normalise_passed(self) -> tuple[StageVerdict, str]:
        return "passed", "The request makes sense."

    def _guards_passed(self) -> tuple[StageVerdict, str]:
        if not self._seen.guards:
            return "skipped", "No rate limit rule is asked before authentication."
        return "passed", f"Each has a token: {_names(self._seen.guards)}."

    def _authenticate_passed(self) -> tuple[StageVerdict, str]:
        if self._principal is None:
            return "skipped", "The route is open to everybody."
        return "passed", f"It is from {self._principal.name!r}."

    def _rate_limit_passed(self) -> tuple[StageVerdict, str]:
        exchange = self._told.exchange
        limit = None if exchange is None or exchange.judgement is None else exchange.judgement.limited_by
        if exchange is None or limit is None:
            return "skipped", "No limit is enforced."
        name = "the key's own" if isinstance(limit, Principal) else repr(limit.name)
        return "passed", f"The tightest limit, {name}, has {exchange.level // TOKEN} left after it."

    def _route_passed(self) -> tuple[StageVerdict, str]:
        match = self._seen.match
        if not isinstance(match, CompiledRoute):
            return "refused", "No route takes it."
        return "passed", f"Route {match.path} of service {self._told.snapshot.upstreams[match.service_id].name!r}."

    def _circuit_passed(self) -> tuple[StageVerdict, str]:
        outcome = None if self._judgement is None else self._judgement.outcome
        state = outcome.state.value.replace("_", "-") if isinstance(outcome, Permit) else "not asked"
        return "passed", "The service is trusted." if state == "closed" else f"The circuit is {state}: it is a probe."

    def _target_passed(self) -> tuple[StageVerdict, str]:
        target = self._told.target
        if target is None:
            return "skipped", "No target is asked."
        return "passed", f"It goes to {target.text}."

    def _attempt_passed(self) -> tuple[StageVerdict, str]:
        return "skipped", "Nothing is sent when no upstream is asked for."

    # -- details -------------------------------------------------------------------------------------------------------

    def _request(self) -> NormalisedRequest | None:
        head, exchange = self._told.head, self._told.exchange
        if head is None or exchange is None or self._stopped_at == "normalise":
            return None
        return NormalisedRequest(
            method=_text(head.method),
            path=_text(head.path),
            query=_text(head.query.removeprefix(b"?")),
            host=_text(head.host),
            client_ip=exchange.client_ip,
        )

    def _limits(self, name: StageName) -> list[LimitReading] | None:
        """Those of guards are told where they decide, or where nobody was recognised; otherwise with all others."""
        seen, principal = self._seen, self._principal
        if name == "guards" and seen.guards is not None:
            ends_here = self._stopped_at in ("guards", "authenticate")
            return [
                limit_reading(one, principal) for one in (seen.limits if ends_here and seen.limits else seen.guards)
            ]
        if name == "rate_limit" and seen.limits is not None and self._stopped_at not in ("guards", "authenticate"):
            return [limit_reading(one, principal) for one in seen.limits]
        return None

    def _circuit(self) -> CircuitReading | None:
        seen = self._seen.circuit
        if seen is None:
            return None
        return CircuitReading(
            service_id=seen.service_id,
            state=seen.state.value,
            failures=seen.failures,
            retry_after_seconds=round(seen.retry_after, 3),
        )

    def _upstream_request(self) -> UpstreamRequest | None:
        sent, target = self._told.sent, self._told.target
        if not sent or target is None:
            return None
        method, path, _ = _text(sent.partition(b"\r\n")[0]).split(" ", 2)
        before = fields_of(self._told.octets.partition(b"\r\n\r\n")[0])
        after = fields_of(sent.removesuffix(b"\r\n\r\n"))
        said = changes(before, after)
        url = f"{target.scheme}://{target.authority}{path}"
        return UpstreamRequest(
            method=method, url=url, headers=after, added=said.added, removed=said.removed, changed=said.changed
        )


def _names(limits: Sequence[LimitSeen]) -> str:
    return ", ".join(repr(one.rule.name) for one in limits if one.rule is not None)


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")
