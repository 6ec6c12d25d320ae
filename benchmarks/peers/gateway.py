"""The gateway itself, started as a user would, with the whole pipeline on: key, bucket, route, breaker, record."""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.admin import Admin
from benchmarks.peers.contender import Call, Contender, Metered, Place
from benchmarks.processes import Process, free_port, running, tree
from benchmarks.seed import Size, catalogue, write_seed
from benchmarks.workload import AMPLE, METERED_BURST, METERED_PER_MINUTE, PATH

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = ({"name": "by key", "path": PATH, "count_by": "key"}, {"name": "by address", "count_by": "address"})
NO_LOG = {"MICROGATEWAY_REQUEST_LOG": "false"}
OWN_SETTINGS = ("MICROGATEWAY_", "DATABASE_URL", "REDIS_URL", "JWT_", "DEFAULT_", "CIRCUIT_")


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that is ready: its process, its proxy port and the way to its control port."""

    process: Process
    proxy_port: int
    admin: Admin


@contextmanager
def running_gateway(
    name: str, place: Place, *, seed: Path | None = None, variables: Mapping[str, str] | None = None, workers: int = 1
) -> Iterator[RunningGateway]:
    """`uvicorn app:app` with an own data folder below the place's, kept from one start to the next.

    With several workers it is `microgateway run`, on all cores.
    """
    control_port, proxy_port = free_port(), free_port()
    token = secrets.token_urlsafe(24)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(OWN_SETTINGS)}
    environment |= {
        "MICROGATEWAY_PROXY_PORT": str(proxy_port),
        "MICROGATEWAY_DATA_DIR": str(place.folder / "data"),
        "MICROGATEWAY_ADMIN_TOKEN": token,
        "MICROGATEWAY_HEALTH_CHECKS": "false",
    }
    environment |= variables or {}
    if seed is not None:
        environment["MICROGATEWAY_SEED"] = str(seed)
    command = [sys.executable, "-m", "uvicorn", "app:app", "--no-access-log"]
    core: int | str = place.core
    if workers > 1:
        command = [sys.executable, "-m", "microgateway", "run", "--workers", str(workers)]
        core = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    command += ["--host", "127.0.0.1", "--port", str(control_port)]
    with running(name, command, core=core, folder=place.folder, environment=environment, cwd=REPOSITORY) as process:
        admin = Admin(port=control_port, token=token)
        admin.wait_until_ready(process)
        process.wait_for_port(proxy_port)
        yield RunningGateway(process=process, proxy_port=proxy_port, admin=admin)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway as a contender. With a `size`, so many routes and keys are loaded before it is measured.

    `variables` are settings of its environment. `has_rules`: with two rate limit rules beside the key's limit, one
    by key and one by address. `workers`: how many processes serve.
    """

    name: str = "gateway"
    does: str = "key, token bucket per key, route, circuit breaker, record counted (metrics, usage)"
    size: Size | None = None
    methods: tuple[str, ...] = ("GET",)
    variables: Mapping[str, str] = field(default_factory=dict)
    has_rules: bool = False
    workers: int = 1

    def missing(self) -> str | None:
        return None if (REPOSITORY / "app.py").exists() else "app.py is not there yet"

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        with running_gateway(
            self.name, place, seed=self._seed(place), variables=self.variables, workers=self.workers
        ) as gateway:
            yield self._configure(gateway, place)

    def _seed(self, place: Place) -> Path | None:
        if self.size is None:
            return None
        return write_seed(place.folder / "seed.json", catalogue(self.size), upstream_port=place.upstream_port)

    def _configure(self, gateway: RunningGateway, place: Place) -> Contender:
        admin = gateway.admin
        upstream = f"http://127.0.0.1:{place.upstream_port}"
        service = admin.create("services", name="compared", base_url=upstream, health_check_path="/health")
        admin.create("routes", path=PATH, service_id=service["id"], methods=list(self.methods), strip_prefix=False)
        ample = admin.create("keys", name="ample", requests_per_minute=AMPLE.per_minute, burst_size=AMPLE.burst)
        for fields in RULES if self.has_rules else ():
            admin.create("rate-limits", requests_per_minute=AMPLE.per_minute, burst_size=AMPLE.burst, **fields)
        metered = admin.create("keys", name="metered", requests_per_minute=METERED_PER_MINUTE, burst_size=METERED_BURST)
        return Contender(
            name=self.name,
            process=gateway.process,
            port=gateway.proxy_port,
            call=Call(PATH, ample["key"]),
            metered=Metered(Call(PATH, metered["key"])),
            records=lambda: int(admin.read("keys", ample["id"])["total_requests"]),
            beside=tuple(pid for pid in tree(gateway.process.pid) if pid != gateway.process.pid),
        )


def unlogged(size: Size | None = None) -> Gateway:
    """What a request costs by itself: it is counted, and no row is kept of it."""
    return Gateway(size=size, variables=NO_LOG)


def with_rules() -> Gateway:
    does = "the same with two rate limit rules, by key and by address"
    return Gateway(name="gateway-rules", does=does, variables=NO_LOG, has_rules=True)


def with_log() -> Gateway:
    return Gateway(name="gateway-log", does="the same with the request log; its writer is a process of its own")
