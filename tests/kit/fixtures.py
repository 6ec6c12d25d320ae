"""A gateway before an upstream, for one module or for one test."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from microgateway.entities import ApiKey, Route
from microgateway.testing import FakeClock
from tests.kit.configuration import route, service, settings
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.second_reader import assert_read_alike
from tests.kit.upstream import Upstream, running_upstream


@dataclass(frozen=True, slots=True)
class Pair:
    """A gateway whose route `/` takes everything, without a key, to the upstream."""

    gateway: Gateway
    upstream: Upstream


@contextlib.contextmanager
def running_pair(
    *,
    routes: Sequence[Route] = (),
    keys: Sequence[ApiKey] = (),
    service_fields: dict[str, Any] | None = None,
    upstream_buffer: int | None = None,
    read_by_h11: bool = True,
    clock: FakeClock | None = None,
    **overrides: Any,
) -> Iterator[Pair]:
    """`overrides` are settings. `service_fields` are the one service's. `clock` is the gateway's, for tests of limits
    of time. At the end all that was sent on is read once more, by h11.
    """
    with (
        running_upstream(receive_buffer=upstream_buffer) as upstream,
        running_gateway(
            services=[service(upstream.url, **(service_fields or {}))],
            routes=list(routes) or [route("/")],
            keys=keys,
            settings=settings(**overrides),
            clock=clock,
        ) as gateway,
    ):
        upstream.settle = gateway.settle
        if clock is not None:
            upstream.pass_time = partial(gateway.pass_time, clock)
        yield Pair(gateway, upstream)
        for conversation in upstream.connections if read_by_h11 else ():
            assert_read_alike(conversation)
