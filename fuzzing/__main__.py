"""Mutates, checks and tells, for a given time: `python -m fuzzing --seconds 60 --seed 1`."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzzing.corpus import ANSWERS, REQUESTS
from fuzzing.mutation import mutate
from fuzzing.targets import AnswerHeads, MutatedAnswers, RequestHeads, Target, WholeAnswers, WholePlane

PROGRESS_INTERVAL = 5.0  # seconds
MOST_FINDINGS = 20  # then it stops: one bug shows in many messages


def mutated_request(random: Random) -> bytes:
    return mutate(random.choice(REQUESTS), random)


def mutated_answer(random: Random) -> bytes:
    return mutate(random.choice(ANSWERS), random)


def mutated_conversation(random: Random) -> bytes:
    """Two requests in one connection, either of them mutated: the second shows where the first was thought to end."""
    return mutated_request(random) + random.choice(REQUESTS)


@dataclass(frozen=True, slots=True)
class Share:
    """A target, what it is given, and how many messages of a round it gets."""

    name: str
    target: Target
    message: Callable[[Random], bytes]
    count: int


@dataclass(slots=True)
class Run:
    """One run: everything that happens is told by `seed`. `heads` counts messages by share."""

    seed: int
    heads: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def shares(self) -> list[Share]:
        return [
            Share("requests", RequestHeads(), mutated_request, 700),
            Share("answers", AnswerHeads(), mutated_answer, 250),
            Share("conversations", WholePlane(), mutated_conversation, 30),
            Share(
                "conversations with bad answers", WholePlane(MutatedAnswers(mutated_answer)), mutated_conversation, 20
            ),
            Share("whole answers", WholeAnswers(), mutated_answer, 30),
        ]

    def go(self, *, seconds: float, most: int | None, tell: Callable[[str], object]) -> None:
        """Until the time is over, `most` request heads were read, or too much was found."""
        random = Random(self.seed)  # noqa: S311  a run must be repeatable
        shares = self.shares()
        began = told = time.monotonic()
        while (now := time.monotonic()) - began < seconds and len(self.findings) < MOST_FINDINGS:
            if most is not None and self.heads["requests"] >= most:
                break
            if now - told >= PROGRESS_INTERVAL:
                tell(self.line(now - began))
                told = now
            for share in shares:
                self._give(share, random)
        tell(self.line(time.monotonic() - began))
        for share in shares:
            tell(f"{share.name}: {dict(sorted(share.target.counts.items()))}")

    def line(self, seconds: float) -> str:
        total = self.heads.total()
        return f"{seconds:6.1f} s  {total:>9} messages  {total / (seconds or 1):7.0f}/s  {len(self.findings)} findings"

    def _give(self, share: Share, random: Random) -> None:
        for _ in range(share.count):
            message = share.message(random)
            self.heads[share.name] += 1
            try:
                share.target.check(message, random)
            except Exception as error:  # noqa: BLE001  whatever it is, it is a finding
                self.findings.append(f"{share.name}: {type(error).__name__}: {error}\n  {message!r}")
                if len(self.findings) >= MOST_FINDINGS:
                    return


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; without it every run is another one")
    parser.add_argument("--heads", type=int, default=None, help="stop earlier, after this many request heads")
    parser.add_argument("--findings", type=Path, default=None, help="also write what was found to this file")
    arguments = parser.parse_args()
    run = Run(arguments.seed if arguments.seed is not None else time.time_ns() % 1_000_000_007)
    say(f"seed {run.seed}")
    run.go(seconds=arguments.seconds, most=arguments.heads, tell=say)
    for finding in run.findings:
        say(finding)
    if arguments.findings is not None:
        arguments.findings.write_text("\n".join(run.findings), encoding="utf-8")
    return 1 if run.findings else 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
