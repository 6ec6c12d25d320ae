"""Has the usage of keys, services and routes survive a restart: what was added is written to the database about every
second.

Nobody waits for that. A database that is away is tried again, with all that was counted meanwhile; a process that is
killed loses what it counted since the last time.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from microgateway.background import start_task
from microgateway.clock import utc
from microgateway.errors import StartupError
from microgateway.observability.usage import KeyUsage, ServiceUsage, Usage
from microgateway.persistence.database import DatabaseUnavailableError
from microgateway.persistence.usage_store import KeyUsageRow, RouteUsageRow, ServiceUsageRow, UsageStore

INTERVAL = 1.0  # seconds
LONGEST_LAST_WRITE = 3.0  # seconds, at the end
MOST_AT_ONCE = 5_000  # keys, and as many services and routes


@dataclass(slots=True)
class _Addition:
    """What is to be added to the database, and what the counters say when that is done."""

    keys: list[KeyUsageRow] = field(default_factory=list)
    services: list[ServiceUsageRow] = field(default_factory=list)
    routes: list[RouteUsageRow] = field(default_factory=list)
    saved: list[tuple[KeyUsage | ServiceUsage, tuple[int, int]]] = field(default_factory=list)


class UsageKeeper:
    """Reads the counters at the start, and writes those that have changed."""

    def __init__(self, *, usage: Usage, store: UsageStore, interval: float = INTERVAL) -> None:
        self._usage = usage
        self._store = store
        self._interval = interval
        self._ending = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._is_away = False

    async def load(self) -> None:
        """Takes over what was counted before. Raises `StartupError`."""
        try:
            keys, services, routes = await self._store.load()
        except DatabaseUnavailableError as error:
            raise StartupError(f"the usage of keys and services can't be loaded: {error}") from error
        for key in keys:
            last_used_at = None if key.last_used_at is None else key.last_used_at.timestamp()
            self._usage.keys[key.key_id] = KeyUsage(key.total_requests, key.rejected_requests, last_used_at)
        for service in services:
            self._usage.services[service.service_id] = ServiceUsage(service.total_requests, service.total_errors)
        self._usage.last_hits.update({route.route_id: route.last_hit_at.timestamp() for route in routes})

    def start(self) -> None:
        """Begins to write, about every `interval` seconds."""
        self._writing = start_task(self._write_again_and_again(), "writing the usage of keys and services")

    async def stop(self) -> None:
        """Writes what is left, unless the database takes too long. Call it when nothing is counted any more."""
        if self._writing is None:
            return
        self._ending.set()
        done, _ = await asyncio.wait([self._writing], timeout=LONGEST_LAST_WRITE)
        if not done:
            self._writing.cancel()
            _logger().warning("the last second's usage of keys and services is lost: the database does not answer")

    async def write(self) -> bool:
        """Writes what has changed, up to a bound; whether there was something.

        Raises `DatabaseUnavailableError`; then all of it counts as changed again.
        """
        addition = self._take()
        if not addition.saved and not addition.routes:
            return False
        try:
            await self._store.add(addition.keys, addition.services, addition.routes)
        except DatabaseUnavailableError:
            self._usage.changed_keys.update(row.key_id for row in addition.keys)
            self._usage.changed_services.update(row.service_id for row in addition.services)
            self._usage.changed_routes.update(row.route_id for row in addition.routes)
            raise
        for counters, numbers in addition.saved:
            counters.saved = numbers
        return True

    def _take(self) -> _Addition:
        usage, addition = self._usage, _Addition()
        while usage.changed_keys and len(addition.keys) < MOST_AT_ONCE:
            key_id = usage.changed_keys.pop()
            key = usage.keys[key_id]
            total, rejected = key.total_requests, key.rejected_requests
            last_used_at = None if key.last_used_at is None else utc(key.last_used_at)
            addition.keys.append(KeyUsageRow(key_id, total - key.saved[0], rejected - key.saved[1], last_used_at))
            addition.saved.append((key, (total, rejected)))
        while usage.changed_services and len(addition.services) < MOST_AT_ONCE:
            service_id = usage.changed_services.pop()
            service = usage.of_service(service_id)
            total, errors = service.total_requests, service.total_errors
            addition.services.append(ServiceUsageRow(service_id, total - service.saved[0], errors - service.saved[1]))
            addition.saved.append((service, (total, errors)))
        while usage.changed_routes and len(addition.routes) < MOST_AT_ONCE:
            route_id = usage.changed_routes.pop()
            if route_id in usage.last_hits:  # it may have gone while the database was away
                addition.routes.append(RouteUsageRow(route_id, utc(usage.last_hits[route_id])))
        return addition

    async def _write_again_and_again(self) -> None:
        is_last = False
        while not is_last:
            try:
                async with asyncio.timeout(self._interval):
                    is_last = await self._ending.wait()
            except TimeoutError:
                pass  # an interval has passed: that is what this waits for
            try:
                while await self.write():
                    self._is_away = False
            except DatabaseUnavailableError as error:
                self._note(error)

    def _note(self, error: DatabaseUnavailableError) -> None:
        """Once, and not every second, until it is back."""
        if not self._is_away:
            _logger().warning("the usage of keys and services can't be written, and is tried again: %s", error)
        self._is_away = True


def _logger() -> logging.Logger:
    return logging.getLogger("microgateway.observability")
