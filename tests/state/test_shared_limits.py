"""Shared buckets among real processes: exact when many take at once, and whole when one dies at any instruction."""

import os
import time
from collections.abc import Callable
from functools import partial

import pytest

from microgateway.core.token_bucket import NANOSECONDS, TOKEN, Limit
from microgateway.state.limits import Claim
from microgateway.state.shared_buckets import Bucket
from microgateway.state.shared_limits import SharedLimiter, SharedLimits
from microgateway.state.shared_memory import SharedMemory
from microgateway.state.shared_rooms import MOST_ROOMS, RoomTable
from tests.state.areas import Apart, died_on_the_way, ended_well, forked, shared_limits
from tests.state.test_limiter import principal, rule

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork, where threads are

NOW = 5.0
LATER = 1_000.0
TEN = Limit(per_minute=60, burst=10)
RULE, KEY = rule("rule", TEN), principal("anna", TEN)


def left(limiter: SharedLimiter, client: str = "anna") -> int:
    """Tokens that this bucket still gives."""
    return [limiter.take(client, TEN, NOW).admitted for _ in range(TEN.burst + 1)].count(True)


def taken_by(limits: SharedLimits, limit: Limit, *, processes: int, seconds: float) -> int:
    """How many tokens so many processes get from one bucket, all taking as fast as they can until a last moment."""
    reading, writing = os.pipe()
    begin, first = time.monotonic(), SharedLimiter(limits, process=0)
    for _ in range(limit.burst):  # so that it does not fill up meanwhile, and every token can be had
        assert first.take("anna", limit, begin).admitted

    def take(number: int) -> None:
        limiter, admitted, now = SharedLimiter(limits, process=number), 0, begin
        while now < begin + seconds:
            now = min(time.monotonic(), begin + seconds)
            admitted += limiter.take("anna", limit, now).admitted
        while limiter.take("anna", limit, now).admitted:
            admitted += 1
        os.write(writing, b"%d\n" % admitted)

    children = [forked(partial(take, number)) for number in range(1, processes + 1)]
    outcomes = [ended_well(child) for child in children]
    assert all(outcomes)
    os.close(writing)
    with os.fdopen(reading) as results:
        return limit.burst + sum(map(int, results))


def test_no_token_is_given_twice_and_none_is_lost() -> None:
    limit = Limit(per_minute=60_000, burst=3_000)
    with shared_limits() as limits:
        assert taken_by(limits, limit, processes=4, seconds=0.5) == limit.burst + 500


def test_a_bucket_is_one_bucket_whichever_process_asks() -> None:
    with shared_limits() as limits:
        assert ended_well(forked(lambda: [SharedLimiter(limits, process=1).take("anna", TEN, NOW) for _ in range(4)]))
        assert left(SharedLimiter(limits, process=0)) == TEN.burst - 4


def test_more_may_be_missing_from_a_bucket_than_a_word_holds() -> None:
    limit, missing, memory = Limit(per_minute=60, burst=1_000_000_000), (1 << 64) - TOKEN, SharedMemory.create(64)
    try:
        Bucket.write(memory, 0, 0, missing, limit.per_minute)
        spent = [Bucket.spend(memory, 0, limit, 0) for _ in range(3)]
        assert spent == [(True, missing + number * TOKEN) for number in (1, 2, 3)]
        assert Bucket.missing(memory, 0, limit, NANOSECONDS) == missing + 2 * TOKEN
    finally:
        memory.close()


def test_where_a_client_s_bucket_is_differs_from_gateway_to_gateway() -> None:
    """Who can choose its name can't choose whose place it takes."""
    with shared_limits() as one, shared_limits(secret=b"another " * 4) as other:
        assert one.digest_of_bucket("rule", "anna") != other.digest_of_bucket("rule", "anna")


def test_rules_beyond_the_last_room_share_it() -> None:
    memory = SharedMemory.create(RoomTable.size())
    rooms = RoomTable(memory, 0)
    try:
        rooms.create()
        digests = [b"%016d" % number for number in range(MOST_ROOMS + 2)]  # one can be read across two others
        assert list(map(rooms.number_of, digests)) == [*range(MOST_ROOMS), MOST_ROOMS - 1, MOST_ROOMS - 1]
        assert rooms.known(digests[10]) == 10
        assert rooms.known(digests[-1]) is None
    finally:
        rooms.locks.close()
        memory.close()


def test_what_all_processes_counted_is_added_up() -> None:
    with shared_limits() as limits:
        for number in (1, 2):
            limiter = SharedLimiter(limits, process=number)
            assert ended_well(forked(partial(limiter.take_all, [(RULE, "1.2.3.4")], NOW)))
        room = SharedLimiter(limits, process=0).room("rule")
        assert (room.admitted, room.subjects) == (2, 1)


@pytest.mark.parametrize(
    ("known", "held", "every"),
    [(False, False, 23), (True, False, 7), (True, True, 7)],
    ids=["being made", "there", "held"],
)
def test_a_death_at_any_instruction_costs_one_token_or_none(known: bool, held: bool, every: int, apart: Apart) -> None:
    with shared_limits(stripes=64, ways=64) as limits:
        dying, survivor = SharedLimiter(limits, process=1), SharedLimiter(limits, process=0)
        instruction, went_on = 0, True
        while went_on:
            client = f"client {instruction}"
            if known:
                dying.take(client, TEN, NOW)
            take: Callable[[], object] = partial(dying.take, client, TEN, NOW)
            if held:
                take = partial(dying.take_again, dying.hold([(principal(client, TEN), client)]), NOW)
            went_on = died_on_the_way(take, instruction=instruction)
            assert left(survivor, client) in ((TEN.burst - known, TEN.burst - known - 1) if went_on else (9 - known,))
            instruction += apart(every)
        assert instruction > 50


def test_a_held_key_finds_its_bucket_anew_where_its_place_is_another_s_by_now() -> None:
    with shared_limits(stripes=1, ways=1) as limits:
        limiter = SharedLimiter(limits, process=0)
        held = limiter.hold([(KEY, "anna")])
        assert limiter.take_again(held, NOW) is None, "nobody has seen it yet"
        limiter.take("anna", TEN, NOW)
        assert limiter.take_again(held, NOW) is not None
        limiter.take("otto", TEN, LATER)
        assert limiter.take_again(held, LATER) is None
        assert left(limiter, "otto") == TEN.burst - 1, "he lacks his own token, and nobody else's"


def test_a_death_between_two_buckets_leaves_both_whole(apart: Apart) -> None:
    with shared_limits(stripes=64) as limits:
        dying, survivor = SharedLimiter(limits, process=1), SharedLimiter(limits, process=0)
        for instruction in range(0, 100_000, apart(127)):
            address, client = f"address {instruction}", f"client {instruction}"
            claims: list[Claim] = [(RULE, address), (principal(client, TEN), client)]
            went_on = died_on_the_way(partial(dying.take_all, claims, NOW), instruction=instruction)
            remaining = [grant.remaining for grant in survivor.take_all(claims, NOW)]
            assert set(remaining) <= {8, 9}, remaining
            if not went_on:
                assert remaining == [8, 8]
                break


def test_a_death_while_full_buckets_are_given_up_leaves_the_others(apart: Apart) -> None:
    with shared_limits(stripes=1) as limits:
        dying, survivor = SharedLimiter(limits, process=1), SharedLimiter(limits, process=0)
        for instruction in range(0, 100_000, apart(37)):
            left(survivor, "in use")
            survivor.take_all([(RULE, "full by then")], NOW)
            went_on = died_on_the_way(lambda: dying.sweep(NOW + 2), instruction=instruction)
            assert survivor.take("in use", TEN, NOW).remaining == 0
            assert survivor.take_all([(RULE, "full by then")], NOW + 2)[0].remaining == 9
            survivor.sweep(NOW + 1_000)
            if not went_on:
                break
        assert len(limits.rules) == 0


def test_a_bucket_whose_place_was_given_to_another_is_found_to_be_full() -> None:
    with shared_limits(stripes=1, ways=2) as limits:
        one, other = (SharedLimiter(limits, process=number) for number in range(2))
        one.take("anna", TEN, NOW)
        for client in ("otto", "ida", "emil"):
            other.take(client, TEN, NOW + 100)
        assert one.take("anna", TEN, NOW + 200).remaining == 9


def test_a_full_table_shares_and_says_so() -> None:
    with shared_limits(stripes=1, ways=2) as limits:
        limiter = SharedLimiter(limits, process=0)
        for client in ("anna", "otto"):
            limiter.take(client, TEN, NOW)
        together = [limiter.take(client, TEN, NOW).admitted for client in ("ida", "emil") * 6]
        assert together.count(True) == TEN.burst
        assert limiter.room("").overflowed == TEN.burst


def test_a_room_given_up_is_the_next_rule_s_and_its_old_buckets_are_not() -> None:
    with shared_limits() as limits:
        control, worker = (SharedLimiter(limits, process=number) for number in range(2))
        rooms = []
        for number in range(3):
            worker.take_all([(rule(f"rule {number}", TEN), "1.2.3.4")], NOW + 100.0 * number)
            rooms.append(worker.room(f"rule {number}").number)
            if number < 2:
                worker.keep_only(())
                control.reclaim(())
        assert len(set(rooms)) == 1
        last = control.room("rule 2")
        assert (last.admitted, last.subjects) == (1, 1)
        assert limits.rules.sweep(1_000, int((NOW + 200.0) * NANOSECONDS)) == 2
        assert last.subjects == 1, "the buckets that were given up were those of other rules"
