"""Where a body ends, however its bytes come."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microgateway.core.fields import HeadError
from microgateway.core.framing import (
    LAST_CHUNK,
    LONGEST_SIZE_LINE,
    LONGEST_TRAILER,
    BodyReader,
    ChunkedReader,
    FixedReader,
    UntilCloseReader,
    encode_chunk,
)

WHOLE = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"


def fed(reader: BodyReader, pieces: list[bytes]) -> tuple[bytes, int, bool] | str:
    """Payload, bytes of the body, and whether its end has come; or the code of the complaint."""
    payload, consumed = b"", 0
    for piece in pieces:
        if reader.done:
            break
        try:
            read, count = reader.feed(piece)
        except HeadError as error:
            return error.code
        payload += b"".join(read)
        consumed += count
        assert count == len(piece) or reader.done, "a reader takes all, unless the body's end is in it"
    return payload, consumed, reader.done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


READ = [
    (b"0\r\n\r\n", b"", 0),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0),
    (WHOLE, b"hello world", 0),
    (b"a\r\n0123456789\r\n0\r\n\r\nGET", b"0123456789", 3),
    (b"A\r\n0123456789\r\n000\r\n\r\n\r\n", b"0123456789", 2),
    (b"00000000000000a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", 0),
    (b"3;name\r\nabc\r\n0;last=1\r\n\r\n", b"abc", 0),
    (b'3;a="x\t;y\xe9"\r\nabc\r\n0\r\n\r\n', b"abc", 0),
    (b"3 ;a\r\nabc\r\n0\t \t;b\r\n\r\n", b"abc", 0),
    (b"0\r\nX-A: 1\r\nX-B:\r\n\r\n", b"", 0),
]


@pytest.mark.parametrize(("data", "payload", "behind"), READ)
def test_a_chunked_body_is_read_to_its_end_and_no_further(data: bytes, payload: bytes, behind: int) -> None:
    expected = (payload, len(data) - behind, True)
    assert fed(ChunkedReader(), [data]) == expected
    assert fed(ChunkedReader(), [data[place : place + 1] for place in range(len(data))]) == expected


REFUSED = [
    b"\r\n",
    b"x\r\n",
    b"0x5\r\n",
    b"+5\r\n",
    b"-5\r\n",
    b" 5\r\n",
    b"5 \r\n",
    b"5\t\r\n",
    b"5 5\r\n",
    b"5_0\r\n",
    b";a\r\n",
    b"5\n",
    b"5\r\r\n",
    b"5\x00\r\n",
    b"5;a\x00\r\n",
    b"5;a\rb\r\n",
    b"5;a\nb\r\n",
    b"5;\x7f\r\n",
    b"5,5\r\n",
    b"\xb2\r\n",
    b"fffffffffffffffff\r\n",
    b"0" * 17 + b"\r\n",
    b"5;" + b"a" * LONGEST_SIZE_LINE + b"\r\n",
    b"1;%b\r\na\r\n" % (b"e" * 200) * 42 + b"0\r\n\r\n",  # each is in bounds, all together are not
    b"1;\r\na\r\n" * 9_000 + b"0\r\n\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc\n",
    b"3\r\nabc\r\r\n",
    b"3\r\nabcX",
    b"3\r\nabc\rX",
    b"3\r\nabc0\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nX : 1\r\n\r\n",
    b"0\r\n folded\r\n\r\n",
    b"0\r\nX: a\x00\r\n\r\n",
    b"0\r\nX: a\x7f\r\n\r\n",
    b"0\r\nX: a\n\r\n",
    b"0\r\n\n",
    b"0\r\nX: 1\r\n\n",
    b"0\r\n: 1\r\n\r\n",
    *(
        b"0\r\n" + name + b": 1\r\n\r\n"
        for name in (b"Content-Length", b"transfer-encoding", b"HOST", b"Connection", b"Upgrade", b"TE", b"Trailer")
    ),
    b"0\r\nX-API-Key: 1\r\n\r\n",
    b"0\r\nAuthorization: 1\r\n\r\n",
    b"0\r\nX-Forwarded-For: 1\r\n\r\n",
    b"0\r\nForwarded: 1\r\n\r\n",
    b"0\r\nX: " + b"a" * LONGEST_TRAILER + b"\r\n\r\n",
    b"0\r\n" + b"X: 12345\r\n" * (LONGEST_TRAILER // 8 + 1) + b"\r\n",
]


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data[:24]))
def test_broken_chunks_are_refused_however_they_come(data: bytes) -> None:
    assert fed(ChunkedReader(), [data]) == "bad_chunk"
    assert fed(ChunkedReader(), [data[place : place + 1] for place in range(len(data))]) == "bad_chunk"


@pytest.mark.parametrize(
    "data",
    [
        b"5;" + b"a" * (LONGEST_SIZE_LINE - 2) + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: " + b"a" * (LONGEST_TRAILER - 3) + b"\r\n\r\n",
    ],
    ids=["size line", "trailer"],
)
def test_the_longest_line_is_taken_however_it_comes(data: bytes) -> None:
    whole = fed(ChunkedReader(), [data])
    assert isinstance(whole, tuple)
    assert whole[2]
    for place in range(1, len(data)):
        if place < 10 or data[place - 4 : place + 4].count(b"\r\n"):
            assert fed(ChunkedReader(), [data[:place], data[place:]]) == whole, place


def test_an_endless_line_is_refused_without_being_kept() -> None:
    reader = ChunkedReader()
    for _ in range(LONGEST_SIZE_LINE + 1):
        reader.feed(b"1")
    with pytest.raises(HeadError):
        reader.feed(b"1")


chunks = st.lists(st.binary(max_size=30), max_size=6)
extensions = st.sampled_from((b"", b";a", b';a="b c"', b" ;a=b"))
trailers = st.sampled_from((b"", b"X-Sum: 1\r\n", b"X-A: 1\r\nX-B: 2\r\n"))
places = st.lists(st.integers(0, 300), max_size=12)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Payload, and one way to write it."""
    parts = [chunk for chunk in draw(chunks) if chunk]
    sizes = [draw(st.sampled_from((b"%x", b"%X", b"0%x"))) % len(part) + draw(extensions) for part in parts]
    written = b"".join(size + b"\r\n" + part + b"\r\n" for size, part in zip(sizes, parts, strict=True))
    return b"".join(parts), written + b"0" + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"


@settings(max_examples=300)
@given(chunked_bodies(), st.binary(max_size=10), places)
def test_any_split_of_a_body_is_the_same_body(body: tuple[bytes, bytes], behind: bytes, where: list[int]) -> None:
    payload, written = body
    assert fed(ChunkedReader(), cut(written + behind, where)) == (payload, len(written), True)


@settings(max_examples=500)
@given(
    st.lists(
        st.sampled_from((b"5", b"0", b"a", b"\r", b"\n", b"\r\n", b";", b" ", b"hello", b":", b"X", b"\x00")),
        max_size=14,
    ),
    places,
)
@example([b"0", b"\r\n", b"\r\n"], [1, 2, 3, 4])
@example([b"5", b"\r\n", b"hello", b"\r", b"X"], [3, 8, 9])
def test_any_split_of_any_bytes_has_the_same_outcome(parts: list[bytes], where: list[int]) -> None:
    data = b"".join(parts)
    assert fed(ChunkedReader(), cut(data, where)) == fed(ChunkedReader(), [data])


@given(chunks, places)
def test_what_is_encoded_is_read_back(parts: list[bytes], where: list[int]) -> None:
    written = b"".join(bytes(piece) for part in parts for piece in encode_chunk([part])) + LAST_CHUNK
    assert fed(ChunkedReader(), cut(written, where)) == (b"".join(parts), len(written), True)


@given(st.lists(st.binary(max_size=5), max_size=5))
def test_pieces_become_one_chunk_and_nothing_becomes_none(parts: list[bytes]) -> None:
    """A chunk of nothing would end the body."""
    written = b"".join(encode_chunk(list(parts)))
    payload = b"".join(parts)
    assert written == (b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b"")


@given(st.binary(max_size=40), st.integers(0, 40), places)
def test_a_body_of_known_length_ends_there(data: bytes, length: int, where: list[int]) -> None:
    expected = (data[:length], min(length, len(data)), len(data) >= length)
    assert fed(FixedReader(length), cut(data, where)) == expected


@given(st.binary(max_size=40), places)
def test_a_body_without_length_takes_all(data: bytes, where: list[int]) -> None:
    assert fed(UntilCloseReader(), cut(data, where)) == (data, len(data), False)


def test_the_payload_is_not_copied() -> None:
    data = b"400\r\n" + b"a" * 1_024 + b"\r\n0\r\n\r\n"
    pieces, _ = ChunkedReader().feed(data)
    assert [type(piece) for piece in pieces] == [memoryview]
    assert FixedReader(3).feed(b"abc")[0][0] == b"abc"
