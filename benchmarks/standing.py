"""All contenders up at once, each in its own folder, checked before the first round."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.checks import check_policy
from benchmarks.peers.contender import Contender, Place, Proxy
from benchmarks.workload import Cores


@contextmanager
def standing(proxies: Sequence[Proxy], folder: Path, *, upstream_port: int, cores: Cores) -> Iterator[list[Contender]]:
    """The proxies, up and checked. All share the proxies' core: only one works at a time, the others sleep."""
    with ExitStack() as stack:
        contenders = []
        for proxy in proxies:
            own = folder / proxy.name
            own.mkdir()
            contenders.append(stack.enter_context(proxy.start(Place(own, cores.proxy, upstream_port))))
        for contender in contenders:
            check_policy(contender)
        yield contenders
