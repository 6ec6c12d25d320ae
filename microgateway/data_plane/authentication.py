"""Whose request this is, or why that can't be believed.

A connection keeps its field section as long as its client sends the same fields, and with the section who was
recognised by it, and by which key ring. So for most requests this costs one comparison of identities and one of dates.
Whatever else may be wrong is found out on the other way, which every request that is refused goes too.
"""

from microgateway.core.requests import FieldSection
from microgateway.exchange import Problem
from microgateway.snapshot import KeyRing, Principal

API_KEY_HEADER = "X-API-Key"


class KeyProblems:
    """The answers to a request whose key does not open the door; they name the header that carries it."""

    def __init__(self, header: str) -> None:
        challenge = f'WWW-Authenticate: ApiKey realm="microgateway", header="{header}"\r\n'.encode()
        self.missing = Problem(
            401, "Unauthorized", "api_key_missing", "auth", f"Send an API key in the {header} header.", challenge
        )
        self.repeated = Problem(
            401, "Unauthorized", "api_key_repeated", "auth", f"Send one {header} header, not several.", challenge
        )
        self.invalid = Problem(
            401, "Unauthorized", "api_key_invalid", "auth", "This API key is not known here.", challenge
        )
        self.disabled = Problem(
            401, "Unauthorized", "api_key_disabled", "auth", "This API key is revoked or switched off.", challenge
        )
        self.expired = Problem(401, "Unauthorized", "api_key_expired", "auth", "This API key has expired.", challenge)


class Authentication:
    """Asks for credentials. `api_key_header` is the name of the field that carries an API key."""

    __slots__ = ("_problems",)

    def __init__(self, *, api_key_header: str = API_KEY_HEADER) -> None:
        self._problems = KeyProblems(api_key_header)

    def authenticate(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem:
        """Who sent these fields, at `wall` seconds since the epoch."""
        if section.recognised_by is keys:
            principal: Principal = section.recognised
            if wall < principal.expires_at:
                return principal
        return self._recognise(section, keys, wall)

    def _recognise(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem:
        if section.api_key is None:
            return self._problems.missing
        if section.api_key_lines != 1:
            return self._problems.repeated
        principal = keys.find(section.api_key)
        if principal is None:
            return self._problems.invalid
        if not principal.enabled:
            return self._problems.disabled
        if principal.expires_at <= wall:
            return self._problems.expired
        section.recognised, section.recognised_by = principal, keys
        return principal
