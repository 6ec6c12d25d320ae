"""How much each key and each service was used: counters only, one entry per key and service; and when each route was.

`usage_keeper.py` has them survive a restart; for that, what has changed is noted here.
"""

from collections.abc import Collection


class KeyUsage:
    """One key's requests. `last_used_at` is seconds since the epoch, None before the first request.

    `saved` are the two counters as they were last written to the database.
    """

    __slots__ = ("last_used_at", "rejected_requests", "saved", "total_requests")

    def __init__(self, total: int = 0, rejected: int = 0, last_used_at: float | None = None) -> None:
        self.total_requests = total
        self.rejected_requests = rejected
        self.last_used_at = last_used_at
        self.saved = (total, rejected)


class ServiceUsage:
    """One service's requests, and how many of them failed (5xx, or no answer at all); `saved` as above."""

    __slots__ = ("saved", "total_errors", "total_requests")

    def __init__(self, total: int = 0, errors: int = 0) -> None:
        self.total_requests = total
        self.total_errors = errors
        self.saved = (total, errors)

    @property
    def error_rate(self) -> float:
        """Between 0 and 1; 0 before the first request."""
        return self.total_errors / self.total_requests if self.total_requests else 0.0


class Usage:
    """The counters, by id. An id that was never used has zeros; `keep_services` forgets the others.

    Who counts asks for `changing_key` and `changing_service`, which note that these will have to be written.
    `last_hits` of routes are seconds since the epoch, to the second.
    """

    def __init__(self) -> None:
        self.keys: dict[str, KeyUsage] = {}
        self.services: dict[str, ServiceUsage] = {}
        self.last_hits: dict[str, float] = {}
        self.changed_keys: set[str] = set()
        self.changed_services: set[str] = set()
        self.changed_routes: set[str] = set()

    def of_key(self, key_id: str) -> KeyUsage:
        """To look at: zeros for one that was never used."""
        return self.keys.get(key_id) or KeyUsage()

    def of_service(self, service_id: str) -> ServiceUsage:
        """To look at: zeros for one that was never used."""
        return self.services.get(service_id) or ServiceUsage()

    def changing_key(self, key_id: str) -> KeyUsage:
        """To count in; noted as one that has to be written."""
        self.changed_keys.add(key_id)
        usage = self.keys.get(key_id)
        if usage is None:
            usage = self.keys[key_id] = KeyUsage()
        return usage

    def changing_service(self, service_id: str) -> ServiceUsage:
        """To count in; noted as one that has to be written."""
        self.changed_services.add(service_id)
        usage = self.services.get(service_id)
        if usage is None:
            usage = self.services[service_id] = ServiceUsage()
        return usage

    def hit(self, route_ids: Collection[str], at: float) -> None:
        """Requests came to these routes, the last ones at `at`."""
        self.last_hits.update(dict.fromkeys(route_ids, at))
        self.changed_routes.update(route_ids)

    def forget_route(self, route_id: str) -> None:
        self.last_hits.pop(route_id, None)
        self.changed_routes.discard(route_id)

    def keep_services(self, service_ids: Collection[str]) -> None:
        for service_id in [service_id for service_id in self.services if service_id not in service_ids]:
            del self.services[service_id]
            self.changed_services.discard(service_id)
