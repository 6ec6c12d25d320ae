"""What every room of circuits keeps: one contract over those of this process and those that several share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgateway.core.circuit import CircuitPolicy, CircuitState, Mode, Permit
from microgateway.exchange import Event
from microgateway.state.circuit_table import CircuitTable
from microgateway.state.interfaces import Circuits
from microgateway.state.memory import MemoryCircuits
from microgateway.state.shared_circuits import SharedCircuits
from microgateway.state.shared_memory import SharedMemory
from tests.state.areas import Apart, died_on_the_way, ended_well, forked

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork, where threads are

POLICY = CircuitPolicy(failure_threshold=2, recovery_timeout=10.0, half_open_max_calls=2)
RATE = CircuitPolicy(trip="rate", minimum_calls=4, failure_rate=0.5, window_seconds=10.0, recovery_timeout=10.0)
CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


@contextmanager
def table() -> Iterator[tuple[SharedMemory, CircuitTable]]:
    memory = SharedMemory.create(CircuitTable.size())
    made = CircuitTable(memory)
    made.create()
    try:
        yield memory, made
    finally:
        made.close()
        memory.close()


@pytest.fixture(scope="module")
def area() -> Iterator[tuple[SharedMemory, CircuitTable]]:
    with table() as made:
        yield made


@pytest.fixture(params=["memory", "shared", "shared by two"])
def rooms(request: pytest.FixtureRequest) -> Iterator[tuple[Circuits, Circuits]]:
    """Who is in charge, and who takes the traffic; the same but in the last case."""
    if request.param == "memory":
        one = MemoryCircuits()
        yield one, one
        return
    with table() as (memory, made):
        first = SharedCircuits(memory, made, process=0, in_charge=True)
        other = SharedCircuits(memory, made, process=1) if request.param == "shared by two" else first
        yield first, other


def permit(circuits: Circuits, now: float = 0.0, policy: CircuitPolicy = POLICY) -> Permit:
    given = circuits.of("users", policy, now).try_acquire(now)
    assert isinstance(given, Permit), given
    return given


def fail(circuits: Circuits, times: int, now: float = 0.0, policy: CircuitPolicy = POLICY) -> None:
    for _ in range(times):
        one = permit(circuits, now, policy)
        one.circuit.failed(one, now, "500")


def passes(circuits: Circuits, now: float, policy: CircuitPolicy = POLICY) -> bool:
    return isinstance(circuits.of("users", policy, now).try_acquire(now), Permit)


class TestEveryRoom:
    def test_failures_open_it_for_the_recovery_timeout(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        charge.adopt({"users": POLICY}, 0.0)
        fail(traffic, 2)
        assert (charge.state_of("users"), traffic.state_of("users")) == (OPEN, OPEN)
        assert not passes(traffic, 9.9)
        assert passes(traffic, 10.0)
        assert charge.state_of("users") is HALF_OPEN

    def test_a_success_forgives(self, rooms: tuple[Circuits, Circuits]) -> None:
        _, traffic = rooms
        for _ in range(5):
            fail(traffic, 1)
            one = permit(traffic)
            assert one.circuit.hears_all
            one.circuit.answered(one, 200, 0.0)
            assert not one.circuit.hears_all
        assert traffic.state_of("users") is CLOSED

    def test_probes_are_bounded_and_decide(self, rooms: tuple[Circuits, Circuits]) -> None:
        _, traffic = rooms
        fail(traffic, 2)
        probes = [permit(traffic, 10.0), permit(traffic, 10.0)]
        assert not passes(traffic, 10.0)
        for probe in probes:
            probe.circuit.answered(probe, 200, 11.0)
        assert traffic.state_of("users") is CLOSED

    def test_a_probe_that_is_given_back_may_be_sent_again(self, rooms: tuple[Circuits, Circuits]) -> None:
        _, traffic = rooms
        fail(traffic, 2)
        probes = [permit(traffic, 10.0), permit(traffic, 10.0)]
        probes[0].circuit.abandoned(probes[0])
        assert [passes(traffic, 10.0), passes(traffic, 10.0)] == [True, False]

    def test_what_was_asked_for_before_a_trip_changes_nothing(self, rooms: tuple[Circuits, Circuits]) -> None:
        _, traffic = rooms
        late = permit(traffic)
        fail(traffic, 2)
        late.circuit.failed(late, 1.0, "500")
        late.circuit.abandoned(late)
        assert traffic.snapshot()["users"].trips == 1

    def test_a_rate_trips_it_and_what_is_old_is_forgotten(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        charge.adopt({"users": RATE}, 0.0)
        fail(traffic, 3, 0.0, RATE)
        fail(traffic, 1, 60.0, RATE)
        assert charge.snapshot()["users"].window.failures == 1
        fail(traffic, 3, 60.0, RATE)
        assert charge.state_of("users") is OPEN

    @pytest.mark.parametrize(
        "answers",
        [
            [(0.0, 500), (0.0, 500), (0.0, 200), (0.0, 200)],
            [(0.0, 200), (20.0, 200), (20.0, 200), (20.0, 500), (20.0, 500)],
        ],
        ids=["the last was a success", "an older success is no call any more"],
    )
    def test_the_last_of_enough_calls_trips_it(
        self, rooms: tuple[Circuits, Circuits], answers: list[tuple[float, int]]
    ) -> None:
        charge, traffic = rooms
        charge.adopt({"users": RATE}, 0.0)
        states = []
        for now, status in answers:
            one = permit(traffic, now, RATE)
            one.circuit.answered(one, status, now)
            states.append(charge.state_of("users"))
        assert states == [*[CLOSED] * (len(answers) - 1), OPEN]

    def test_slow_answers_trip_it_at_a_rate_of_their_own(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        policy = replace(RATE, slow_call_seconds=1.0, slow_call_rate=0.5)
        charge.adopt({"users": policy}, 0.0)
        states = []
        for waited in (0.9, 1.0, 0.9, 2.0):
            one = permit(traffic, 0.0, policy)
            one.circuit.answered(one, 200, 0.0, waited)
            states.append(charge.state_of("users"))
        assert states == [CLOSED, CLOSED, CLOSED, OPEN]

    def test_a_reset_closes_it(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        charge.adopt({"users": POLICY}, 0.0)
        fail(traffic, 2)
        charge.of("users", POLICY, 0.0)
        charge.reset("users", 1.0)
        assert passes(traffic, 1.0)
        assert charge.history_of("users")[-1].by == "operator"

    def test_each_service_has_a_circuit_of_its_own(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        services = ("orders", "users", "items")
        charge.adopt(dict.fromkeys(services, POLICY), 0.0)
        for service in services:
            traffic.of(service, POLICY, 0.0)
        fail(traffic, 2)
        charge.reset("a service that was never asked", 0.0)
        assert [charge.state_of(service) for service in services] == [CLOSED, OPEN, CLOSED]
        assert [isinstance(traffic.of(service, POLICY, 0.0).try_acquire(0.0), Permit) for service in services] == [
            True,
            False,
            True,
        ]

    def test_an_operator_s_mode_is_in_force_at_once(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        permit(traffic)
        modes: list[tuple[Mode, CircuitState]] = [("disabled", CLOSED), ("forced_open", OPEN), ("auto", CLOSED)]
        for mode, state in modes:
            policy = replace(POLICY, mode=mode)
            charge.adopt({"users": policy}, 1.0)
            assert charge.state_of("users") is state, "before anybody asks"
            assert passes(traffic, 1.0, policy) is (state is CLOSED)
        events = [event.after for event in charge.history_of("users")]
        assert events == ["closed", "open", "closed"]

    def test_a_longer_recovery_is_waited_for_by_a_circuit_that_is_open(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        charge.adopt({"users": POLICY}, 0.0)
        fail(traffic, 2)
        longer = replace(POLICY, recovery_timeout=20.0)
        charge.adopt({"users": longer}, 5.0)
        assert [passes(traffic, 19.9, longer), passes(traffic, 20.0, longer)] == [False, True]

    def test_a_service_that_is_gone_is_forgotten(self, rooms: tuple[Circuits, Circuits]) -> None:
        charge, traffic = rooms
        fail(traffic, 2)
        charge.adopt({}, 0.0)
        traffic.adopt({}, 0.0)
        assert charge.state_of("users") is CLOSED
        assert passes(traffic, 0.0)


actions = st.sampled_from(["ask", "ask", "ask", "ok", "fail", "slow", "leave", "reset", "policy"])
policies = st.builds(
    CircuitPolicy,
    failure_threshold=st.integers(1, 3),
    recovery_timeout=st.sampled_from([1.0, 5.0]),
    half_open_max_calls=st.integers(1, 3),
    failure_rate=st.sampled_from([0.3, 0.5, 1.0]),
    trip=st.sampled_from(["consecutive", "rate"]),
    window_seconds=st.sampled_from([5.0, 10.0]),
    minimum_calls=st.integers(1, 4),
    slow_call_seconds=st.sampled_from([0.0, 1.0]),
    mode=st.sampled_from(["auto", "auto", "auto", "forced_open", "disabled"]),
)
steps = st.lists(st.tuples(actions, st.floats(0, 4), st.integers(0, 9), policies), max_size=60)


def told(events: list[Event]) -> list[tuple[str, str, str, str]]:
    return [(event.before, event.after, event.reason, event.by) for event in events]


@settings(max_examples=150, deadline=None)
@given(steps=steps, policy=policies)
def test_two_processes_decide_as_one_does(
    area: tuple[SharedMemory, CircuitTable], steps: list[tuple[str, float, int, CircuitPolicy]], policy: CircuitPolicy
) -> None:
    """Every verdict, every state and every transition, with the same things done to both in the same order."""
    alone_events: list[Event] = []
    shared_events: list[Event] = []
    alone, now = MemoryCircuits(listeners=[alone_events.append]), 0.0
    memory, made = area
    made.keep_only(())
    two = [
        SharedCircuits(memory, made, process=number, in_charge=not number, listeners=[shared_events.append])
        for number in range(2)
    ]
    every: list[Circuits] = [alone, *two]
    for room in every:
        room.of("users", policy, now)
    permits: list[tuple[Permit, Permit]] = []
    for action, wait, choice, other in steps:
        now += wait
        if action == "policy":
            policy = other
            for room in every:
                room.adopt({"users": policy}, now)
        elif action == "reset":
            alone.reset("users", now)
            two[0].reset("users", now)
        elif action == "ask":
            mine, theirs = (room.of("users", policy, now).try_acquire(now) for room in (alone, every[1 + choice % 2]))
            if isinstance(mine, Permit) and isinstance(theirs, Permit):
                permits.append((mine, theirs))
            else:
                assert mine == theirs
        elif permits:
            for one in permits.pop(choice % len(permits)):
                _settle(one, action, now)
        assert facts(alone) == facts(two[choice % 2])
    assert told(alone_events) == told(shared_events)


def facts(circuits: Circuits) -> tuple[CircuitState, int, int, bool]:
    circuit = circuits.snapshot()["users"]
    return circuit.state, circuit.failures, circuit.trips, circuit.hears_all


def _settle(one: Permit, action: str, now: float) -> None:
    if action == "leave":
        one.circuit.abandoned(one)
    elif action == "fail":
        one.circuit.failed(one, now, "lost")
    else:
        one.circuit.answered(one, 200, now, 2.0 if action == "slow" else 0.1)


def test_probes_are_exact_when_many_processes_ask_at_once() -> None:
    policy = replace(POLICY, half_open_max_calls=7)
    with table() as (memory, made):
        fail(SharedCircuits(memory, made, process=0, in_charge=True), 2, 0.0, policy)
        reading, writing = os.pipe()

        def ask(number: int) -> None:
            circuits = SharedCircuits(memory, made, process=number)
            os.write(writing, b"p" * sum(passes(circuits, 10.0, policy) for _ in range(200)))

        outcomes = [ended_well(child) for child in [forked(partial(ask, number)) for number in range(1, 5)]]
        assert all(outcomes)
        assert len(os.read(reading, 4_096)) == 7
        os.close(reading)
        os.close(writing)


def test_the_probes_of_the_dead_are_given_back() -> None:
    with table() as (memory, made):
        circuits = SharedCircuits(memory, made, process=0, in_charge=True)
        fail(circuits, 2)
        doomed = SharedCircuits(memory, made, process=1)
        assert ended_well(forked(lambda: [permit(doomed, 10.0), permit(doomed, 10.0)]))
        assert not passes(circuits, 10.0)
        made.forget_process(1)
        assert [passes(circuits, 10.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("act", ["acquire", "succeed", "fail"])
def test_a_death_at_any_instruction_leaves_a_circuit_that_works(act: str, apart: Apart) -> None:
    """And no place of a probe is lost, or given twice, once the dead one's are given back."""
    for instruction in range(0, 100_000, apart(397)):
        with table() as (memory, made):
            survivor = SharedCircuits(memory, made, process=0, in_charge=True)
            fail(survivor, 2)
            doomed = SharedCircuits(memory, made, process=1)
            mine = permit(survivor, 10.0)

            def work(doomed: SharedCircuits = doomed) -> None:
                one = permit(doomed, 10.0)
                if act == "succeed":
                    one.circuit.answered(one, 200, 10.0)
                elif act == "fail":
                    one.circuit.failed(one, 10.0, "500")

            went_on = died_on_the_way(work, instruction=instruction)
            made.forget_process(1)
            state = survivor.state_of("users")
            assert state is HALF_OPEN or (act == "fail" and state is OPEN)
            if state is HALF_OPEN:
                free = [passes(survivor, 10.0) for _ in range(3)].count(True)
                assert free in ((0, 1) if act == "succeed" else (1,))
                mine.circuit.answered(mine, 200, 10.0)
                assert survivor.snapshot()["users"].state in (HALF_OPEN, CLOSED)
            if not went_on:
                break
