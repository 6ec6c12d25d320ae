"""The gateway beside real peers: processor time per request, one core each, the same load and the same upstream.

python benchmarks/compare.py --rounds 5 --seconds 3
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.errors import BenchmarkError
from benchmarks.load import Load, rotating_script, steady_script
from benchmarks.peers.contender import Contender, Proxy
from benchmarks.peers.envoy import Envoy
from benchmarks.peers.gateway import Gateway, unlogged, with_log, with_rules
from benchmarks.peers.haproxy import HAProxy
from benchmarks.peers.nginx import BareNginx, LuaNginx, full_lua_nginx
from benchmarks.peers.pump import BytePump
from benchmarks.peers.traefik import Traefik
from benchmarks.rounds import Series, run_rounds
from benchmarks.seed import Size
from benchmarks.standing import standing
from benchmarks.upstream import small_answers
from benchmarks.workload import HEADERS, Cores

VARIETY = 10  # requests of a varied load


def contestants(size: Size | None) -> tuple[Proxy, ...]:
    """All that can be compared, in the order of their turns."""
    return (BytePump(), BareNginx(), HAProxy(), LuaNginx(), full_lua_nginx(), *gateways(size), Envoy(), Traefik())


def gateways(size: Size | None) -> tuple[Gateway, ...]:
    return unlogged(size), with_rules(), with_log()


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("compare.py", __doc__)
    command.add_rounds(parser)
    parser.add_argument(
        "--only", metavar="A,B", help="these proxies only: " + ",".join(one.name for one in contestants(None))
    )
    parser.add_argument(
        "--varied", action="store_true", help="each request of a connection has another query and trace"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure of every round there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--check", action="store_true", help="exit code 1 unless every target is met")
    parser.add_argument("--routes", type=int, default=0, help="preload the gateway with so many more routes")
    parser.add_argument("--keys", type=int, default=0, help="preload the gateway with so many more keys")
    return parser.parse_args(given)


def choose(options: argparse.Namespace) -> tuple[list[Proxy], dict[str, str]]:
    """The proxies to measure, and those that this machine lacks with the reason."""
    size = Size(routes=options.routes, keys=options.keys) if options.routes or options.keys else None
    known = {proxy.name: proxy for proxy in contestants(size)}
    wanted = options.only.split(",") if options.only else list(known)
    if strangers := [name for name in wanted if name not in known]:
        raise BenchmarkError(f"unknown: {', '.join(strangers)}; known: {', '.join(known)}")
    chosen = [proxy for proxy in known.values() if proxy.name in wanted]
    skipped = {proxy.name: reason for proxy in chosen if (reason := proxy.missing()) is not None}
    return [proxy for proxy in chosen if proxy.name not in skipped], skipped


def measure(proxies: Sequence[Proxy], options: argparse.Namespace) -> list[Series]:
    cores = Cores.choose()
    cores.keep_proxy_core_free()
    load = Load(connections=options.connections, seconds=options.seconds, core=cores.load)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        small_answers(Path(temporary) / "upstream", core=cores.load) as upstream_port,
        standing(proxies, Path(temporary), upstream_port=upstream_port, cores=cores) as contenders,
    ):
        make = varied_load if options.varied else steady_load
        scripts = {one.name: make(Path(temporary) / f"{one.name}.lua", one) for one in contenders}
        return run_rounds(
            contenders, scripts, load, rounds=options.rounds, progress=lambda line: print(line, file=sys.stderr)
        )


def steady_load(path: Path, one: Contender) -> Path:
    """The same request, again and again."""
    return steady_script(path, HEADERS | dict(one.call.headers()))


def varied_load(path: Path, one: Contender) -> Path:
    """Ten requests in turn, which differ in their queries and in their traces, as those of a client with tracing do."""
    traces = [f"00-{number:032x}-{number:016x}-01" for number in range(1, VARIETY + 1)]
    calls = [
        (f"{one.call.path}?page={number}", {**one.call.headers(), "traceparent": trace})
        for number, trace in enumerate(traces)
    ]
    return rotating_script(path, HEADERS, calls)


def show(
    series: Sequence[Series], proxies: Sequence[Proxy], skipped: Mapping[str, str], options: argparse.Namespace
) -> None:
    print(report.machine())
    load = ", varied requests" if options.varied else ""
    print(f"{options.rounds} rounds of {options.seconds} s in turn, {options.connections} connections{load}; medians\n")
    table = report.markdown_table if options.markdown else report.plain_table
    print(table(report.COLUMNS, report.rows(series)), end="\n\n")
    for proxy in proxies:
        print(f"{proxy.name}: {proxy.does}")
    for each in series:
        if each.microseconds_beside:
            print(f"{each.name}: {each.microseconds_beside:.1f} µs a request more in the log's writer, told apart")
    for name, reason in skipped.items():
        print(f"{name}: skipped, {reason}")
    print()
    for verdict in report.verdicts(series):
        print(verdict)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    with command.ending_in_order():
        proxies, skipped = choose(options)
        series = measure(proxies, options)
    show(series, proxies, skipped, options)
    if options.json:
        settings = {
            name: getattr(options, name) for name in ("rounds", "seconds", "connections", "routes", "keys", "varied")
        }
        options.json.write_text(json.dumps(report.as_json(series, settings=settings, skipped=skipped), indent=2) + "\n")
    return 1 if options.check and not all(verdict.met for verdict in report.verdicts(series)) else 0


if __name__ == "__main__":
    sys.exit(main())
