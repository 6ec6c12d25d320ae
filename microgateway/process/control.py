"""The control process of a gateway with workers, `python -m microgateway.process.control`: the supervisor starts it.

It is the gateway of one process without the proxy port: database, configuration, control port, health checks, and what
tells of the traffic, which the workers report.
"""

import json
import os
import signal
import socket
import sys
from typing import Any

import uvloop

from microgateway.errors import StartupError
from microgateway.process.fleet import FleetEnds
from microgateway.process.leash import Leash
from microgateway.process.shared_state import SharedState
from microgateway.process.single import serve_control
from microgateway.settings import read_settings


def main(given: dict[str, Any]) -> int:
    """The exit code. `given` is what the supervisor tells: numbers of descriptors, and what its command line said."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        settings = read_settings().model_copy(update=given["settings"])
        if "control" not in given:
            return 0  # a supervisor that is about to reload only wants to know whether this is possible
        os.set_inheritable(given["control"], True)
        ends = FleetEnds(
            leash=Leash.inherited(given["leash"]),
            state=SharedState.attached(given["memory"]),
            workers=given["workers"],
            proxy_port=given["proxy_port"],
            ears=given["ears"],
        )
        control = socket.socket(fileno=given["control"])
        return uvloop.run(serve_control(settings, control, demo=given["demo"], ends=ends))
    except StartupError as error:
        print(f"microgateway: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
