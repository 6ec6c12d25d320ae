"""What the soak would call a miss: if it could not see one, its facts would mean nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from soak import marks
from soak.broken import BROKEN, WHOLE, answer
from soak.clients import is_good
from soak.crowd import LATE, Cuts
from soak.facts import Report
from soak.messages import Answer, BrokenError, read_answer
from soak.processes import until
from soak.stream import Stream
from soak.upstreams import Reader, Seen

Pair = tuple[Stream, Stream]
OWN, ANOTHER = "reader1-1", "reader2-1"


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A server's end and a client's end of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = socket.create_connection(listening.getsockname())
        there, _ = listening.accept()
    server, client = Stream(there), Stream(here)
    yield server, client
    server.close()
    client.close()


def seen_by(way: str, got: Answer, *, method: str = "GET") -> Seen:
    """What a reader notes of this answer to its request."""
    seen = Seen()
    Reader(0, "reader1", seen).judge(way, method, OWN, got)
    return seen


def good(request_id: str = OWN, *, complete: bool = True) -> Answer:
    return Answer(status=200, body=marks.body(request_id), complete=complete, closes=False)


class TestAnswers:
    """Read from a socket, as the scenarios read them."""

    async def test_whole_by_length_then_the_next(self, pair: Pair) -> None:
        server, client = pair
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 204 No Content\r\n\r\n")
        first, second = await read_answer(client), await read_answer(client)
        assert (first.status, first.body, first.complete, first.closes) == (200, b"ab", True, False)
        assert (second.status, second.body, second.complete) == (204, b"", True)

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
        ],
    )
    async def test_what_ends_early_is_not_whole(self, sent: bytes, pair: Pair) -> None:
        server, client = pair
        await server.send(sent)
        server.close()
        assert not (await read_answer(client)).complete

    @pytest.mark.parametrize("reset", [False, True])
    async def test_until_the_close_is_whole_unless_it_is_a_reset(self, reset: bool, pair: Pair) -> None:
        server, client = pair
        await server.send(b"HTTP/1.1 200 OK\r\n\r\nab")
        reading = asyncio.create_task(read_answer(client))
        await until(lambda: client.received > 0, "the body has come")
        server.close(reset=reset)
        assert (await reading).complete is not reset

    async def test_what_is_not_http_is_broken(self, pair: Pair) -> None:
        server, client = pair
        await server.send(b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nab")
        with pytest.raises(BrokenError):
            await read_answer(client)

    async def test_the_end_is_seen_before_anything_is_sent(self, pair: Pair) -> None:
        server, client = pair
        assert not client.has_ended()
        server.close()
        await until(client.has_ended, "the end has come")


class TestMarks:
    def test_a_body_holds_nobody_else_s_byte(self) -> None:
        assert is_good(good(), OWN)
        assert marks.is_only(marks.body(OWN)[:7], OWN)
        assert not marks.is_only(marks.body(OWN) + b"<", ANOTHER)
        assert not marks.is_only(marks.body(OWN)[:50] + marks.line(ANOTHER), OWN)
        assert not is_good(good(complete=False), OWN)


class TestReader:
    def test_a_good_answer(self) -> None:
        seen = seen_by("now", good())
        assert (seen.foreign, seen.taken_for_whole, seen.failed) == ([], [], [])
        assert seen.outcomes["whole"] == 1

    def test_another_client_s_answer(self) -> None:
        assert seen_by("now", good(ANOTHER)).foreign

    def test_a_problem_that_names_another_request(self) -> None:
        body = b'{"status": 502, "request_id": "%b"}' % ANOTHER.encode()
        assert seen_by("truncated", Answer(status=502, body=body, complete=True)).foreign

    @pytest.mark.parametrize("way", BROKEN)
    def test_a_broken_answer_taken_for_whole(self, way: str) -> None:
        assert seen_by(way, good()).taken_for_whole

    def test_a_shortened_answer_taken_for_whole(self) -> None:
        assert seen_by("now", Answer(status=200, body=marks.line(OWN), complete=True)).taken_for_whole

    def test_a_good_answer_that_is_cut_off(self) -> None:
        assert seen_by("now", good(complete=False)).failed

    def test_a_get_that_failed_though_its_upstream_is_good(self) -> None:
        problem = Answer(status=502, body=b'{"request_id": "%b"}' % OWN.encode(), complete=True)
        assert seen_by("now", problem).failed
        assert not seen_by("now", problem, method="POST").failed
        assert not seen_by("silentend", problem).failed


class TestUpstream:
    @pytest.mark.parametrize("way", WHOLE)
    async def test_what_is_behind_an_answer_comes_with_it(self, way: str, pair: Pair) -> None:
        server, client = pair
        await answer(server, way, OWN)
        got = await read_answer(client)
        assert got.complete
        assert marks.is_only(got.body, OWN)
        assert await client.read_some()


class TestFacts:
    def test_a_cut_in_time_and_others(self) -> None:
        cuts = Cuts(10.0)
        cuts.note(10.2, None)
        assert cuts.failures == []
        cuts.note(9.0, None)
        cuts.note(10.1 + LATE, None)
        cuts.note(10.2, "200, complete True")
        assert len(cuts.failures) == 3

    def test_a_miss_is_told_with_examples(self) -> None:
        told: list[str] = []
        report = Report("swap", told.append)
        report.check("both are in use", True, "1 and 2")
        report.none("failed request", [f"failure {number}" for number in range(9)], of="10")
        assert told == [
            "met     swap: both are in use: 1 and 2",
            "MISSED  swap: no failed request: 9 of 10; failure 0; failure 1; failure 2",
        ]
        assert [fact.met for fact in report.facts] == [True, False]
