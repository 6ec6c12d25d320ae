"""Services that are not there: they answer as a script says, by a die that is thrown with a seed.

Each service has a die of its own, thrown once for each request that reaches it; so the same requests in the same order
meet the same fate, whatever else happens.
"""

from collections.abc import Mapping
from math import exp, log
from random import Random
from statistics import NormalDist

from microgateway.control_plane.gateway_requests import Behaviour, UpstreamScript
from microgateway.simulation.upstream_wires import Service, WireConnection
from microgateway.simulation.worlds import World
from microgateway.snapshot import Address, Endpoint, Snapshot

GOOD = 200


class ScriptedService(Service):
    """One service; `began` is when its script begins, in the world's seconds."""

    def __init__(self, script: UpstreamScript, world: World, seed: str) -> None:
        self._script = script
        self._world = world
        self._began = world.now()
        self._dice = Random(seed)  # noqa: S311  a simulation is to be repeatable

    def asked(self, connection: WireConnection, head: bytes) -> None:
        behaviour = self._behaviour(self._world.now() - self._began)
        chance, latency = self._dice.random(), self._latency(behaviour, self._dice.random())
        wire = connection.wire
        if chance < behaviour.hang_rate:
            return
        chance -= behaviour.hang_rate
        if chance < behaviour.reset_rate:
            self._world.later(latency, lambda: wire.end(ConnectionResetError("reset, as the script says")))
            return
        status = behaviour.error_status if chance - behaviour.reset_rate < behaviour.error_rate else GOOD
        answer = b"HTTP/1.1 %d Simulated\r\nContent-Length: 0\r\n\r\n" % status
        self._world.later(latency, lambda: wire.send_now(answer))

    def _behaviour(self, seconds: float) -> Behaviour:
        for phase in reversed(self._script.phases):
            if phase.from_seconds <= seconds < phase.to_seconds:
                return phase
        return self._script

    @staticmethod
    def _latency(behaviour: Behaviour, chance: float) -> float:
        """Seconds, by the inverse of the distribution."""
        usual = behaviour.latency_ms / 1_000
        if behaviour.latency == "uniform":
            return usual + max(0.0, behaviour.to_ms / 1_000 - usual) * chance
        if behaviour.latency == "exponential":
            return -usual * log(1.0 - chance)
        if behaviour.latency == "lognormal":
            return usual * exp(behaviour.sigma * NormalDist().inv_cdf(min(max(chance, 1e-9), 1.0 - 1e-9)))
        return usual


class ScriptedServices:
    """All services of a snapshot. Two that share an address share a script: the first one's."""

    def __init__(
        self,
        snapshot: Snapshot,
        world: World,
        script: UpstreamScript,
        by_service: Mapping[str, UpstreamScript],
        seed: int,
    ) -> None:
        self._by_address: dict[Address, ScriptedService] = {}
        for upstream in snapshot.upstreams.values():
            own = by_service.get(upstream.id) or by_service.get(upstream.name) or script
            service = ScriptedService(own, world, f"{seed} {upstream.id}")
            for target in upstream.targets:
                self._by_address.setdefault(target.url.address, service)

    def of(self, url: Endpoint) -> Service:
        return self._by_address[url.address]
