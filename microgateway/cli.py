"""The command line. What a command needs is imported when it runs, so that a command starts fast."""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from microgateway import __version__
from microgateway.errors import StartupError

HIGHEST_PORT = 65_535
MOST_WORKERS = 60


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
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    run = commands.add_parser("run", help="run the gateway: control port and proxy port in one process")
    run.add_argument("--demo", action="store_true", help="with a demo upstream and sample data; prints a curl line")
    run.add_argument("--host", help="the control port's address (default: MICROGATEWAY_HOST, 127.0.0.1)")
    run.add_argument("--port", type=_port, help="the control port (default: MICROGATEWAY_PORT, 8017)")
    run.add_argument("--workers", type=_workers, default=1, help="processes that serve the proxy port (default: 1)")
    commands.add_parser("reload", help="have a running gateway with workers take on new code and settings")
    return parser


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: one from 1 to {MOST_WORKERS} is")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {HIGHEST_PORT} is")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    from microgateway.settings import read_settings

    given = {name: value for name in ("host", "port") if (value := getattr(options, name, None)) is not None}
    settings = read_settings().model_copy(update=given)  # before the rest is imported: its errors are told at once
    if options.command == "reload":
        from microgateway.process.pid_file import reload

        return reload(settings.data_dir)
    if options.workers > 1:
        from microgateway.process.supervisor import run_supervised

        return run_supervised(settings, given=given, workers=options.workers, demo=options.demo)
    from microgateway.process.single import run_single

    return run_single(settings, demo=options.demo)
