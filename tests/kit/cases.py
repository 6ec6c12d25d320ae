"""One row of a table: bytes that a client sends, and what may come of them.

Behind the row's own bytes goes, in the same breath, a second request for `/suffix`. So every row asks where a
request ends, too: a gateway that loses the boundary swallows the suffix or takes part of the first request for it,
and one that refuses must not serve it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tests.kit.client import Answer, Client, NoAnswerError
from tests.kit.gateway import Gateway
from tests.kit.messages import BadMessageError, lines
from tests.kit.stream import TooSlowError
from tests.kit.upstream import RecordedRequest, Upstream

SUFFIX = lines("GET /suffix HTTP/1.1", "Host: a.example")
SUFFIX_TARGET = b"/suffix"
DELIVERIES = ("at once", "byte by byte")

T = TypeVar("T", contravariant=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that came of a row. `kept` is whether the suffix was answered; otherwise the connection was closed."""

    answers: tuple[Answer, ...]
    kept: bool
    requests: tuple[RecordedRequest, ...]


class Checks(Protocol[T]):
    def check(self, outcome: T, /) -> None:
        """Raises `AssertionError` where this is not what happened."""
        ...


Expectation = Checks[Outcome]


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway says so itself, and closes. `incomplete`: part of a request may have reached the upstream, never a
    whole one.

    `silently`: closing without an answer will do, where what came was no HTTP. `closes` False: it may go on to the
    suffix, where the refused request was read to its end.
    """

    statuses: frozenset[int] = frozenset((400,))
    incomplete: bool = False
    silently: bool = False
    closes: bool = True

    def check(self, outcome: Outcome) -> None:
        requests = [request for request in outcome.requests if self.closes or request.target != SUFFIX_TARGET]
        if self.incomplete:
            assert not [request for request in requests if request.complete], "a whole request reached the upstream"
        else:
            assert not requests, "it reached the upstream"
        if not outcome.answers:
            assert self.silently, "closed without an answer"
            return
        answer = outcome.answers[0]
        assert answer.status in self.statuses, f"{answer.status} and not {sorted(self.statuses)}"
        assert answer.complete, "its own answer is cut off"
        if answer.framed_by != "nothing":
            answer.problem()
        if self.closes:
            assert len(outcome.answers) == 1, f"{len(outcome.answers)} answers"
            assert not outcome.kept, "the connection is still open"
            assert answer.one(b"connection") == b"close", "it closes without saying so (RFC 9112, 9.6)"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the upstream saw it. `has` are field lines, in this order; `lacks` are names. `target` None: any."""

    target: bytes | None = b"/x"
    method: bytes = b"GET"
    body: bytes = b""
    has: tuple[tuple[bytes, bytes], ...] = ()
    lacks: tuple[bytes, ...] = ()

    def check(self, request: RecordedRequest) -> None:
        assert request.complete, "the upstream got a part of the request"
        assert request.method == self.method, f"{request.method!r} and not {self.method!r}"
        assert self.target is None or request.target == self.target, f"{request.target!r} and not {self.target!r}"
        assert request.body == self.body, f"the body became {request.body[:200]!r}"
        for name in self.lacks:
            assert name not in request.head.names(), f"{name!r} went on as {request.all(name)!r}"
        names = [name for name, _ in self.has]
        for name in dict.fromkeys(names):
            wanted = [value for given, value in self.has if given == name]
            assert request.all(name) == wanted, f"{name!r} became {request.all(name)!r}"
        order = [given.lower() for given, _ in request.head.fields if given.lower() in names]
        assert order == names, f"the order became {order!r}"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """These requests reached the upstream, in this order, each was answered with its own answer, and then the suffix
    was.

    `closes`: the connection ends behind them, and the suffix is not served (RFC 9112, 9.6). None: either.
    """

    seen: tuple[Seen, ...] = (Seen(),)
    closes: bool | None = False

    def check(self, outcome: Outcome) -> None:
        assert outcome.answers, "closed without an answer"
        first = outcome.answers[0]
        assert first.status == 200, f"{first.status}: {first.body[:300]!r}"
        wanted = len(self.seen)
        assert len(outcome.answers) >= wanted, f"{len(outcome.answers)} answers, then closed"
        own = [request for request in outcome.requests if request.target != SUFFIX_TARGET]
        assert len(own) == wanted, f"the upstream saw {[request.head.start for request in own]}"
        for seen, request, answer in zip(self.seen, own, outcome.answers, strict=False):
            seen.check(request)
            assert answer.status == 200, f"{answer.status}: {answer.body[:300]!r}"
            told = b"" if request.method == b"HEAD" else request.method + b" " + request.target
            assert answer.complete, "the answer is cut off"
            assert answer.body == told, f"another's answer: {answer.body!r}"
        if self.closes is not None:
            assert outcome.kept is not self.closes, "kept open" if outcome.kept else "closed"


@dataclass(frozen=True, slots=True)
class AnswerOnly:
    """What the gateway answers, whether it asked the upstream or not."""

    statuses: frozenset[int]

    def check(self, outcome: Outcome) -> None:
        assert outcome.answers, "closed without an answer"
        assert outcome.answers[0].status in self.statuses, (
            f"{outcome.answers[0].status} and not {sorted(self.statuses)}"
        )


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Standards and good peers differ: each of these will do, and nothing between them."""

    expectations: tuple[Expectation, ...]

    def check(self, outcome: Outcome) -> None:
        check_any(self.expectations, outcome)


def check_any(expectations: Iterable[Checks[T]], outcome: T) -> None:
    """Passes where one of them does; where none does, it says what each has to complain of."""
    complaints = []
    for expectation in expectations:
        try:
            expectation.check(outcome)
        except AssertionError as complaint:
            complaints.append(f"{expectation}: {complaint}")
        else:
            return
    raise AssertionError("none of:\n" + "\n".join(complaints))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row. `why` names the rule and where it stands. `methods` are those of the row's requests, to read their
    answers by.
    """

    name: str
    why: str
    sends: bytes
    expect: Expectation
    methods: tuple[bytes, ...] = (b"GET",)
    suffix: bytes = SUFFIX
    pieces: tuple[bytes, ...] = field(default=())  # where the cuts matter: in place of `sends`

    def __str__(self) -> str:
        return self.name


def check(case: Case, gateway: Gateway, upstream: Upstream, delivery: str = "at once") -> None:
    """Sends the row, collects what came of it, and asks its expectation."""
    upstream.forget()
    known = len(upstream.requests)
    with gateway.connect() as client:
        client.send(*_pieces(case, delivery))
        try:
            answers, kept = _read_answers(client, case)
        except (TooSlowError, BadMessageError) as error:
            got = bytes(client.stream.received[-600:])
            raise AssertionError(
                f"{case.name}: {error}\n  why: {case.why}\n  sent: {case.sends!r}\n  got: {got!r}"
            ) from None
    gateway.settle()  # what it was going to send on it has sent
    outcome = Outcome(answers, kept, _new_requests(upstream, known))
    try:
        case.expect.check(outcome)
        assert not upstream.violations, upstream.violations
    except AssertionError as complaint:
        told = [(answer.status, answer.body[:300]) for answer in answers]
        went_on = [request.head.raw + request.body[:200] for request in outcome.requests]
        raise AssertionError(
            f"{case.name}: {complaint}\n  why: {case.why}\n  sent: {case.sends or case.pieces!r}\n  answers: {told}\n"
            f"  kept: {kept}\n  reached the upstream: {went_on}"
        ) from None
    finally:
        upstream.violations.clear()


def _pieces(case: Case, delivery: str) -> list[bytes]:
    if case.pieces:
        return [*case.pieces[:-1], case.pieces[-1] + case.suffix]
    data = case.sends + case.suffix
    return [data] if delivery == "at once" else [data[place : place + 1] for place in range(len(data))]


def _read_answers(client: Client, case: Case) -> tuple[tuple[Answer, ...], bool]:
    """All answers up to the suffix's or the connection's end, and whether the suffix was answered."""
    answers: list[Answer] = []
    wanted = len(case.methods) + bool(case.suffix)
    for method in (*case.methods, *((b"GET",) if case.suffix else ())):
        try:
            answers.append(client.read_answer(method))
        except NoAnswerError:
            break
        last = answers[-1]
        if not last.complete or last.framed_by == "close" or (last.one(b"connection") or b"").lower() == b"close":
            client.assert_closed()
            break
    else:
        suffix = answers[-1]
        return tuple(answers), len(answers) == wanted and (not case.suffix or suffix.body == b"GET " + SUFFIX_TARGET)
    return tuple(answers), False


def _new_requests(upstream: Upstream, known: int) -> tuple[RecordedRequest, ...]:
    upstream.rest()
    return tuple(upstream.requests_since(known))
