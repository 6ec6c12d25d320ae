"""What compare.py knows of a proxy: a `Proxy` can be started, a `Contender` is one that is up."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.processes import Process
from benchmarks.workload import KEY, KEY_HEADER, METERED_BURST, METERED_KEY, METERED_PATH, PATH


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is to stand: an own folder for its files, its core, and the upstream's port on the loopback."""

    folder: Path
    core: int
    upstream_port: int


@dataclass(frozen=True, slots=True)
class Call:
    """A request and the key that goes with it (None: no key)."""

    path: str
    key: str | None

    def headers(self) -> Mapping[str, str]:
        return {} if self.key is None else {KEY_HEADER: self.key}


@dataclass(frozen=True, slots=True)
class Metered:
    """A call whose bucket holds `burst` tokens and all but never refills: one more must be answered 429."""

    call: Call
    burst: int = METERED_BURST


@dataclass(frozen=True, slots=True)
class Contender:
    """A proxy that is up. `stranger` is the status for a request without key; `records` counts its access records.

    `beside` are processes below it whose processor time is told apart.
    """

    name: str
    process: Process
    port: int
    call: Call = Call(PATH, KEY)
    stranger: int = 401
    metered: Metered | None = None
    records: Callable[[], int] | None = None
    beside: tuple[int, ...] = ()


class Proxy(Protocol):
    """A proxy that may be measured, if this machine has it."""

    @property
    def name(self) -> str: ...

    @property
    def does(self) -> str:
        """What it does to a request, in a few words for the table."""

    def missing(self) -> str | None:
        """Why it can't run on this machine, or None."""

    def start(self, place: Place) -> AbstractContextManager[Contender]:
        """The proxy, configured and listening, while the block lasts."""


@dataclass(slots=True)
class LineCount:
    """Counts the lines of a growing file, reading only what is new at each call."""

    path: Path
    _offset: int = field(default=0, init=False)
    _lines: int = field(default=0, init=False)

    def __call__(self) -> int:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while block := file.read(1 << 20):
                self._lines += block.count(b"\n")
                self._offset += len(block)
        return self._lines


METERED_BY_KEY = Metered(Call(PATH, METERED_KEY))
METERED_BY_PATH = Metered(Call(METERED_PATH, KEY))
