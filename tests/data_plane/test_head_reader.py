"""A connection reads its heads as if each were the first: what it remembers of the last one changes nothing."""

import itertools
import random
from typing import Any

import pytest

from microgateway.core.field_sections import request_fields
from microgateway.core.fields import HeadError
from microgateway.core.requests import RequestHead
from microgateway.data_plane.head_reader import PASSED_OVER, HeadReader
from microgateway.data_plane.options import Options

TRACE = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_TRACE = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
NO_TRACE = b"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-00"
LINES = [
    TRACE,
    OTHER_TRACE,
    NO_TRACE,
    TRACE.replace(b"traceparent: ", b"TraceParent:  "),
    TRACE.upper(),
    b"X-Request-Id: 1-abc",
    b"X-Request-Id: 2-abc",
    b"X-Request-Id: 1-abc no",
    b"X-Request-Id: 2-abc no",
    b"X-Request-Id:3-abc",
    b"X-Other: 1",
    b"X-Other: 2",
    b"Connection: x-other",
    b"Content-Length: 1",
    b"Content-Length: 2",
    b"X-API-Key: one",
    b"X-API-Key: two",
    b"Host: a",
]


def reader() -> HeadReader:
    return HeadReader(Options(), request_fields())


def head_of(*lines: bytes, start: bytes = b"GET /a HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: a.example", *lines]) + b"\r\n\r\n"


def read(heads: HeadReader, message: bytes) -> RequestHead:
    return heads.read(message, message.index(b"\r\n\r\n"))


def facts(heads: HeadReader, message: bytes) -> dict[str, Any]:
    """All that a head and its section say, or why there is none."""
    try:
        head = read(heads, message)
    except HeadError as error:
        return {"code": error.code, "status": error.status, "detail": str(error)}
    section = head.section
    said = {name: getattr(head, name) for name in RequestHead.__slots__ if name not in ("section", "standing", "way")}
    for name in ("api_key", "body", "connection", "passed_on", "forwarding", "has_extras", "fields"):
        said[f"section.{name}"] = getattr(section, name)
    return said


@pytest.mark.parametrize("seed", range(60))
def test_any_fields_after_any_others(seed: int) -> None:
    dice, heads = random.Random(seed), reader()
    lines = dice.sample(LINES, dice.randrange(6))
    for _ in range(40):
        if lines and dice.random() < 0.8:
            lines[dice.randrange(len(lines))] = dice.choice(LINES)
        else:
            lines = dice.sample(LINES, dice.randrange(6))
        message = head_of(*lines, start=dice.choice((b"GET /a HTTP/1.1", b"GET /b?c HTTP/1.1")))
        if dice.random() < 0.1:
            heads.forget()
        told = facts(heads, message)
        assert told == facts(reader(), message)
        if "code" in told:
            heads = reader()  # such a connection ends


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([TRACE], [OTHER_TRACE]),
        ([b"A: b", TRACE, b"C: d"], [b"A: b", OTHER_TRACE, b"C: d"]),
        ([b"X-Request-Id: 1-abc", b"A: b", TRACE], [b"X-Request-Id: 2-abc", b"A: b", OTHER_TRACE]),
        ([TRACE, b"X-Request-Id: 1-abc"], [TRACE, b"X-Request-Id: 2-abc"]),
    ],
)
def test_fields_that_differ_in_their_ids_alone_are_not_read_again(first: list[bytes], second: list[bytes]) -> None:
    """Every request of a client that traces has ids of its own."""
    heads = reader()
    one, other = read(heads, head_of(*first)), read(heads, head_of(*second))
    assert other.section is one.section
    assert (other.request_id, other.traceparent) != (one.request_id, one.traceparent)
    once_more = read(heads, head_of(*first))
    assert once_more.section is one.section
    assert (once_more.request_id, once_more.traceparent) == (one.request_id, one.traceparent)


@pytest.mark.parametrize(
    "second",
    [
        [NO_TRACE, b"A: b"],
        [OTHER_TRACE, b"A: c"],
        [OTHER_TRACE, b"A: b", b"C: d"],
        [b"A: b", OTHER_TRACE],
        [OTHER_TRACE[:-2] + b"\t0", b"A: b"],
    ],
)
def test_where_more_differs_they_are(second: list[bytes]) -> None:
    heads = reader()
    one, other = read(heads, head_of(TRACE, b"A: b")), read(heads, head_of(*second))
    assert other.section is not one.section


def test_who_changes_other_fields_is_not_asked_for_ids_each_time_and_is_again_later() -> None:
    heads = reader()
    messages = [head_of(TRACE, b"A: 1"), head_of(TRACE, b"A: 2")]
    messages += [head_of((OTHER_TRACE, TRACE)[number % 2], b"A: 2") for number in range(PASSED_OVER + 2)]
    sections = [read(heads, message).section for message in messages]
    read_again = [one is not other for one, other in itertools.pairwise(sections)]
    assert read_again == [True] + [True] * PASSED_OVER + [False, False]


@pytest.mark.parametrize(
    "sections",
    [
        [[b"X-Request-Id: 1-abc no", b"X-Request-Id: 1-abc"], [b"X-Request-Id: 2-abc no", b"X-Request-Id: 1-abc"]],
        [
            [b"X-Request-Id: 1-abc"],
            [b"X-Request-Id: 2-abc"],
            [b"X-Another-Id: 2-abc", TRACE],
            [b"X-Another-Id: 3-abc", TRACE],
        ],
    ],
    ids=["in a line that only begins like it", "in what came before the last"],
)
def test_an_id_is_not_looked_for_in_the_wrong_place(sections: list[list[bytes]]) -> None:
    heads = reader()
    for lines in sections:
        assert facts(heads, head_of(*lines)) == facts(reader(), head_of(*lines))


KEY, TOKEN, PROXY = b"X-API-Key: one", b"Authorization: Bearer a.b.c", b"X-Forwarded-For: 192.0.2.1"


@pytest.mark.parametrize(
    ("first", "second", "is_the_same"),
    [
        ([KEY], [KEY], True),
        ([KEY, b"A: 1"], [KEY, b"A: 2"], True),
        ([], [b"A: 1"], True),
        ([KEY], [b"X-API-Key: two"], False),
        ([KEY], [KEY, KEY], False),
        ([KEY], [], False),
        ([TOKEN], [TOKEN, b"A: 1"], False),
        ([TOKEN], [b"Authorization: Bearer a.b.d"], False),
        ([], [TOKEN], False),
        ([KEY], [KEY, PROXY], False),
        ([KEY, PROXY], [KEY], False),
        ([KEY, PROXY], [KEY, b"X-Forwarded-For: 192.0.2.2"], False),
    ],
)
def test_who_it_is_need_not_be_asked_again(first: list[bytes], second: list[bytes], is_the_same: bool) -> None:
    """Other fields are from the same client where neither its credentials nor its address may be another's."""
    heads = reader()
    one = read(heads, head_of(*first)).section
    one.recognised = one.recognised_by = object()
    other = read(heads, head_of(*second)).section
    assert (other.recognised is one.recognised) is is_the_same


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"max_request_line": 15, "max_header_bytes": 23, "max_header_fields": 2}, None),
        ({"max_request_line": 14}, "request_line_too_long"),
        ({"max_header_bytes": 22}, "header_section_too_large"),
        ({"max_header_fields": 1}, "header_fields_too_many"),
    ],
)
def test_a_head_may_be_so_large_and_no_larger(options: dict[str, Any], code: str | None) -> None:
    heads = HeadReader(Options(**options), request_fields())
    assert facts(heads, head_of(b"A: b")).get("code") == code


@pytest.mark.parametrize("octet", [0x00, 0x09, 0x0E, 0x16, 0x20, 0x7F, 0x80, 0xFF])
def test_what_begins_no_request_is_refused_at_once(octet: int) -> None:
    with pytest.raises(HeadError):
        reader().check_beginning(b"%c" % octet)


@pytest.mark.parametrize("octet", [0x0D, 0x21, 0x41, 0x7E])
def test_and_what_may_is_waited_for(octet: int) -> None:
    reader().check_beginning(b"%c" % octet)
