"""When an issuer's keys are fetched: in turn, out of turn, and not too often."""

import pytest

from microgateway.snapshot import Issuer
from microgateway.tokens.key_set import KeySet
from microgateway.tokens.key_source import COOLDOWN, LONGEST_WAIT, RETRY_AFTER_FAILURE, KeySource
from tests.kit.issuer import token_issuer

NOW = 1_000.0


def source() -> KeySource:
    return KeySource(Issuer.of_entity(token_issuer("http://127.0.0.1/")))


def test_at_once_then_when_they_are_no_longer_fresh() -> None:
    keys = source()
    assert keys.is_due(NOW)
    keys.begin(NOW)
    assert not keys.is_due(NOW + 999)
    keys.succeeded(KeySet(), None, NOW + 1)
    assert not keys.is_due(NOW + 1 + 299.9)
    assert keys.is_due(NOW + 1 + 300)


@pytest.mark.parametrize(("told", "freshness"), [(0.0, 30), (29.0, 30), (60.0, 60), (10_000_000.0, 3_600), (None, 300)])
def test_the_issuer_says_for_how_long_within_bounds(told: float | None, freshness: float) -> None:
    keys = source()
    keys.begin(NOW)
    keys.succeeded(KeySet(), told, NOW)
    assert not keys.is_due(NOW + freshness - 0.1)
    assert keys.is_due(NOW + freshness)


def test_a_failure_is_tried_again_soon_and_keeps_what_there_was() -> None:
    keys = source()
    keys.begin(NOW)
    there = KeySet()
    keys.succeeded(there, None, NOW)
    keys.begin(NOW + 300)
    keys.failed("it is away", NOW + 305)
    assert (keys.keys, keys.error) == (there, "it is away")
    assert not keys.is_due(NOW + 305 + RETRY_AFTER_FAILURE - 0.1)
    assert keys.is_due(NOW + 305 + RETRY_AFTER_FAILURE)
    keys.begin(NOW + 400)
    keys.succeeded(there, None, NOW + 400)
    assert keys.error is None


def test_out_of_turn_once_in_a_while_and_never_twice_at_a_time() -> None:
    keys = source()
    assert keys.may_fetch(NOW)
    keys.begin(NOW)
    assert not keys.may_fetch(NOW + COOLDOWN + 1)
    keys.succeeded(KeySet(), None, NOW + 1)
    assert not keys.may_fetch(NOW + COOLDOWN - 0.1)
    assert keys.may_fetch(NOW + COOLDOWN)


def test_whoever_waits_is_told_once_however_it_ends() -> None:
    keys, told = source(), list[str]()
    assert keys.wait_until(NOW) is None
    keys.begin(NOW)
    assert keys.wait_until(NOW + 1) == NOW + LONGEST_WAIT
    assert keys.wait_until(NOW + LONGEST_WAIT) is None
    keys.then(lambda: told.append("one"))
    keys.then(lambda: told.append("two"))
    keys.failed("away", NOW + 2)
    assert told == ["one", "two"]
    keys.begin(NOW + 20)
    keys.succeeded(KeySet(), None, NOW + 21)
    assert told == ["one", "two"]
