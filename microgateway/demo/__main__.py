"""`python -m microgateway.demo`: the demo upstream alone, until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import contextlib
import sys

from microgateway.demo import PORTS
from microgateway.demo.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m microgateway.demo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, port in PORTS.items():
        parser.add_argument(f"--{name}", type=int, default=port, metavar="PORT", help="default: %(default)s; 0: any")
    parser.add_argument("--until-stdin-ends", action="store_true", help="also stop when standard input is closed")
    options = parser.parse_args()
    ports = {name: getattr(options, name) for name in PORTS}
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how one stops it
        try:
            asyncio.run(serve(host=options.host, ports=ports, until_stdin_ends=options.until_stdin_ends))
        except OSError as error:
            print(f"error: the demo upstream can't listen on {options.host}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
