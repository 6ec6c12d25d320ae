"""The command line. What a command needs is imported when it runs, so that a command starts fast."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from microgateway import __version__
from microgateway.errors import StartupError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 when it went well, 1 with one line when it could not start, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        sys.exit(_run(options))
    except StartupError as error:
        print(f"microgateway: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microgateway", description="An API gateway for microservices.")
    parser.add_argument("--version", action="version", version=f"microgateway {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    run = commands.add_parser("run", help="run the gateway: control port and proxy port in one process")
    run.add_argument("--demo", action="store_true", help="with a demo upstream and sample data; prints a curl line")
    run.add_argument("--host", help="the control port's address (default: MICROGATEWAY_HOST, 127.0.0.1)")
    run.add_argument("--port", type=int, help="the control port (default: MICROGATEWAY_PORT, 8017)")
    return parser


def _run(options: argparse.Namespace) -> int:
    from microgateway.process.single import run_single
    from microgateway.settings import read_settings

    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    settings = read_settings().model_copy(update=given)
    return run_single(settings, demo=options.demo)
