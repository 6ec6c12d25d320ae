"""Changes to header fields, and those that nobody may make."""

import pytest

from microgateway.core.answers import WITHHELD_ANSWER_FIELDS
from microgateway.core.field_sections import WITHHELD_FIELDS
from microgateway.core.header_edits import EditError, HeaderEdits, check_name, check_value

LINES = [b"X-A: 1", b"Accept: b", b"x-a: 2", b"X-B: 3"]


def edited(**edits: dict[str, str] | list[str]) -> list[bytes]:
    given: dict[str, dict[str, str] | list[str]] = {"set": {}, "add": {}, "remove": [], **edits}
    return HeaderEdits.of(**given).apply(LINES).split(b"\r\n")[:-1]  # type: ignore[arg-type]


def test_what_is_not_named_stays_in_its_order() -> None:
    assert edited() == LINES
    assert edited(remove=["X-A"]) == [b"Accept: b", b"X-B: 3"]
    assert edited(set={"X-A": "9"}) == [b"Accept: b", b"X-B: 3", b"X-A: 9"]
    assert edited(add={"X-A": "9"}) == [*LINES, b"X-A: 9"]
    assert edited(set={"X-New": "1"}, add={"x-new": "2"}) == [*LINES, b"X-New: 1", b"x-new: 2"]
    assert edited(remove=["X-A"], add={"X-A": "9"}) == [b"Accept: b", b"X-B: 3", b"X-A: 9"]


@pytest.mark.parametrize("name", sorted({*WITHHELD_FIELDS, b"via"}))
def test_a_request_field_that_is_the_gateways_to_say(name: bytes) -> None:
    with pytest.raises(EditError, match="can't be edited: "):
        check_name(name.decode().title(), of_answer=False)


@pytest.mark.parametrize("name", sorted({*WITHHELD_ANSWER_FIELDS, b"via", b"ratelimit", b"x-ratelimit-limit"}))
def test_an_answers_field_that_is_the_gateways_to_say(name: bytes) -> None:
    with pytest.raises(EditError, match="can't be edited: "):
        check_name(name.decode().upper(), of_answer=True)


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "a\r\nb", "x" * 129])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(EditError, match="is not the name"):
        check_name(name, of_answer=False)
    check_name("x" * 128, of_answer=False)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "\0", "a\x7f", "é", "\n"])
def test_a_value_holds_no_control_character(value: str) -> None:
    with pytest.raises(EditError, match="visible ASCII"):
        check_value(value)
    check_value('a\tb, c; d="e"')
