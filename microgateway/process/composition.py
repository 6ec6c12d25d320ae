"""From settings to the objects that obey them."""

from microgateway.core.circuit import CircuitPolicy
from microgateway.data_plane.options import Options
from microgateway.settings import Settings


def proxy_options(settings: Settings) -> Options:
    """The data plane's numbers."""
    names = Options.__dataclass_fields__.keys()
    return Options(**{name: getattr(settings, name) for name in names})


def circuit_defaults(settings: Settings) -> CircuitPolicy:
    """The circuit breaker of a service that sets nothing of its own."""
    return CircuitPolicy(
        failure_threshold=settings.circuit_failure_threshold,
        recovery_timeout=settings.circuit_recovery_timeout,
        half_open_max_calls=settings.circuit_half_open_max_calls,
    )
