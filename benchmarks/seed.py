"""Sample data for the gateway in bulk: many routes and keys as one document, read at start from MICROGATEWAY_SEED."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contender import Call
from benchmarks.workload import AMPLE
from microgateway.core import api_keys

RANDOM_SEED = 20_261_124  # the same keys in every run: nothing here guards anything
TEAMS = ("orders", "search", "billing", "mobile")


@dataclass(frozen=True, slots=True)
class Size:
    """How much the gateway has to know."""

    routes: int
    keys: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is loaded: the paths of the routes, and the keys in clear."""

    paths: Sequence[str]
    keys: Sequence[str]

    def calls(self, count: int) -> list[Call]:
        """`count` calls spread over all routes and all keys, in an order without a pattern for caches to like."""
        order = random.Random(RANDOM_SEED)
        return [Call(order.choice(self.paths), order.choice(self.keys)) for _ in range(count)]


def catalogue(size: Size) -> Catalogue:
    """Paths as an operator's are: teams, resources and versions, so that many share their first segments."""
    dice = random.Random(RANDOM_SEED)
    paths = [f"/{TEAMS[number % len(TEAMS)]}/v{number % 3 + 1}/resource-{number:05d}" for number in range(size.routes)]
    return Catalogue(paths=paths, keys=[api_keys.generate(dice.randrange) for _ in range(size.keys)])


def write_seed(file: Path, entries: Catalogue, *, upstream_port: int) -> Path:
    """The document `seed_data/data.json` has, for one service with all these routes and keys."""
    document = {
        "services": [
            {"name": "bench", "base_url": f"http://127.0.0.1:{upstream_port}", "health_check_path": "/health"},
        ],
        "routes": [
            {"path": path, "service": "bench", "methods": ["GET"], "strip_prefix": False} for path in entries.paths
        ],
        "keys": [
            {
                "name": f"client-{number}",
                "key": key,
                "requests_per_minute": AMPLE.per_minute,
                "burst_size": AMPLE.burst,
            }
            for number, key in enumerate(entries.keys)
        ],
    }
    file.write_text(json.dumps(document))
    return file
