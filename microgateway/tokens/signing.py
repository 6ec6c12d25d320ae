"""Tokens of the gateway's own: made from an API key, signed with a secret that only gateways know.

They are signed with HMAC-SHA-256 and with nothing else: which algorithm it is, is said here, and never by the token
(RFC 8725, 3.1).
"""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jwt.algorithms import HMACAlgorithm

from microgateway.snapshot import Principal
from microgateway.tokens.claims import check_claims
from microgateway.tokens.faults import ALGORITHM, SIGNATURE, Fault
from microgateway.tokens.parsing import Claims, ParsedToken, parse

ISSUER = "microgateway"
OUR_ALGORITHM = "HS256"
REQUIRED = ("exp", "iat", "iss", "sub", "jti")
LEEWAY = 2.0  # seconds by which another gateway's clock may be ahead; a token's end is its end
BEARER = b"bearer"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token. `expires_in` is seconds."""

    text: str = field(repr=False)
    expires_in: int


class Signer:
    """Signs, and knows its signature again. `lifetime` is seconds; `new_id` gives a text that was never given."""

    def __init__(
        self, *, secret: bytes, lifetime: float, new_id: Callable[[], str] = lambda: secrets.token_urlsafe(16)
    ) -> None:
        self._hmac = HMACAlgorithm(HMACAlgorithm.SHA256)
        self._secret = secret
        self._lifetime = lifetime
        self._new_id = new_id

    def issue(self, principal: Principal, wall: float) -> IssuedToken:
        """A token for whoever has this key. It ends with the key at the latest."""
        issued_at, expires_at = int(wall), int(min(wall + self._lifetime, principal.expires_at))
        claims: Claims = {
            "iss": ISSUER,
            "sub": principal.id,
            "iat": issued_at,
            "exp": expires_at,
            "jti": self._new_id(),
        }
        if principal.scopes:
            claims["scope"] = " ".join(principal.scopes)  # RFC 8693, 4.2
        return IssuedToken(self.sign(claims), max(0, expires_at - issued_at))

    def sign(self, claims: Claims) -> str:
        """These claims in compact form (RFC 7515, 7.1)."""
        signed = _encode({"alg": OUR_ALGORITHM, "typ": "JWT"}) + b"." + _encode(claims)
        return (signed + b"." + _base64url(self._hmac.sign(signed, self._secret))).decode()

    def check(self, token: ParsedToken, wall: float) -> Fault | None:
        """What is wrong with a token that says to be one of ours."""
        if token.algorithm != OUR_ALGORITHM:
            return ALGORITHM
        if not self._hmac.verify(token.signed, self._secret, token.signature):
            return SIGNATURE
        return check_claims(token.claims, REQUIRED, wall, LEEWAY)


def is_issued_here(credentials: bytes) -> bool:
    """Whether the value of an Authorization field is a token that says to be one of ours, be it true or not."""
    scheme, _, token = credentials.partition(b" ")
    if scheme.lower() != BEARER:
        return False
    parsed = parse(token.lstrip(b" "))
    return isinstance(parsed, ParsedToken) and parsed.issuer == ISSUER


def _encode(part: Mapping[str, object]) -> bytes:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
