"""The load: wrk, with a Lua script made for the run, and its count as numbers."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

MARK = "BENCHMARK "

DONE = """
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '@MARK@{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
""".replace("@MARK@", MARK)

ROTATE = """
local prepared, turn = {}, 0
function init()
  for _, call in ipairs(calls) do
    for name, value in pairs(call[2]) do wrk.headers[name] = value end
    prepared[#prepared + 1] = wrk.format("GET", call[1])
  end
end
function request()
  turn = turn % #prepared + 1
  return prepared[turn]
end
"""


@dataclass(frozen=True, slots=True)
class Round:
    """What wrk counted. Latencies: microseconds. `refused`: answers of 400 and above. `broken`: socket errors."""

    requests: int
    microseconds: int
    p50: int
    p99: int
    refused: int
    broken: int

    @property
    def per_second(self) -> float:
        return self.requests * 1_000_000 / self.microseconds

    def check(self, name: str) -> None:
        """Raises `BenchmarkError` unless every request of the round was answered, and with success."""
        if self.refused or self.broken or not self.requests:
            raise BenchmarkError(
                f"{name}: of {self.requests} requests {self.refused} were not answered 2xx and {self.broken} broke; "
                "a round like this measures nothing"
            )


@dataclass(frozen=True, slots=True)
class Load:
    """Keep-alive connections that each ask again as soon as they are answered, for `seconds`.

    There is a thread for `core` and for each core that it may use `besides`.
    """

    connections: int
    seconds: int
    core: int
    besides: tuple[int, ...] = ()

    def run(self, url: str, script: Path) -> Round:
        """One round of wrk against `url`. Raises `BenchmarkError` when wrk fails."""
        cores = (self.core, *self.besides)
        command = ["taskset", "-c", ",".join(map(str, cores)), "wrk", f"-t{len(cores)}"]
        command += [f"-c{self.connections}", f"-d{self.seconds}s"]
        command += ["--timeout", "5s", "-s", str(script), url]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=self.seconds + 60, check=False)
        for line in finished.stdout.splitlines():
            if line.startswith(MARK):
                return Round(**json.loads(line.removeprefix(MARK)))
        raise BenchmarkError(f"wrk gave no count for {url}: {finished.stdout} {finished.stderr}")


def steady_script(path: Path, headers: Mapping[str, str]) -> Path:
    """A script that sends the same request again and again."""
    path.write_text(_headers(headers) + DONE)
    return path


def rotating_script(path: Path, headers: Mapping[str, str], calls: Sequence[tuple[str, Mapping[str, str]]]) -> Path:
    """A script that walks through `calls`, over and over: a path each, and header fields; all have the same names."""
    rows = ",\n".join(f"  {{{_quoted(target)}, {_table(own)}}}" for target, own in calls)
    path.write_text(_headers(headers) + f"local calls = {{\n{rows}\n}}\n" + ROTATE + DONE)
    return path


def _table(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"[{_quoted(name)}] = {_quoted(value)}" for name, value in fields.items()) + "}"


def _headers(headers: Mapping[str, str]) -> str:
    return "".join(f"wrk.headers[{_quoted(name)}] = {_quoted(value)}\n" for name, value in headers.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
