"""Whatever an upstream sends, in whatever pieces: the client gets it whole, or one that looks cut off, or 502."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing.corpus import ANSWERS
from fuzzing.mutation import mutate
from fuzzing.reading import read_their_final_answer
from fuzzing.targets import WholeAnswers
from microgateway.data_plane.options import Options
from microgateway.data_plane.upstream import MOST_INTERIM_ANSWERS
from tests.data_plane.bench import GET, OK, Scene, scene, silence
from tests.data_plane.test_segmentation import cut

INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
WITH_BODY = b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nok"
FINAL_ANSWERS = [answer for answer in ANSWERS if b" 103 " not in answer]


def answered(pieces: list[bytes], *, closed: bool) -> Scene:
    """A request, and this for its answer. `closed`: then the upstream hangs up."""
    stage = scene(silence)
    stage.send(GET)
    stage.upstream_sends(*pieces)
    if closed:
        stage.upstream_wire.send_eof()
        stage.bench.run()
    return stage


def told(stage: Scene) -> tuple[object, ...]:
    """What the client makes of it."""
    answer = read_their_final_answer(stage.answered, to_head=False, closed=not stage.client.aborted)
    assert answer is not None, stage.answered
    fields = [field for field in answer.fields if field[0] not in (b"transfer-encoding", b"x-request-id")]
    return answer.status, answer.reason, fields, answer.body, stage.statuses(), stage.bench.opened()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FINAL_ANSWERS), st.lists(st.sampled_from((INTERIM, HINT)), max_size=3), st.data())
def test_any_split_of_the_same_answer_is_the_same_answer(
    answer: bytes, interims: list[bytes], data: st.DataObject
) -> None:
    message = b"".join([*interims, answer])
    where = data.draw(st.lists(st.integers(0, len(message) - 1), max_size=10))
    assert told(answered(cut(message, where), closed=True)) == told(answered([message], closed=True))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ANSWERS), st.randoms(use_true_random=False))
def test_a_mutated_answer_is_never_taken_for_a_whole_one(answer: bytes, random: Random) -> None:
    WholeAnswers().check(mutate(answer, random), random)


@pytest.mark.parametrize("place", range(1, len(OK)))
def test_an_answer_cut_off_anywhere_is_not_whole(place: int) -> None:
    stage = answered([OK[:place]], closed=True)
    if place < OK.index(b"\r\n\r\n") + 4:
        assert stage.statuses() == [502]
    else:
        assert stage.client.aborted
    stage.assert_at_rest()


@pytest.mark.parametrize("place", range(1, len(OK)))
def test_a_head_that_is_known_does_not_make_an_answer_whole(place: int) -> None:
    stage = answered([OK], closed=False)
    stage.send(GET)
    stage.upstream_sends(OK[:place])
    assert stage.statuses() == [200]
    stage.upstream_sends(OK[place:])
    assert stage.statuses() == [200, 200]
    assert stage.answered.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "broken",
    [
        b"\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_502(broken: bytes) -> None:
    stage = answered([broken], closed=False)
    assert [(exchange.status, exchange.code) for exchange in stage.exchanges] == [(502, "upstream_malformed")]
    assert stage.upstream_wire.aborted
    stage.assert_at_rest()
    stage.send(GET)
    stage.upstream_sends(OK)
    assert stage.statuses() == [502, 200], "the client's connection goes on, with another one to the upstream"


@pytest.mark.parametrize("interim", [INTERIM, HINT])
@pytest.mark.parametrize("together", [True, False])
def test_interim_answers_are_taken_and_not_without_end(interim: bytes, together: bool) -> None:
    some, endless = [interim] * MOST_INTERIM_ANSWERS, [interim] * (MOST_INTERIM_ANSWERS + 1)
    stage = answered([b"".join(some)] if together else some, closed=False)
    assert stage.exchanges == []
    stage.upstream_sends(OK)
    assert stage.statuses() == [200]
    stage.send(GET)
    stage.upstream_sends(*([b"".join(endless)] if together else endless))
    assert [exchange.code for exchange in stage.exchanges] == ["", "upstream_malformed"]


def test_interim_answers_are_relayed_but_for_what_the_gateway_says_itself() -> None:
    """RFC 9110, 15.2: also those that nobody has thought of yet."""
    unknown = b"HTTP/1.1 199 Whatever\r\nX-Left: 5\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
    stage = answered([INTERIM, HINT, b"HTTP/1.1 100 Continue\r\n\r\n", unknown, OK], closed=False)
    heads = stage.answered.split(b"\r\n\r\n")
    assert [head.split(b"\r\n")[:-1] for head in heads[:3]] == [
        [b"HTTP/1.1 102 Processing"],
        [b"HTTP/1.1 103 Early Hints", b"Link: </a>"],
        [b"HTTP/1.1 199 Whatever", b"X-Left: 5"],
    ]
    assert heads[3].startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_of_http_1_0_gets_no_interim_answer() -> None:
    stage = scene(silence)
    stage.send(b"GET /a HTTP/1.0\r\n\r\n")
    stage.upstream_sends(HINT, OK)
    assert stage.answered.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("size", [32_768, 32_769, 100_000])
@pytest.mark.parametrize("piece", [1_000, 32_769, 32_771, 1_000_000])
def test_an_endless_head_is_cut_off(size: int, piece: int) -> None:
    """At the limit that clients have, too: 32 KiB, without the empty line at its end."""
    line = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: "
    message = line + b"a" * (size - len(line)) + b"\r\n\r\n"
    stage = answered([message[place : place + piece] for place in range(0, len(message), piece)], closed=False)
    assert stage.statuses() == ([200] if size <= 32_768 else [502])


def test_a_head_of_many_fields_is_refused() -> None:
    stage = scene(silence, options=Options(max_header_fields=3))
    fields = b"X: 1\r\n" * 3
    stage.send(GET)
    stage.upstream_sends(b"HTTP/1.1 204 No Content\r\n" + fields + b"\r\n")
    stage.send(GET)
    stage.upstream_sends(b"HTTP/1.1 204 No Content\r\nY: 1\r\n" + fields + b"\r\n")
    assert stage.statuses() == [204, 502]


def test_bytes_that_nobody_asked_for_reach_nobody() -> None:
    """They come while the connection is idle, or behind an answer; both close it before the next request."""
    stage = answered([OK], closed=False)
    poisoned = stage.upstream_wire
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert poisoned.aborted
    stage.send(GET)
    stage.upstream_sends(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert stage.upstream_wire.aborted
    stage.send(GET)
    stage.upstream_sends(OK)
    assert b"poison" not in stage.answered
    assert stage.statuses() == [200] * 3


def test_a_connection_that_has_ended_is_not_given_to_the_next_request() -> None:
    stage = answered([OK], closed=False)
    ended = stage.upstream_wire
    ended.send_eof()
    stage.bench.turns.popleft()()  # the end has come, and its connection_lost has not
    assert ended.closing
    stage.client.send_now(GET.replace(b"GET", b"POST"))
    stage.bench.run()
    stage.upstream_sends(OK)
    assert stage.statuses() == [200, 200]


@pytest.mark.parametrize(
    "asked", [GET.replace(b"GET", b"POST"), WITH_BODY, GET], ids=["bodiless", "with a body", "GET"]
)
def test_a_connection_that_was_reset_is_not_given_to_the_next_request(asked: bytes) -> None:
    stage = answered([OK], closed=False)
    lost = stage.upstream_wire
    lost.reset()
    stage.bench.turns.popleft()()  # the loop has met the reset, and has not told of it
    assert lost.closing
    stage.client.send_now(asked)
    stage.bench.run()
    stage.upstream_sends(OK)
    assert [(exchange.status, exchange.attempts) for exchange in stage.exchanges] == [(200, 1), (200, 1)]
    stage.assert_at_rest()


def test_a_connection_that_is_closing_is_not_given_to_the_next_request() -> None:
    """The upstream's bytes and the next request come in one round of the loop, before anybody is told of the loss."""
    stage = answered([OK], closed=False)
    stage.upstream_wire.protocol.data_received(b"unasked")
    stage.client.send_now(GET.replace(b"GET", b"POST"))
    stage.bench.run()
    stage.upstream_sends(OK)
    assert stage.statuses() == [200, 200], "a POST is not repeated, so it must not be sent where it can't arrive"
