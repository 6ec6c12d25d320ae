"""How much each key and each service was used since the process began: counters only, one entry per key and service."""

from collections.abc import Collection


class KeyUsage:
    """One key's requests. `last_used_at` is seconds since the epoch, None before the first request."""

    __slots__ = ("last_used_at", "rejected_requests", "total_requests")

    def __init__(self) -> None:
        self.total_requests = 0
        self.rejected_requests = 0
        self.last_used_at: float | None = None


class ServiceUsage:
    """One service's requests, and how many of them failed (5xx, or no answer at all)."""

    __slots__ = ("total_errors", "total_requests")

    def __init__(self) -> None:
        self.total_requests = 0
        self.total_errors = 0

    @property
    def error_rate(self) -> float:
        """Between 0 and 1; 0 before the first request."""
        return self.total_errors / self.total_requests if self.total_requests else 0.0


class Usage:
    """The counters, by id. An id that was never used has zeros; `keep_services` forgets the others."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyUsage] = {}
        self.services: dict[str, ServiceUsage] = {}

    def of_key(self, key_id: str) -> KeyUsage:
        return self.keys.get(key_id) or KeyUsage()

    def of_service(self, service_id: str) -> ServiceUsage:
        return self.services.get(service_id) or ServiceUsage()

    def keep_services(self, service_ids: Collection[str]) -> None:
        for service_id in [service_id for service_id in self.services if service_id not in service_ids]:
            del self.services[service_id]
