"""Who takes the next request: fair by weight, kind to the busy, and faithful to a key."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.balancing import (
    ConsistentHash,
    Contender,
    LeastRequests,
    Method,
    RoundRobin,
    balancer,
    choose_once,
)

KEYS = [b"client %d" % number for number in range(4_000)]


def contenders(*weights: int) -> list[Contender]:
    return [Contender(f"http://10.0.0.{number}", weight) for number, weight in enumerate(weights, 1)]


def of_names(names: str, weight: int = 1) -> list[Contender]:
    return [Contender(name, weight) for name in names]


class TestRoundRobin:
    @given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 1_000))
    def test_each_round_gives_everybody_exactly_its_weight(self, weights: list[int], seed: int) -> None:
        everybody = contenders(*weights)
        chosen = RoundRobin(everybody, Random(seed))
        for _ in range(3):
            turns = Counter(chosen.choose(b"").name for _ in range(sum(weights)))
            assert turns == {contender.name: contender.weight for contender in everybody}

    def test_a_heavy_one_is_not_asked_five_times_in_a_row(self) -> None:
        chosen = RoundRobin(contenders(5, 1, 1), Random(0))
        names = "".join(chosen.choose(b"").name[-1] for _ in range(70))
        assert max(len(run) for run in names.replace("3", "2").split("2")) <= 4

    def test_several_gateways_do_not_all_begin_with_the_same(self) -> None:
        assert len({RoundRobin(contenders(1, 1, 1), Random(seed)).choose(b"").name for seed in range(20)}) == 3


class TestLeastRequests:
    def test_the_one_with_the_fewest_under_way_is_asked(self) -> None:
        everybody = contenders(1, 1, 1)
        for contender, under_way in zip(everybody, (2, 1, 3), strict=True):
            contender.in_flight = under_way
        assert LeastRequests(everybody, Random(0)).choose(b"") is everybody[1]

    def test_under_way_counts_by_weight(self) -> None:
        light, heavy = contenders(1, 4)
        light.in_flight, heavy.in_flight = 1, 3
        assert LeastRequests([light, heavy], Random(0)).choose(b"") is heavy
        heavy.in_flight = 5
        assert LeastRequests([light, heavy], Random(0)).choose(b"") is light

    def test_among_the_idle_chance_decides_by_weight(self) -> None:
        chosen = LeastRequests(contenders(1, 3), Random(0))
        turns = Counter(chosen.choose(b"").name[-1] for _ in range(4_000))
        assert 2_800 < turns["2"] < 3_200


class TestConsistentHash:
    def owners(self, everybody: list[Contender]) -> dict[bytes, str]:
        chosen = ConsistentHash(everybody)
        return {key: chosen.choose(key).name for key in KEYS}

    def test_a_key_has_its_target_in_every_process_and_order(self) -> None:
        assert self.owners(of_names("abcde")) == self.owners(of_names("ecabd"))
        chosen = ConsistentHash(of_names("abcde"))
        assert "".join(chosen.choose(key).name for key in KEYS[:8]) == "abaadead", (
            "pinned: another hash moves every key"
        )

    def test_when_a_target_goes_only_its_own_keys_move(self) -> None:
        before, after = self.owners(of_names("abcde")), self.owners(of_names("abde"))
        moved = {key for key in KEYS if before[key] != after[key]}
        assert moved == {key for key in KEYS if before[key] == "c"}
        assert 0.15 < len(moved) / len(KEYS) < 0.25

    def test_when_a_target_comes_it_takes_a_fair_share_and_nothing_else_moves(self) -> None:
        before, after = self.owners(of_names("abcd")), self.owners(of_names("abcde"))
        moved = {key for key in KEYS if before[key] != after[key]}
        assert {after[key] for key in moved} == {"e"}
        assert 0.15 < len(moved) / len(KEYS) < 0.25

    def test_weights_are_shares(self) -> None:
        shares = Counter(self.owners([*of_names("ab"), *of_names("c", weight=2)]).values())
        assert 0.45 < shares["c"] / len(KEYS) < 0.55
        assert 0.2 < shares["a"] / len(KEYS) < 0.3

    def test_an_edited_weight_moves_no_more_than_it_must(self) -> None:
        before = self.owners(of_names("abcd"))
        after = self.owners([*of_names("abc"), *of_names("d", weight=2)])
        assert {after[key] for key in KEYS if before[key] != after[key]} == {"d"}


@pytest.mark.parametrize("method", ["round_robin", "least_requests", "consistent_hash"])
def test_whatever_the_method_one_contender_has_it_all(method: Method) -> None:
    (only,) = everybody = contenders(3)
    assert balancer(method, everybody, Random(0)).choose(b"key") is only
    assert choose_once(method, everybody, b"key", Random(0)) is only


def test_a_retry_goes_by_weight_by_load_or_to_the_next_lot() -> None:
    everybody = of_names("abcde")
    key = KEYS[0]
    first = choose_once("consistent_hash", everybody, key, Random(0))
    assert first.name == ConsistentHash(everybody).choose(key).name
    rest = [contender for contender in everybody if contender is not first]
    assert choose_once("consistent_hash", rest, key, Random(0)).name == ConsistentHash(rest).choose(key).name
    everybody[0].in_flight = everybody[1].in_flight = 9
    assert choose_once("least_requests", everybody, key, Random(0)).name in "cde"
    turns = Counter(choose_once("round_robin", contenders(1, 3), key, Random(seed)).name[-1] for seed in range(1_000))
    assert 650 < turns["2"] < 850
