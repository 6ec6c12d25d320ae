"""The command line. What a command needs is imported when it runs, so that a command starts fast."""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from microgateway import __version__
from microgateway.errors import StartupError

HIGHEST_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits.

    0: it went well; 1: it could not start, and one line says why; 2: a wrong call; 130: Ctrl-C while it started.
    """
    options = _parser().parse_args(arguments)
    try:
        sys.exit(_run(options))
    except StartupError as error:
        print(f"microgateway: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # while it starts; later a signal is a request to drain
        sys.exit(128 + signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microgateway", description="An API gateway for microservices.")
    parser.add_argument("--version", action="version", version=f"microgateway {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    run = commands.add_parser("run", help="run the gateway: control port and proxy port in one process")
    run.add_argument("--demo", action="store_true", help="with a demo upstream and sample data; prints a curl line")
    run.add_argument("--host", help="the control port's address (default: MICROGATEWAY_HOST, 127.0.0.1)")
    run.add_argument("--port", type=_port, help="the control port (default: MICROGATEWAY_PORT, 8017)")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {HIGHEST_PORT} is")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    from microgateway.settings import read_settings

    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    settings = read_settings().model_copy(update=given)  # before the rest is imported: its errors are told at once

    from microgateway.process.single import run_single

    return run_single(settings, demo=options.demo)
