"""What the command lines of the benchmarks have in common: how they explain themselves, and how they fail."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.errors import BenchmarkError
from benchmarks.processes import end_on_signal


def parser(program: str, explanation: str | None) -> argparse.ArgumentParser:
    """`explanation` is the program's docstring, shown as it is."""
    return argparse.ArgumentParser(
        prog=program, description=explanation, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_rounds(options: argparse.ArgumentParser, *, connections: int = 32) -> None:
    """How often, how long and with how many clients something is measured, in turn with what it is compared to."""
    options.add_argument("--rounds", type=int, default=5, help="rounds of each, taken in turn (default %(default)s)")
    options.add_argument("--seconds", type=int, default=3, help="length of a round (default %(default)s)")
    options.add_argument(
        "--connections", type=int, default=connections, help="keep-alive connections (default %(default)s)"
    )


@contextmanager
def ending_in_order() -> Iterator[None]:
    """A signal ends what was started. A `BenchmarkError` ends the program, with one line and exit code 1."""
    end_on_signal()
    try:
        yield
    except BenchmarkError as error:
        sys.exit(f"benchmark failed: {error}")
