"""From settings to the objects that obey them."""

from microgateway.clock import Clock
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.field_sections import RESERVED_FIELDS
from microgateway.core.fields import is_token
from microgateway.data_plane.authentication import Authentication
from microgateway.data_plane.options import Options
from microgateway.errors import StartupError
from microgateway.persistence.secret_file import load_or_create_secret
from microgateway.settings import DEV_SECRET, SHORTEST_JWT_SECRET, Settings
from microgateway.tokens.key_sources import KeySources
from microgateway.tokens.signing import Signer
from microgateway.tokens.verifying import Verifier

JWT_SECRET_FILE = "jwt_secret"  # noqa: S105  the file's name


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


def authentication(settings: Settings, verifier: Verifier) -> Authentication:
    """Who asks for credentials on the proxy port."""
    return Authentication(api_key_header=settings.api_key_header, verifier=verifier)


def verifier(settings: Settings, secret: str, clock: Clock) -> Verifier:
    """Who judges tokens, and signs ours with this secret."""
    signer = Signer(secret=secret.encode(), lifetime=settings.jwt_expiry_minutes * 60.0)
    return Verifier(signer=signer, sources=KeySources(now=clock.now))


def jwt_secret(settings: Settings) -> str:
    """What the environment says, or a secret that is kept in the data folder. Raises `StartupError`."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    if settings.debug:
        return DEV_SECRET
    secret = load_or_create_secret(settings.data_dir, JWT_SECRET_FILE, called="token secret").text
    if len(secret.encode()) < SHORTEST_JWT_SECRET:
        file = str(settings.data_dir / JWT_SECRET_FILE)
        raise StartupError(f"the token secret in {file!r} is too short; delete it to have a new one made")
    return secret


def _check_api_key_header(name: str) -> None:
    if not name.isascii() or not is_token(name.encode()):
        raise StartupError(f"MICROGATEWAY_API_KEY_HEADER: {name!r} is not the name of a header field")
    if name.lower().encode() in RESERVED_FIELDS:
        raise StartupError(f"MICROGATEWAY_API_KEY_HEADER: {name!r} has a meaning of its own and can't carry a key")
