"""What a run found, as a table (plain or Markdown), as JSON for programs, and as verdicts."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.rounds import Series

MEGABYTE = 1_000_000
GATEWAY = "gateway"
COLUMNS = ("proxy", "µs/request", "requests/s", "p50 ms", "p99 ms", "core busy", "memory MB", "gateway ÷ it")


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway may cost at most `ratio` times the processor time of `peer`."""

    peer: str
    ratio: float


TARGETS = (Target("nginx-lua", 1.3), Target("envoy", 0.5), Target("traefik", 0.25))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one form of the gateway met a target; `found` is None when it or the peer was not in the run."""

    target: Target
    found: float | None
    gateway: str = GATEWAY

    @property
    def met(self) -> bool:
        return self.found is not None and self.found <= self.target.ratio

    def __str__(self) -> str:
        wanted = f"{self.gateway} ≤ {self.target.ratio:g} × {self.target.peer}"
        if self.found is None:
            return f"not measured  {wanted}"
        return f"{'met         ' if self.met else 'MISSED      '}  {wanted}: {self.found:.2f}"


def verdicts(series: Sequence[Series]) -> list[Verdict]:
    """For every form of the gateway that was in the run."""
    by_name = {each.name: each for each in series}
    forms = [name for name in by_name if name.startswith(GATEWAY)] or [GATEWAY]
    return [
        Verdict(target, _ratio(by_name.get(form), by_name.get(target.peer)), form)
        for form in forms
        for target in TARGETS
    ]


def _ratio(gateway: Series | None, peer: Series | None) -> float | None:
    return None if gateway is None or peer is None else gateway.ratio_to(peer)


def ratios_to_peers(series: Sequence[Series]) -> Mapping[str, float]:
    """The gateway's processor time over each peer's, by the peer's name; empty without the gateway."""
    gateway = next((each for each in series if each.name == GATEWAY), None)
    if gateway is None:
        return {}
    return {each.name: gateway.ratio_to(each) for each in series if each is not gateway}


def rows(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """The cells of the table, cheapest proxy first."""
    ratios = ratios_to_peers(series)
    return [
        (
            each.name,
            f"{each.microseconds:.1f}",
            f"{each.per_second:,.0f}",
            f"{each.p50 / 1_000:.2f}",
            f"{each.p99 / 1_000:.2f}",
            f"{each.busy:.0%}",
            f"{each.resident / MEGABYTE:.0f}",
            f"{ratios[each.name]:.2f}" if each.name in ratios else "",
        )
        for each in sorted(series, key=lambda one: one.microseconds)
    ]


def met_or_missed(met: bool) -> str:
    """Whether a target was met, as wide in either case."""
    return "met   " if met else "MISSED"


def plain_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (header, *cells)) for column in range(len(header))]
    lines = []
    for first, *rest in (header, *cells):
        numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *numbers)))
    return "\n".join(lines)


def markdown_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *cells))


def machine() -> str:
    """Processor, cores, kernel and Python, and the date: a figure without them is a rumour."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, {when}"


def as_json(
    series: Sequence[Series], *, settings: Mapping[str, object], skipped: Mapping[str, str]
) -> dict[str, object]:
    """Everything that was measured, each round with its own figures."""
    return {
        "machine": machine(),
        "settings": dict(settings),
        "skipped": dict(skipped),
        "proxies": {each.name: _as_json(each) for each in series},
        "ratios": dict(ratios_to_peers(series)),
        "targets": [
            {"peer": one.target.peer, "at_most": one.target.ratio, "found": one.found, "met": one.met}
            for one in verdicts(series)
        ],
    }


def _as_json(series: Series) -> dict[str, object]:
    return {
        "microseconds_per_request": series.microseconds,
        "requests_per_second": series.per_second,
        "p50_microseconds": series.p50,
        "p99_microseconds": series.p99,
        "busy": series.busy,
        "microseconds_per_request_beside": series.microseconds_beside,
        "resident_bytes": series.resident,
        "rounds": [
            {
                "microseconds_per_request": sample.microseconds_per_request,
                "requests": sample.counted.requests,
                "processor_seconds": sample.processor_seconds,
            }
            for sample in series.samples
        ],
    }
