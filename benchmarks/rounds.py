"""Rounds in turn: A B C A B C, so that a slow minute of the machine falls on all and not on one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.checks import check_records
from benchmarks.load import Load, Round
from benchmarks.measure import ProcessorTime, resident_bytes
from benchmarks.peers.contender import Contender

WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender: what wrk counted, and the processor time that the proxy spent on it, in seconds.

    `beside_seconds` is that of the processes that are told apart.
    """

    counted: Round
    processor_seconds: float
    beside_seconds: float = 0.0

    @property
    def microseconds_per_request(self) -> float:
        return self.processor_seconds * 1_000_000 / self.counted.requests

    @property
    def busy(self) -> float:
        """The share of its core that the proxy used."""
        return self.processor_seconds * 1_000_000 / self.counted.microseconds


@dataclass(slots=True)
class Series:
    """All rounds of one contender. Figures are medians; latencies in microseconds, memory in bytes."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    resident: int = 0

    @property
    def microseconds(self) -> float:
        return median(sample.microseconds_per_request for sample in self.samples)

    @property
    def microseconds_beside(self) -> float:
        """A request's share of the time of the processes that are told apart."""
        return median(sample.beside_seconds * 1_000_000 / sample.counted.requests for sample in self.samples)

    @property
    def per_second(self) -> float:
        return median(sample.counted.per_second for sample in self.samples)

    @property
    def p50(self) -> float:
        return median(sample.counted.p50 for sample in self.samples)

    @property
    def p99(self) -> float:
        return median(sample.counted.p99 for sample in self.samples)

    @property
    def busy(self) -> float:
        return median(sample.busy for sample in self.samples)

    def ratio_to(self, other: "Series") -> float:
        """This one's processor time over the other's: the median of the ratios within each round."""
        pairs = zip(self.samples, other.samples, strict=True)
        return median(mine.microseconds_per_request / theirs.microseconds_per_request for mine, theirs in pairs)


def run_rounds(
    contenders: Sequence[Contender],
    scripts: Mapping[str, Path],
    load: Load,
    *,
    rounds: int,
    progress: Callable[[str], None],
) -> list[Series]:
    """`rounds` rounds of every contender in turn, after one short round each that warms up and is not counted."""
    warm_up = Load(connections=load.connections, seconds=WARM_UP_SECONDS, core=load.core)
    answered = {one.name: _sample(one, scripts[one.name], warm_up).counted.requests for one in contenders}
    series = {contender.name: Series(contender.name) for contender in contenders}
    for number in range(1, rounds + 1):
        for contender in contenders:
            sample = _sample(contender, scripts[contender.name], load)
            series[contender.name].samples.append(sample)
            answered[contender.name] += sample.counted.requests
            progress(
                f"round {number}/{rounds}  {contender.name:<12} {sample.microseconds_per_request:7.1f} µs"
                f"  {sample.counted.per_second:8.0f}/s  busy {sample.busy:4.0%}"
            )
    for contender in contenders:
        check_records(contender, answered[contender.name])
        series[contender.name].resident = resident_bytes(contender.process.pid)
    return list(series.values())


def _sample(contender: Contender, script: Path, load: Load) -> Sample:
    contender.process.check_alive()
    pid, beside = contender.process.pid, contender.beside
    before, before_beside = ProcessorTime.read(pid, beside), [ProcessorTime.read(each) for each in beside]
    counted = load.run(f"http://127.0.0.1:{contender.port}{contender.call.path}", script)
    spent = ProcessorTime.read(pid, beside).seconds_since(before)
    spent_beside = sum(
        ProcessorTime.read(each).seconds_since(earlier) for each, earlier in zip(beside, before_beside, strict=True)
    )
    counted.check(contender.name)
    return Sample(counted=counted, processor_seconds=spent, beside_seconds=spent_beside)
