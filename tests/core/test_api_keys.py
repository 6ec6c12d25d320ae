"""API keys: their form, their check digits, and what is kept of them."""

import hashlib
import secrets
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core import api_keys

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def key_of(digits: list[int]) -> str:
    """The key that a source of these random digits gives."""
    remaining = iter(digits)
    return api_keys.generate(lambda below: next(remaining) % below)


keys = st.lists(st.integers(0, 61), min_size=30, max_size=30).map(key_of)


@given(keys)
def test_a_key_has_its_form(key: str) -> None:
    assert len(key) == 45
    assert key.startswith("mgw_live_")
    assert set(key.removeprefix("mgw_live_")) <= set(ALPHABET)
    assert api_keys.is_well_formed(key)
    assert key[-6:] == api_keys.checksum(key[:-6])


def test_the_check_digits_are_the_crc32_in_base62() -> None:
    """Computed here in another way, so that keys stay readable to tools that others write."""
    body = "mgw_live_" + "A" * 30
    value = sum(ALPHABET.index(digit) * 62 ** (5 - place) for place, digit in enumerate(api_keys.checksum(body)))
    assert value == zlib.crc32(body.encode())


@pytest.mark.parametrize("value", [0, 1, 61, 62, 2**32 - 1])
def test_six_digits_hold_every_crc32(value: int) -> None:
    assert value < 62**api_keys.CHECK_DIGITS


@given(key=keys, place=st.integers(0, 44), other=st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(key: str, place: int, other: str) -> None:
    """A CRC32 finds every burst of up to 32 bits, so every single mistyped character."""
    if key[place] != other:
        assert not api_keys.is_well_formed(key[:place] + other + key[place + 1 :])


@given(key=keys, place=st.integers(9, 43))
def test_two_characters_that_changed_places_are_noticed(key: str, place: int) -> None:
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert swapped == key or not api_keys.is_well_formed(swapped)


@given(keys)
def test_what_is_not_the_whole_key_is_none(key: str) -> None:
    for text in (key[:-1], key[1:], key + "0", " " + key, key + "\n", key.upper(), key.replace("live", "test"), ""):
        assert text == key or not api_keys.is_well_formed(text)


@pytest.mark.parametrize("digits", [29, 31])
def test_check_digits_alone_make_no_key(digits: int) -> None:
    body = "mgw_live_" + "A" * digits
    assert not api_keys.is_well_formed(body + api_keys.checksum(body))


@pytest.mark.parametrize("place", range(39, 45))
def test_check_digits_are_digits(place: int) -> None:
    key = key_of([0] * 30)
    assert not api_keys.is_well_formed(key[:place] + "-" + key[place + 1 :])


@given(st.text(max_size=60) | st.text(min_size=45, max_size=45).map(lambda text: "mgw_live_" + text[9:]))
def test_other_text_is_no_key(text: str) -> None:
    assert api_keys.is_well_formed(text) == (
        len(text) == 45 and text.startswith("mgw_live_") and api_keys.checksum(text[:-6]) == text[-6:]
    )


def test_only_the_digest_is_kept() -> None:
    key = api_keys.generate(secrets.randbelow)
    assert api_keys.digest(key.encode()) == hashlib.sha256(key.encode()).digest()


@given(keys)
def test_what_people_see_tells_little(key: str) -> None:
    """Six of thirty random digits: enough to tell keys apart, and 143 bits are left."""
    assert api_keys.shown_prefix(key) == key[:15]


def test_keys_differ() -> None:
    assert len({api_keys.generate(secrets.randbelow) for _ in range(1_000)}) == 1_000
