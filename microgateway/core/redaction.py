"""Takes secrets out of what is written down: the values of query parameters whose names say that they are secret."""

from functools import lru_cache
from urllib.parse import unquote_plus

HIDDEN = "***"

# Compared without case, `-` and `_`: `Api-Key` is `apikey`
_SECRET = frozenset(
    (
        "apikey",
        "assertion",
        "auth",
        "authorization",
        "code",
        "codeverifier",
        "credential",
        "credentials",
        "jwt",
        "key",
        "passphrase",
        "passwd",
        "pwd",
        "session",
        "sessionid",
        "sid",
        "sig",
        "xapikey",
        "xamzcredential",
        "xgoogcredential",
    )
)
_SECRET_PARTS = ("apikey", "password", "privatekey", "secret", "signature", "token")


def redacted_query(query: str) -> str:
    """A query, as it came but for its secrets. Whether a question mark is in front does not matter."""
    if "=" not in query:
        return query
    mark = "?" if query.startswith("?") else ""
    return mark + "&".join(_redacted(part) for part in query[len(mark) :].split("&"))


def _redacted(part: str) -> str:
    """One parameter; old servers also take `;` for `&`."""
    return ";".join(
        f"{name}={HIDDEN}" if value and _is_secret(name) else f"{name}{equals}{value}"
        for name, equals, value in (piece.partition("=") for piece in part.split(";"))
    )


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    plain = unquote_plus(name).lower().replace("-", "").replace("_", "").strip()
    return plain in _SECRET or any(part in plain for part in _SECRET_PARTS)
