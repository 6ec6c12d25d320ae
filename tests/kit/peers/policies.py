"""Rows about limits and circuits, played in virtual time against the real bucket and breaker."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState, Permit, Refusal, Transition
from microgateway.core.token_bucket import NANOSECONDS, Limit, TokenBucket
from tests.kit.peers.rows import Players, Row, Values, Verdict, compare

NOW = 1_000.0


class Breaker:
    """One circuit and the time it is in."""

    def __init__(self, policy: CircuitPolicy, tell: Callable[[Transition], None] | None = None) -> None:
        self.circuit = Circuit(policy, NOW, tell)
        self.now = NOW

    def ask(self, status: int) -> int:
        """One request to a service that would answer so: 503 where it is not asked."""
        permit = self.circuit.try_acquire(self.now)
        if isinstance(permit, Refusal):
            return 503
        self.report(permit, failed=status >= 500)
        return status

    def report(self, permit: Permit, *, failed: bool) -> None:
        (self.circuit.failed if failed else self.circuit.succeeded)(permit, self.now)

    def open(self) -> None:
        while self.circuit.state is not CircuitState.OPEN:
            self.ask(500)

    def half_open(self) -> None:
        self.open()
        self.now += self.circuit.policy.recovery_timeout


def play_script(row: Row) -> Verdict:
    """gobreaker's and Resilience4j's rows: failures in a row, and rates in a window."""
    breaker = Breaker(_policy(row.config))
    permission = False
    for step in row.request["script"]:
        permission = _step(breaker, step)
        breaker.now += row.request.get("spacing_s", 0)
    observed: Values = {"state": breaker.circuit.state.name, "permission": permission}
    observed |= {
        "consecutive_failures": breaker.circuit.failures,
        "failures": max(breaker.circuit.failures, breaker.circuit.trips),
    }
    observed["counts"] = "all zero" if breaker.circuit.failures == 0 else breaker.circuit.failures
    return compare(row, observed, "failure_rate", "failure_rate_pct")


def _policy(config: Values) -> CircuitPolicy:
    threshold = 6 if str(config.get("trip", "")).startswith("more than 5") else 1
    probes = int(config.get("half_open_max") or config.get("half_open_calls") or 1)
    policy = CircuitPolicy(threshold, float(config.get("open_s", 60)), probes)
    if "failure_rate_pct" not in config:
        return policy
    return replace(
        policy,
        trip="rate",
        failure_rate=config["failure_rate_pct"] / 100,
        minimum_calls=config["min_calls"],
        window_seconds=float(config["window"].partition(" ")[0]),
        slow_call_seconds=float(config["slow_call_s"]),
        slow_call_rate=config["slow_rate_pct"] / 100,
    )


def _step(breaker: Breaker, step: str) -> bool:
    """One step of a script; answers whether a request may pass behind it."""
    if step == "OPEN":
        breaker.open()
    elif step == "HALF_OPEN":
        breaker.half_open()
    elif step.endswith("s pass"):
        breaker.now += float(step.split(" ")[0])
        return isinstance(breaker.circuit.try_acquire(breaker.now), Permit)
    elif step == "ask":
        return isinstance(breaker.circuit.try_acquire(breaker.now), Permit)
    elif step.startswith("fail x"):
        for _ in range(int(step.removeprefix("fail x"))):
            breaker.ask(500)
    else:
        breaker.ask(200 if step == "success" else 500)
    return False


def play_statuses(row: Row) -> Verdict:
    """APISIX's and Tyk's rows: what clients get, where a service's answers are given. Ours refuses with 503."""
    config = row.config
    told: list[Transition] = []
    breaker = Breaker(_policy_by_status(config), told.append)
    refused = config.get("break_status", 503)
    statuses: list[int | str] = []
    for step in _steps(row.request["sequence"]):
        if isinstance(step, float):
            breaker.now += step
            if "..." in row.expected["statuses"]:
                statuses.append("...")
            continue
        got = breaker.ask(step)
        statuses.append(refused if got == 503 and step != 503 else got)
    names = {CircuitState.OPEN: "BreakerTripped", CircuitState.CLOSED: "BreakerReset"}
    events = [names[change.after] for change in told if change.after in names]
    return compare(row, {"statuses": statuses, "events": events})


def _policy_by_status(config: Values) -> CircuitPolicy:
    policy = CircuitPolicy(
        failure_threshold=int(config.get("failures", 1)),
        recovery_timeout=float(config.get("return_to_service_after_s", 3)),
        half_open_max_calls=int(config.get("successes", 1)),
    )
    if "threshold_ratio" not in config:
        return policy
    return replace(policy, trip="rate", failure_rate=config["threshold_ratio"], minimum_calls=config["samples"])


def _steps(sequence: str | list[str]) -> Iterator[int | float]:
    """Statuses, and seconds that pass. `request` alone is one more to a service that fails."""
    words = (
        sequence
        if isinstance(sequence, list)
        else sequence.removeprefix("upstream answers ").removeprefix("upstream ").split(",")
    )
    for word in words:
        if "s pass" in word or word.startswith("wait"):
            yield float(next(part for part in word.strip("[]").split(" ") if part.isdigit()))
        elif word == "request":
            yield 500
        else:
            yield int(next(part for part in word.replace("(", " ").replace(")", " ").split(" ") if part.isdigit()))


def play_bucket(row: Row) -> Verdict:
    """Traefik's load tests: never more than rate · time + burst, which is what the row calls ideal."""
    config, load = row.config, row.request
    limit = Limit(per_minute=config["average"] * 60 // config["period_s"], burst=config["burst"])
    bucket = TokenBucket(limit, 0)
    served = sum(bucket.take(0).admitted for _ in range(load["initial_burst"]))
    for number in range(load["load_rps"] * load["duration_s"]):
        served += bucket.take((number + 1) * NANOSECONDS // load["load_rps"]).admitted
    return Verdict(True, served <= row.expected["ideal_served"] and served >= row.expected["ideal_served"] - 1)


PLAYERS: Players = {
    "gobreaker-": play_script,
    "r4j-cb-": play_script,
    "apisix-cb-": play_statuses,
    "tyk-cb-": play_statuses,
    "traefik-rl-": play_bucket,
}
