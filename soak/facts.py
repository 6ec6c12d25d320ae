"""What a scenario has found out: facts that were met or missed, told one a line."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

MOST_EXAMPLES = 3

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Fact:
    """`wanted` is the claim, `found` the figure. `needs_quiet`: a busy machine alone can make it a miss."""

    scenario: str
    wanted: str
    found: str
    met: bool
    needs_quiet: bool = False

    def line(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.scenario}: {self.wanted}: {self.found}"


@dataclass(slots=True)
class Report:
    """The facts of one scenario, told as they are found."""

    scenario: str
    tell: Tell
    facts: list[Fact] = field(default_factory=list)

    def check(self, wanted: str, met: bool, found: str, *, needs_quiet: bool = False) -> None:
        fact = Fact(self.scenario, wanted, found, met, needs_quiet)
        self.facts.append(fact)
        self.tell(fact.line())

    def none(self, what: str, failures: Iterable[str], *, of: str) -> None:
        """The fact that there are no failures, with examples of those there are."""
        failures = list(failures)
        examples = "".join(f"; {failure}" for failure in failures[:MOST_EXAMPLES])
        self.check(f"no {what}", not failures, f"{len(failures)} of {of}{examples}")

    def note(self, text: str) -> None:
        """What is worth knowing and claims nothing."""
        self.tell(f"        {self.scenario}: {text}")
