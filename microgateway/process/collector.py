"""Python's garbage collector, in a process that serves: it is told what it need not look at."""

import gc

# A request leaves no cycles behind, so reference counting frees it; what is left for the collector is the control
# plane's. With Python's own thresholds it would run hundreds of times a second under load: 6 µs of processor time a
# request.
COLLECT_AFTER = (50_000, 20, 20)


def spare_the_collector() -> None:
    """Called at the end of a start. What that has made stays, so it is never looked at again; what comes, seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()
