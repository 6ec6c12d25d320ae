"""Whose request this is, or why that can't be believed.

A connection keeps its field section as long as its client sends the same fields, and with the section who was
recognised by it, and by which key ring. So for most requests this costs one comparison of identities and one of dates.
Whatever else may be wrong is found out on the other way, which every request that is refused goes too.
"""

from collections.abc import Iterable

from microgateway.core.field_sections import FieldSection
from microgateway.exchange import Postponed, Problem
from microgateway.snapshot import Issuer, KeyRing, Principal
from microgateway.tokens.faults import FAULTS, REPEATED, Fault
from microgateway.tokens.signing import BEARER
from microgateway.tokens.verifying import Verifier

API_KEY_HEADER = "X-API-Key"


class KeyProblems:
    """The answers to a request whose key does not open the door; they name the header that carries it."""

    def __init__(self, header: str) -> None:
        key, token = f'ApiKey realm="microgateway", header="{header}"', 'Bearer realm="microgateway"'
        challenge, either = (f"WWW-Authenticate: {text}\r\n".encode() for text in (key, f"{key}, {token}"))
        self.missing = Problem(
            401,
            "Unauthorized",
            "api_key_missing",
            "auth",
            f"Send an API key in the {header} header, or a token in Authorization: Bearer.",
            either,
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


def token_problem(fault: Fault) -> Problem:
    """The answer to a request whose token is not believed (RFC 6750, 3.1)."""
    challenge = (
        f'WWW-Authenticate: Bearer realm="microgateway", error="invalid_token", error_description="{fault.detail}"\r\n'
    )
    return Problem(401, "Unauthorized", fault.code, "auth", fault.detail, challenge.encode())


_TOKEN_PROBLEMS = {fault: token_problem(fault) for fault in FAULTS}


class Authentication:
    """Asks for credentials. `api_key_header` is the name of the field that carries an API key.

    Where a key and a token come, the key decides. Without a `verifier` no token is believed.
    """

    __slots__ = ("_problems", "_verifier")

    def __init__(self, *, api_key_header: str = API_KEY_HEADER, verifier: Verifier | None = None) -> None:
        self._problems = KeyProblems(api_key_header)
        self._verifier = verifier

    def authenticate(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem | Postponed:
        """Who sent these fields, at `wall` seconds since the epoch."""
        if section.recognised_by is keys:
            principal: Principal = section.recognised
            if wall < principal.expires_at:
                return principal
        return self._recognise(section, keys, wall)

    def adopt(self, issuers: Iterable[Issuer]) -> None:
        """These issuers are believed from now on, and their keys fetched."""
        if self._verifier is not None:
            self._verifier.sources.adopt(issuers)

    def sweep(self) -> None:
        """Called at short intervals: fetches the keys of issuers that are no longer fresh."""
        if self._verifier is not None:
            self._verifier.sources.sweep()

    def _recognise(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem | Postponed:
        verdict = self._by_key(section, keys, wall) if section.api_key_lines else self._by_token(section, keys, wall)
        if isinstance(verdict, Principal):
            section.recognised, section.recognised_by = verdict, keys
        return verdict

    def _by_key(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem:
        if section.api_key_lines != 1 or section.api_key is None:
            return self._problems.repeated
        principal = keys.find(section.api_key)
        if principal is None:
            return self._problems.invalid
        if not principal.enabled:
            return self._problems.disabled
        if principal.expires_at <= wall:
            return self._problems.expired
        return principal

    def _by_token(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem | Postponed:
        tokens = [token for field in section.authorization or () if (token := bearer_token(field.value)) is not None]
        if not tokens or self._verifier is None:
            return self._problems.missing
        if len(tokens) > 1:
            return _TOKEN_PROBLEMS[REPEATED]
        verdict = self._verifier.verify(tokens[0], keys, wall)
        return _TOKEN_PROBLEMS[verdict] if isinstance(verdict, Fault) else verdict


def bearer_token(credentials: bytes) -> bytes | None:
    """The token of an Authorization field's value (RFC 9110, 11.4), None where its scheme is another one."""
    scheme, _, token = credentials.partition(b" ")
    return token.lstrip(b" ") if scheme.lower() == BEARER else None
