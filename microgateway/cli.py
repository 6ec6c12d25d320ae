"""The command line. What a command needs is imported when it runs, so that a command starts fast."""

import argparse
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from microgateway import __version__
from microgateway.errors import MicroGatewayError

HIGHEST_PORT = 65_535
MOST_WORKERS = 60  # in a reload there are twice as many, and `MOST_PROCESSES` of shared memory has to hold them all
QUESTIONS = ("explain", "simulate", "replay", "history", "diff")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits.

    0: it went well; 1: it could not start, and one line says why; 2: a wrong call; 130: Ctrl-C while it started.
    """
    options = _parser().parse_args(arguments)
    try:
        sys.exit(_run(options))
    except MicroGatewayError as error:
        print(f"microgateway: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # while it starts; later a signal is a request to drain
        sys.exit(128 + signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microgateway", description="An API gateway for microservices.")
    parser.add_argument("--version", action="version", version=f"microgateway {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    run = commands.add_parser("run", help="run the gateway: control port and proxy port")
    run.add_argument("--demo", action="store_true", help="with a demo upstream and sample data; prints a curl line")
    run.add_argument("--host", help="the control port's address (default: MICROGATEWAY_HOST, 127.0.0.1)")
    run.add_argument("--port", type=_port, help="the control port (default: MICROGATEWAY_PORT, 8017)")
    run.add_argument(
        "--workers",
        type=_workers,
        help="processes that serve the proxy port; 1: one process does all (default: one for each core; 1 with --demo)",
    )
    commands.add_parser("reload", help="have a running gateway with workers take on new code and settings")
    _add_questions(commands)
    _add_restore(commands)
    return parser


def _add_questions(commands: Any) -> None:
    """The commands that only ask; the running gateway answers, or, where none runs, its database."""
    explain = commands.add_parser("explain", help="what would become of a request, and why")
    explain.add_argument("method", nargs="?", default="GET", help="its method, as in: explain GET /orders/42")
    explain.add_argument("path", nargs="?", default="/", help="its path, with a query where it has one")
    explain.add_argument("--row", metavar="ID", help="a request of the log instead, by its row or its own id")
    against = ("served", "in_force")
    explain.add_argument(
        "--against", choices=against, default="served", help="the configuration for --row (default: served)"
    )
    explain.add_argument("--host", help="the Host that it asks for")
    explain.add_argument("--key", help="its API key")
    explain.add_argument("--token", help="its token")
    explain.add_argument("-H", "--header", action="append", default=[], help="a header line, 'Name: value'")
    explain.add_argument("--body", help="its body")
    explain.add_argument("--client-ip", default="127.0.0.1", help="the address that it comes from")
    upstreams = ("none", "simulated", "live")
    explain.add_argument("--upstream", choices=upstreams, default="none", help="send it (default: none, just tell)")
    simulate = commands.add_parser("simulate", help="what comes of many requests, in virtual time or in real")
    simulate.add_argument("scenario", type=Path, help="a file of JSON or YAML: what POST /api/gateway/batch takes")
    replay = commands.add_parser("replay", help="the request log under another configuration: what would change")
    replay.add_argument("--since", default="24h", help="so long ago, or when (default: 24h)")
    replay.add_argument("--until", help="the same (default: now)")
    replay.add_argument("--config", type=Path, help="a file of JSON or YAML: what is different from what is in force")
    replay.add_argument("--warm-up", type=float, default=600.0, help="seconds before, to fill buckets (default: 600)")
    replay.add_argument(
        "--against",
        choices=against,
        default="in_force",
        help="what --config is a change to: what is in force, or what served each request (default: in_force)",
    )
    history = commands.add_parser("history", help="the changes of the configuration, the newest first")
    history.add_argument("--limit", type=int, default=20, help="so many at most (default: 20)")
    diff = commands.add_parser("diff", help="what is different between two versions of the configuration")
    diff.add_argument("version", type=int, help="the one, as `history` names it")
    diff.add_argument("--against", type=int, help="the other (default: what is in force)")
    for question in (explain, simulate, replay, history, diff):
        question.add_argument("--json", action="store_true", help="the API's own answer")
        question.add_argument("--offline", action="store_true", help="ask the database, though a gateway may run")


def _add_restore(commands: Any) -> None:
    restore = commands.add_parser(
        "restore", help="make the configuration what it was in a version, in a running gateway"
    )
    restore.add_argument("version", type=int, help="as `history` names it")
    restore.add_argument("--dry-run", action="store_true", help="only say what would be changed")
    restore.add_argument("--if-version", type=int, help="only while this version is in force")
    restore.add_argument(
        "--keys",
        choices=("restore", "leave"),
        default="restore",
        help="what may be done with keys: as it was, or as it is (default: restore); revoked ones stay revoked",
    )
    restore.add_argument(
        "--new-keys", choices=("keep", "disable"), default="keep", help="keys that were made since (default: keep)"
    )
    restore.add_argument("--json", action="store_true", help="the API's own answer")


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

    of_run = ("host", "port") if options.command == "run" else ()
    given = {name: value for name in of_run if (value := getattr(options, name)) is not None}
    settings = read_settings().model_copy(update=given)  # before the rest is imported: its errors are told at once
    if options.command == "reload":
        from microgateway.process.pid_file import reload

        return reload(settings.data_dir)
    if options.command in QUESTIONS:
        from microgateway.process.asking import answer

        return answer(options, settings)
    if options.command == "restore":
        from microgateway.process.asking import restore

        return restore(options, settings)
    workers = options.workers or default_workers(demo=options.demo)
    if workers > 1:
        from microgateway.process.supervisor import run_supervised

        return run_supervised(settings, given=given, workers=workers, demo=options.demo)
    gc.disable()  # little of what a start makes is garbage: it is switched on by who begins to serve
    from microgateway.process.single import run_single

    return run_single(settings, demo=options.demo)


def default_workers(*, demo: bool) -> int:
    """One for each core that can be kept busy. A demo is for a look: one process starts sooner, and is enough."""
    from microgateway.process.cores import usable_cores

    return 1 if demo else min(usable_cores(), MOST_WORKERS)
