"""When an answer was made (RFC 9110, 6.6.1): a server with a clock says so, and a proxy says it of what does not."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from microgateway.testing import FakeClock
from tests.kit.client import Answer, Client
from tests.kit.configuration import route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import answer, lines
from tests.kit.steps import Send

MADE_EARLIER = "Tue, 14 Nov 2023 20:00:00 GMT"


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def pair(clock: FakeClock) -> Iterator[Pair]:
    with running_pair(routes=[route("/x"), route("/closed", auth="required")], clock=clock) as running:
        yield running


def asked(client: Client, path: str = "/x", method: str = "GET", version: str = "1.1") -> Answer:
    return client.ask(lines(f"{method} {path} HTTP/{version}", "Host: a.example"), method.encode())


def assert_made_now(answer: Answer, clock: FakeClock) -> None:
    """It has one date, in the form that RFC 9110, 5.6.7, asks for, and it is the present second."""
    value = (answer.one(b"date") or b"").decode()
    assert parsedate_to_datetime(value).timestamp() == int(clock.wall()), answer.head.raw
    assert len(value) == len(MADE_EARLIER), value


@pytest.mark.parametrize(
    ("path", "method", "version", "status"),
    [
        ("/closed", "GET", "1.1", 401),
        ("/closed", "HEAD", "1.1", 401),
        ("/x", "GET", "1.9", 505),
        ("/x", "G(T", "1.1", 400),
    ],
)
def test_the_gateways_own_answers_are_dated(
    pair: Pair, clock: FakeClock, path: str, method: str, version: str, status: int
) -> None:
    clock.advance(0.75)
    with pair.gateway.connect() as client:
        refused = asked(client, path, method, version)
    assert refused.status == status
    assert_made_now(refused, clock)


def test_an_answer_without_a_date_is_given_the_present_one_however_often_it_comes(pair: Pair, clock: FakeClock) -> None:
    """The same head again is not read again, and yet it is not dated as the first one was."""
    with pair.gateway.connect() as client:
        for _ in range(3):
            for method in ("GET", "GET", "HEAD", "GET"):
                pair.upstream.script(Send(answer(200, body=b"" if method == "HEAD" else b"ok")))
                assert_made_now(asked(client, method=method), clock)
            pair.gateway.pass_time(clock, 1.0)


def test_an_answer_with_a_date_keeps_it(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        for fields in ((), ("Connection: Date",)):
            pair.upstream.script(Send(answer(200, f"date: {MADE_EARLIER}", *fields, body=b"ok")))
            assert asked(client).all(b"date") == [MADE_EARLIER.encode()]


def test_an_interim_answer_is_not_dated(pair: Pair, clock: FakeClock) -> None:
    """It need not be, and it is not what a cache would keep."""
    pair.upstream.script(Send(lines("HTTP/1.1 103 Early Hints", "Link: <x>") + answer(200, body=b"ok")))
    with pair.gateway.connect() as client:
        final = asked(client)
    assert [head.one(b"date") for head in final.interim] == [None]
    assert_made_now(final, clock)
