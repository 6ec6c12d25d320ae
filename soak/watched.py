"""`python -m soak.watched run`: the gateway as `python -m microgateway run` starts it, and on SIGUSR1 it counts itself.

One line on standard error: how many of its connections, requests and tasks are alive, and how many blocks of memory
Python has given out. Cycles are collected first, so that only what something still refers to counts.
"""

import asyncio
import gc
import json
import signal
import sys
from collections import Counter
from types import FrameType

from microgateway.cli import main

COUNTED = ("Downstream", "Exchange", "Forwarding", "Task", "Tunnel", "UpstreamConnection")
BLOCKS = "blocks"  # of memory: about one for each object
MARK = "alive: "


def count_alive(number: int, frame: FrameType | None) -> None:
    gc.collect()
    counts = Counter(dict.fromkeys(COUNTED, 0))
    for thing in gc.get_objects():
        name = type(thing).__name__
        if name in counts and not (
            isinstance(thing, asyncio.Task) and thing.done()
        ):  # a result that is kept is no leak
            counts[name] += 1
    counts[BLOCKS] = sys.getallocatedblocks()
    sys.stderr.write(f"{MARK}{json.dumps(counts)}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, count_alive)
    main()
