"""From settings to the objects that obey them."""

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.fields import is_token
from microgateway.core.requests import RESERVED_FIELDS
from microgateway.data_plane.authentication import Authentication
from microgateway.data_plane.options import Options
from microgateway.errors import StartupError
from microgateway.settings import Settings


def proxy_options(settings: Settings) -> Options:
    """The data plane's numbers. Raises `StartupError`."""
    _check_api_key_header(settings.api_key_header)
    names = Options.__dataclass_fields__.keys()
    return Options(**{name: getattr(settings, name) for name in names})


def circuit_defaults(settings: Settings) -> CircuitPolicy:
    """The circuit breaker of a service that sets nothing of its own."""
    return CircuitPolicy(
        failure_threshold=settings.circuit_failure_threshold,
        recovery_timeout=settings.circuit_recovery_timeout,
        half_open_max_calls=settings.circuit_half_open_max_calls,
    )


def authentication(settings: Settings) -> Authentication:
    """Who asks for credentials on the proxy port."""
    return Authentication(api_key_header=settings.api_key_header)


def _check_api_key_header(name: str) -> None:
    if not name.isascii() or not is_token(name.encode()):
        raise StartupError(f"MICROGATEWAY_API_KEY_HEADER: {name!r} is not the name of a header field")
    if name.lower().encode() in RESERVED_FIELDS:
        raise StartupError(f"MICROGATEWAY_API_KEY_HEADER: {name!r} has a meaning of its own and can't carry a key")
