"""One row of a table of answers: what the upstream does, and what its client may be told.

Behind every row another client asks for something else, and must get its own answer: whatever the upstream said too
much, it is nobody's answer.
"""

import contextlib
from dataclasses import dataclass

from tests.kit.cases import SUFFIX, SUFFIX_TARGET, Checks, check_any
from tests.kit.client import Answer, NoAnswerError
from tests.kit.fixtures import Pair
from tests.kit.messages import lines
from tests.kit.steps import Step

GET = lines("GET /x HTTP/1.1", "Host: a.example")
HEAD = lines("HEAD /x HTTP/1.1", "Host: a.example")


AnswerExpectation = Checks[Answer | None]
"""None is checked where the connection ended without an answer."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """The upstream's answer came whole. `fields` stand once each; `lacks` are names. `interim` are the 1xx before
    it.
    """

    body: bytes = b"ok"
    status: int = 200
    fields: tuple[tuple[bytes, bytes], ...] = ()
    lacks: tuple[bytes, ...] = ()
    interim: tuple[int, ...] | None = None

    def check(self, answer: Answer | None) -> None:
        assert answer is not None, "closed without an answer"
        assert answer.status == self.status, f"{answer.status}: {answer.body[:300]!r}"
        assert answer.complete, f"cut off behind {answer.body[:100]!r}"
        assert answer.body == self.body, f"the body became {answer.body[:300]!r}"
        for name, value in self.fields:
            assert answer.all(name) == [value], f"{name!r} became {answer.all(name)!r}"
        for name in self.lacks:
            assert name not in answer.head.names(), f"{name!r} came through: {answer.head.raw!r}"
        if self.interim is not None:
            got = tuple(int(head.start.split(b" ")[1]) for head in answer.interim)
            assert got == self.interim, f"interim answers {got}"


@dataclass(frozen=True, slots=True)
class Problem:
    """The gateway says it in its own name, and nothing of what the upstream sent is in it."""

    statuses: frozenset[int] = frozenset((502,))

    def check(self, answer: Answer | None) -> None:
        assert answer is not None, "closed without an answer"
        assert answer.status in self.statuses, f"{answer.status} and not {sorted(self.statuses)}: {answer.body[:300]!r}"
        assert answer.complete, "its own answer is cut off"
        if answer.framed_by != "nothing":
            assert answer.problem()["code"]
        assert b"x-upstream" not in answer.head.names(), answer.head.raw


@dataclass(frozen=True, slots=True)
class CutOff:
    """The head was on its way already, so the client must see that there was more to come."""

    def check(self, answer: Answer | None) -> None:
        if answer is None:
            return  # not even its head came through
        assert not answer.complete, f"taken for whole: {answer.head.raw!r} {answer.body[:100]!r}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Standards and good peers differ, or it depends on when which bytes came: each of these will do."""

    expectations: tuple[AnswerExpectation, ...]

    def check(self, answer: Answer | None) -> None:
        check_any(self.expectations, answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCase:
    """A row. `steps` follow on the request's head; `request` is what the client sends."""

    name: str
    why: str
    steps: tuple[Step, ...]
    expect: AnswerExpectation
    request: bytes = GET

    @property
    def method(self) -> bytes:
        return self.request.partition(b" ")[0]

    def __str__(self) -> str:
        return self.name


def check(case: AnswerCase, pair: Pair) -> None:
    """Plays the row, asks its expectation, and then asks for something else."""
    upstream = pair.upstream
    upstream.forget()
    upstream.script(*case.steps)
    answer: Answer | None = None
    again: Answer | None = None
    with pair.gateway.connect() as client:
        client.send(case.request)
        with contextlib.suppress(NoAnswerError):
            answer = client.read_answer(case.method)
        upstream.forget()
        upstream.wait_for_scripts()
        pair.gateway.settle()  # what the upstream said too much has been read
        if (
            answer is not None
            and answer.complete
            and answer.framed_by != "close"
            and answer.one(b"connection") != b"close"
        ):
            with contextlib.suppress(NoAnswerError):
                again = client.ask(SUFFIX)
    try:
        case.expect.check(answer)
        if again is not None:
            _assert_own(again)
        with pair.gateway.connect() as other:
            _assert_own(other.ask(SUFFIX))
    except AssertionError as complaint:
        raise AssertionError(
            f"{case.name}: {complaint}\n  why: {case.why}\n  steps: {str(case.steps)[:600]}\n"
            f"  answer: {str(answer)[:900]}"
        ) from None
    finally:
        upstream.violations.clear()


def _assert_own(answer: Answer) -> None:
    assert (answer.status, answer.body) == (200, b"GET " + SUFFIX_TARGET), (
        f"the next request got another's answer: {answer}"
    )
