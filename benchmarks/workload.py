"""What every contender is asked: the request, its ten headers, the keys and their limits, and where things run."""

import os
from dataclasses import dataclass

from benchmarks.errors import BenchmarkError

PATH = "/bench"
METERED_PATH = "/metered"  # for peers whose limit hangs on the route and not on the key
KEY_HEADER = "X-API-Key"

# Ordinary request headers, nine here and the key as the tenth; wrk adds Host by itself.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.7",
    "Accept-Encoding": "gzip, deflate, br",
    "Cache-Control": "no-cache",
    "Referer": "https://shop.example.com/catalogue/chairs?page=2",
    "Cookie": "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=1",
    "Sec-Fetch-Mode": "cors",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}

KEY = "mgw_live_peers0only0known0to0peers0abcdef"
METERED_KEY = "mgw_live_metered0key0for0the0peers0abcdef"


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket: `per_second` tokens flow in, at most `burst` are kept."""

    per_second: int
    burst: int

    @property
    def per_minute(self) -> int:
        return self.per_second * 60


AMPLE = Limit(per_second=1_000_000, burst=1_000_000)  # metered, and never reached: no proxy here serves a tenth of it
METERED_BURST = 3
METERED_PER_MINUTE = 1  # a bucket that is as good as dry after its burst, to see that the limiter is in the path at all


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the proxy under test, and the core of everything else (load, upstream, and this process)."""

    proxy: int
    load: int

    @classmethod
    def choose(cls) -> "Cores":
        """The first two cores we may run on. Raises `BenchmarkError` when there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise BenchmarkError("two cores are needed: one for the proxy, one for load and upstream")
        return cls(proxy=allowed[0], load=allowed[1])

    def keep_proxy_core_free(self) -> None:
        """Move this process to the load's core, so that it never takes time from the proxy."""
        os.sched_setaffinity(0, {self.load})
