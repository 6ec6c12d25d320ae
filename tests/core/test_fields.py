"""One line at a time: what it says, whether it may be said, and who remembers it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing.corpus import LINES, OCTETS
from microgateway.core.answers import AnswerReader
from microgateway.core.field_sections import request_fields
from microgateway.core.fields import (
    LARGEST_BODY,
    LONGEST_REMEMBERED,
    MOST_PRIVATE,
    MOST_REMEMBERED,
    Field,
    FieldTable,
    HeadError,
    Memory,
    content_length,
    is_token,
    members,
)

EXAMINED = [
    (b"Accept: */*", b"accept", b"*/*", b"Accept: */*"),
    (b"ACCEPT:*/*", b"accept", b"*/*", b"ACCEPT: */*"),
    (b"Accept: \t */* \t", b"accept", b"*/*", b"Accept: */*"),
    (b"Accept:*/* ", b"accept", b"*/*", b"Accept: */*"),
    (b"Accept:\t*/*", b"accept", b"*/*", b"Accept: */*"),
    (b"Empty:", b"empty", b"", b"Empty: "),
    (b"Empty: ", b"empty", b"", b"Empty: "),
    (b"Colons: a:b: c", b"colons", b"a:b: c", b"Colons: a:b: c"),
    (b"Inner: a \t b", b"inner", b"a \t b", b"Inner: a \t b"),
    (b"Text: caf\xe9 \x80\xff", b"text", b"caf\xe9 \x80\xff", b"Text: caf\xe9 \x80\xff"),
    (b"!#$%&'*+-.^_`|~09Az: x", b"!#$%&'*+-.^_`|~09az", b"x", b"!#$%&'*+-.^_`|~09Az: x"),
]
REFUSED = [
    b"",
    b"Accept",
    b": x",
    b" Accept: x",
    b"\tAccept: x",
    b"Accept : x",
    b"Accept\t: x",
    b"Acc ept: x",
    b"Acc\xe9pt: x",
    b"Acc\x00ept: x",
    b"(Accept): x",
    b"Accept/: x",
    b"Accept@: x",
    b'"Accept": x',
    *(b"Accept: a%cb" % octet for octet in (*range(9), *range(10, 32), 127)),
    b"Accept: \x00",
    b"Accept:\r",
]
CREDENTIALS = [
    b"X-API-Key",
    b"x-api-key",
    b"Authorization",
    b"Cookie",
    b"Proxy-Authorization",
    b"X_API_KEY",
    b"x_api-key",
]


def table(**memory: Memory) -> FieldTable:
    return FieldTable({}, {name.encode(): who for name, who in memory.items()})


def verdict(fields: FieldTable, line: bytes, private: dict[bytes, Field]) -> tuple[object, ...]:
    """As a reader asks: the remembered line first."""
    try:
        field = fields.remembered.get(line) or private.get(line) or fields.examine(line, private)
    except HeadError as error:
        return error.status, error.code, str(error)
    return field.name, field.value, field.line, field.action


@pytest.mark.parametrize(("line", "name", "value", "normal"), EXAMINED)
def test_a_line_has_a_normal_form(line: bytes, name: bytes, value: bytes, normal: bytes) -> None:
    field = table().examine(line, {})
    assert (field.name, field.value, field.line) == (name, value, normal)


@pytest.mark.parametrize("line", REFUSED)
@pytest.mark.parametrize("known", [(), (b"Accept: y", b"Acc: y")], ids=["new name", "known name"])
def test_what_is_no_field_is_refused(line: bytes, known: tuple[bytes, ...]) -> None:
    """A name that was seen before is still no excuse, neither for a missing colon nor for its value."""
    fields = table()
    for other in known:
        fields.examine(other, {})
    with pytest.raises(HeadError) as refused:
        fields.examine(line, {})
    assert refused.value.status == 400
    assert line not in fields.remembered


lines = st.one_of(
    st.sampled_from(LINES),
    st.builds(
        lambda name, colon, value: name + colon + value,
        st.sampled_from((b"Accept", b"Host", b"X-API-Key", b"Connection", b"", b"x_y", b"Bad Name"))
        | st.binary(max_size=6),
        st.sampled_from((b":", b": ", b" :", b"", b"::")),
        st.text(st.characters(max_codepoint=255), max_size=20).map(lambda text: text.encode("latin-1"))
        | st.lists(st.sampled_from(OCTETS), max_size=4).map(bytes),
    ),
)


@settings(max_examples=300)
@given(st.lists(lines, max_size=40))
def test_what_is_remembered_is_what_is_examined(given_lines: list[bytes]) -> None:
    remembering, private = request_fields(), dict[bytes, Field]()
    for line in [*given_lines, *given_lines]:
        assert verdict(remembering, line, private)[:3] == verdict(request_fields(), line, {})[:3]


@settings(max_examples=200)
@given(st.lists(lines, max_size=40))
def test_a_normal_form_is_its_own(given_lines: list[bytes]) -> None:
    fields = table()
    for line in given_lines:
        try:
            field = fields.examine(line, {})
        except HeadError:
            continue
        again = table().examine(field.line, {})
        assert (again.name, again.value, again.line) == (field.name, field.value, field.line)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_credential_is_never_in_the_shared_table(name: bytes) -> None:
    fields, private = request_fields(), dict[bytes, Field]()
    for _ in range(2):
        fields.examine(name + b": s3cret", private)
    assert not [line for line in fields.remembered if b"s3cret" in line]


def test_a_credential_is_remembered_by_its_own_connection() -> None:
    fields, mine, another = request_fields(), dict[bytes, Field](), dict[bytes, Field]()
    fields.examine(b"X-API-Key: s3cret", mine)
    assert b"X-API-Key: s3cret" in mine
    assert another == {}


@pytest.mark.parametrize("name", [b"traceparent", b"X-Request-Id", b"Date", b"If-None-Match"])
def test_what_differs_every_time_is_not_remembered(name: bytes) -> None:
    fields, private = request_fields(), dict[bytes, Field]()
    fields.examine(name + b": 1", private)
    assert (fields.remembered, private) == ({}, {})


def test_the_tables_are_bounded() -> None:
    fields, private = request_fields(), dict[bytes, Field]()
    for number in range(MOST_REMEMBERED + 10):
        fields.examine(b"X-%d: %d" % (number, number), private)
        assert len(fields.remembered) <= MOST_REMEMBERED
    for number in range(MOST_PRIVATE + 3):
        fields.examine(b"Cookie: %d" % number, private)
        assert len(private) <= MOST_PRIVATE


def test_a_long_line_is_not_remembered() -> None:
    fields = table()
    longest = b"X: " + b"a" * (LONGEST_REMEMBERED - 3)
    fields.examine(longest, {})
    fields.examine(longest + b"a", {})
    fields.examine(b"X" * (LONGEST_REMEMBERED + 1) + b": a", {})
    assert list(fields.remembered) == [longest]


def test_a_full_table_begins_anew_and_judges_as_before() -> None:
    fields = table()
    for number in range(MOST_REMEMBERED + 1):
        fields.examine(b"X-%d: 1" % number, {})
    assert len(fields.remembered) == 1
    assert fields.examine(b"X-0: 1", {}).value == b"1"


def test_answers_remember_status_lines_and_not_without_bound() -> None:
    reader = AnswerReader()
    for number in range(1_000):
        head = reader.read([b"HTTP/1.1 200 Reason %d" % number], {}, to_head=False)
        assert head.passed_on.startswith(b"HTTP/1.1 200 Reason %d\r\n" % number)


@pytest.mark.parametrize(
    ("value", "length"), [(b"0", 0), (b"00", 0), (b"7", 7), (b"0042", 42), (b"%d" % LARGEST_BODY, LARGEST_BODY)]
)
def test_a_content_length_is_a_number(value: bytes, length: int) -> None:
    assert content_length(value) == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" 1",
        b"1 ",
        b"+1",
        b"-1",
        b"0x1",
        b"1e1",
        b"1_0",
        b"1.0",
        b"1,1",
        b"1, 1",
        b"\xb2",
        b"\xd9\xa1",
        b"1\x00",
        b"%d" % (LARGEST_BODY + 1),
        b"18446744073709551616",
        b"1" * 20,
        b"0" * 20,
    ],
)
def test_a_content_length_is_nothing_else(value: bytes) -> None:
    with pytest.raises(HeadError) as refused:
        content_length(value)
    assert refused.value.code == "bad_content_length"


@given(st.binary(max_size=8))
def test_a_token_has_no_delimiters(text: bytes) -> None:
    delimiters = b'"(),/:;<=>?@[\\]{} \t'
    assert is_token(text) is (text != b"" and all(0x21 <= octet < 0x7F and octet not in delimiters for octet in text))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"close", [b"close"]),
        (b" Keep-Alive , X-Hop,,\tUPGRADE ,", [b"keep-alive", b"x-hop", b"upgrade"]),
        (b",,,", []),
    ],
)
def test_a_list_has_members(value: bytes, expected: list[bytes]) -> None:
    assert members(value) == expected
