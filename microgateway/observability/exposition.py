"""Prometheus's text format, version 0.0.4: families of samples, and the page that they make.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from microgateway.core.histogram import Counts, at_most

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MICROSECONDS = 1_000_000  # in a second

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(slots=True)
class Family:
    """One metric. Samples with the same labels are added up, so that two routes of one name are one."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    _samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """One sample, or what is to be added to it. `suffix` stands behind the family's name."""
        key = (suffix, tuple(labels.items()))
        self._samples[key] = self._samples.get(key, 0) + value

    def add_histogram(self, counts: Counts, microseconds: int, bounds: tuple[int, ...], **labels: str) -> None:
        """Durations in microseconds, told in seconds; `microseconds` is their sum."""
        for bound, count in zip(bounds, at_most(counts, bounds), strict=True):
            self.add(count, "_bucket", **labels, le=_number(bound / MICROSECONDS))
        total = sum(counts.values())
        self.add(total, "_bucket", **labels, le="+Inf")
        self.add(microseconds / MICROSECONDS, "_sum", **labels)
        self.add(total, "_count", **labels)

    def lines(self) -> Iterable[str]:
        """As the page has it, with HELP and TYPE in front."""
        yield f"# HELP {self.name} {self.help.translate(_HELP_ESCAPES)}"
        yield f"# TYPE {self.name} {self.kind}"
        for (suffix, labels), value in self._samples.items():
            inside = ",".join(f'{name}="{text.translate(_LABEL_ESCAPES)}"' for name, text in labels)
            yield f"{self.name}{suffix}{{{inside}}} {_number(value)}" if inside else f"{self.name} {_number(value)}"


Source = Callable[[], Iterable[Family]]


def page(sources: Iterable[Source]) -> str:
    """All families of all sources, in their order."""
    lines = [line for source in sources for family in source() for line in family.lines()]
    return "\n".join([*lines, ""])


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
