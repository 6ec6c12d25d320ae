"""Processes that a scenario runs: on one core each, asked for their facts in /proc, and gone when it ends."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAUSE = 0.02  # seconds between two looks
PATIENCE = 30.0  # seconds for what should take one
STOP_PATIENCE = 10.0


class SoakError(Exception):
    """The scenario itself could not go on; says nothing about the gateway's facts."""


@dataclass(frozen=True, slots=True)
class Process:
    """A Python process and the file that it prints into."""

    name: str
    handle: "subprocess.Popen[bytes]"
    output: Path

    @property
    def pid(self) -> int:
        return self.handle.pid

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    async def wait_for(self, pattern: str) -> str:
        """The first group of the first match in what it prints. Raises `SoakError`."""
        await until(lambda: self._has_said(pattern), f"{self.name} says {pattern!r}")
        match = re.search(pattern, self.said)
        return match[1] if match else ""

    async def wait(self, patience: float) -> int | None:
        """Its exit code, None when it is still there."""
        await comes_true(lambda: self.handle.poll() is not None, patience)
        return self.handle.returncode

    def resident_bytes(self) -> int:
        match = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(match[1]) * 1_024 if match else 0

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  Path objects for 2 500 names are of no use

    def _has_said(self, pattern: str) -> bool:
        if re.search(pattern, self.said):
            return True
        if self.handle.poll() is not None:
            raise SoakError(f"{self.name} has ended with {self.handle.returncode}:\n{self.said[-2_000:]}")
        return False


def waited_for_core(pid: int) -> float:
    """Seconds that a process could have run in, but others did (the kernel's schedstat): what a busy machine takes."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


async def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Raises `SoakError` when it does not come true."""
    if not await comes_true(condition, patience):
        raise SoakError(f"not within {patience:.0f} s: {what}")


async def comes_true(condition: Callable[[], bool], patience: float) -> bool:
    """Whether the condition holds at any look within so many seconds."""

    async def look() -> bool:
        return condition()

    return await becomes_true(look, patience)


async def becomes_true(condition: Callable[[], Awaitable[bool]], patience: float) -> bool:
    """The same for a condition that must be asked for."""
    deadline = time.monotonic() + patience
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(PAUSE)
    return True


@asynccontextmanager
async def running(
    name: str,
    arguments: Sequence[str],
    folder: Path,
    *,
    cores: Collection[int] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Process]:
    """A Python command in the repository's folder. No `cores`: wherever the kernel likes."""
    output = folder / f"{name}.out"
    with output.open("wb") as file:
        handle = subprocess.Popen(  # noqa: ASYNC220  it takes a millisecond, and nothing else goes on yet
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    if cores:
        os.sched_setaffinity(handle.pid, cores)
    try:
        yield Process(name, handle, output)
    finally:
        _end(handle)


def _end(handle: "subprocess.Popen[bytes]") -> None:
    handle.terminate()
    try:
        handle.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        handle.kill()
        handle.wait()
