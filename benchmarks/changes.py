"""How long a change of the configuration takes until it is in force in every worker, and what traffic notices of it.

python benchmarks/changes.py --routes 10000 --workers 2

Every change is one call of the control API. When it has returned, connections to all workers ask if it is in force.
"""

import argparse
import http.client
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.admin import Admin
from benchmarks.errors import BenchmarkError
from benchmarks.peers.contender import Call, Place
from benchmarks.peers.gateway import NO_LOG, Gateway, running_gateway
from benchmarks.seed import Size, catalogue, write_seed
from benchmarks.upstream import small_answers
from benchmarks.workload import KEY_HEADER, Cores

CONNECTIONS = 8  # that ask whether a change is in force: with two workers, all are one worker's once in a hundred runs
LONGEST = 50.0  # milliseconds for 99 of 100 changes
PROBE_INTERVAL = 0.002  # seconds
COLUMNS = ("change", "times", "p50 ms", "p99 ms", "max ms")
Answer = tuple[int, str]
"""A status, and the limit that is told with it."""


class Watchers:
    """Connections that are open all the time, to whichever worker took each."""

    def __init__(self, port: int, count: int = CONNECTIONS) -> None:
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=10.0) for _ in range(count)]

    def ask(self, call: Call) -> set[Answer]:
        """What all of them are answered."""
        return {self._ask(connection, call) for connection in self._connections}

    def _ask(self, connection: http.client.HTTPConnection, call: Call) -> Answer:
        connection.request("GET", call.path, headers={KEY_HEADER: call.key or ""})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("RateLimit-Policy", "")

    def expect(self, call: Call, *, status: int, limit: str = "") -> None:
        """Raises `BenchmarkError` where one worker has not what the last call has changed."""
        told = self.ask(call)
        if any(found != status or limit not in policy for found, policy in told):
            raise BenchmarkError(f"{call.path} is to be answered {status} {limit} everywhere, and it is {told}")


@dataclass(slots=True)
class Changes:
    """The calls, how long each took, in milliseconds, by its name."""

    admin: Admin
    watchers: Watchers
    known: Call
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self, service_id: str, rounds: int) -> None:
        """All kinds of changes in turn. The service and the rule are those of every route that there is."""
        admin, expect, known = self.admin, self.watchers.expect, self.known
        ample = {"count_by": "all", "requests_per_minute": 50_000_000, "burst_size": 1_000_000}
        rule = admin.create("rate-limits", name="all", **ample)["id"]
        for number in range(rounds):
            key = admin.create("keys", name=f"spare {number}")
            new = Call(f"/orders/v1/new-{number}", known.key)
            fields = {"path": new.path, "service_id": service_id, "methods": ["PUT"]}
            route = self._timed("POST route", lambda fields=fields: admin.create("routes", **fields))["id"]  # type: ignore[misc]
            expect(new, status=405)
            self._timed("PATCH route", lambda route=route: admin.change("routes", route, methods=["GET"]))  # type: ignore[misc]
            expect(new, status=200)
            self._timed("DELETE route", lambda route=route: admin.delete("routes", route))  # type: ignore[misc]
            expect(new, status=404)
            for enabled, status in ((False, 503), (True, 200)):
                self._timed(
                    "PATCH service",
                    lambda enabled=enabled: admin.change("services", service_id, enabled=enabled),  # type: ignore[misc]
                )
                expect(known, status=status)
            limit = 50_000_001 + number  # never what it is already
            self._timed(
                "PATCH rule",
                lambda limit=limit: admin.change("rate-limits", rule, requests_per_minute=limit),  # type: ignore[misc]
            )
            expect(known, status=200, limit=f"q={limit}")
            self._timed("DELETE key", lambda key=key: admin.delete("keys", key["id"]))  # type: ignore[misc]
            expect(Call(known.path, key["key"]), status=401)

    def _timed(self, name: str, call: Callable[[], object]) -> dict[str, str]:
        began = time.perf_counter()
        made = call()
        self.milliseconds.setdefault(name, []).append((time.perf_counter() - began) * 1_000)
        return made if isinstance(made, dict) else {}


def probe(port: int, call: Call, told: Connection) -> None:
    """A client in a process of its own: asks on four connections in turn, until it is told to tell how long it took."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=10.0) for _ in range(4)]
    took: list[float] = []
    while not told.poll(PROBE_INTERVAL):
        connection = connections[len(took) % len(connections)]
        began = time.perf_counter()
        connection.request("GET", call.path, headers={KEY_HEADER: call.key or ""})
        connection.getresponse().read()
        took.append((time.perf_counter() - began) * 1_000)
    told.send(took)


@contextmanager
def probing(port: int, call: Call, into: list[float]) -> Iterator[None]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=probe, args=(port, call, there))
    process.start()
    try:
        yield
        here.send(None)
        into += here.recv()
    finally:
        process.terminate()
        process.join()


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    if reason := Gateway().missing():
        raise BenchmarkError(reason)
    entries = catalogue(Size(routes=options.routes, keys=options.keys))
    cores = Cores.choose()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        folder = Path(temporary)
        with small_answers(folder / "upstream", core=cores.load) as upstream_port:
            place = Place(folder, cores.proxy, upstream_port)
            seed = write_seed(folder / "seed.json", entries, upstream_port=upstream_port)
            with running_gateway("gateway", place, seed=seed, variables=NO_LOG, workers=options.workers) as gateway:
                (known,) = entries.calls(1)
                (service,) = gateway.admin.list("services")
                changes = Changes(gateway.admin, Watchers(gateway.proxy_port), known)
                changes.watchers.expect(known, status=200)
                quiet: list[float] = []
                with probing(gateway.proxy_port, known, quiet):
                    time.sleep(options.quiet)
                meanwhile: list[float] = []
                other = entries.calls(2)[1]
                with probing(gateway.proxy_port, other, meanwhile):
                    changes.run(service["id"], options.rounds)
                return {**changes.milliseconds, "a request, no changes": quiet, "a request meanwhile": meanwhile}


def row(name: str, milliseconds: Sequence[float]) -> tuple[str, ...]:
    ordered = sorted(milliseconds)
    return name, f"{len(ordered):,}", *(f"{ordered[at]:.1f}" for at in (len(ordered) // 2, _p99(ordered), -1))


def _p99(ordered: Sequence[float]) -> int:
    """The place of the one that 99 of 100 are not above."""
    return -(-len(ordered) * 99 // 100) - 1


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("changes.py", __doc__)
    parser.add_argument("--routes", type=int, default=10_000, help="routes, all of one service (default 10000)")
    parser.add_argument("--keys", type=int, default=100, help="keys (default 100)")
    parser.add_argument("--workers", type=int, default=2, help="processes that serve; 1: one does all (default 2)")
    parser.add_argument("--rounds", type=int, default=100, help="how often each change is made (default 100)")
    parser.add_argument("--quiet", type=float, default=2.0, help="seconds of requests without changes (default 2)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    with command.ending_in_order():
        found = measure(options)
    print(report.machine())
    print(f"{options.routes:,} routes of one service, {options.keys:,} keys, {options.workers} workers\n")
    table = report.markdown_table if options.markdown else report.plain_table
    print(table(COLUMNS, [row(name, milliseconds) for name, milliseconds in found.items()]), end="\n\n")
    late = {
        name: p99
        for name, milliseconds in found.items()
        if (p99 := sorted(milliseconds)[_p99(milliseconds)]) >= LONGEST and not name.startswith("a request")
    }
    print(f"{report.met_or_missed(not late)}  99 of 100 changes are in force in under {LONGEST:.0f} ms")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
