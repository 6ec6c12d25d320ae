"""Who is signed in to the dashboard: the admin token, exchanged for a session that ends by itself.

A session is two secrets. One is in a cookie, which no script can read. A cookie goes to every port of its host, though,
so the services behind the proxy port may come to see it: it opens nothing alone. The other, the proof, is kept by the
page for its own origin, and sent in a header field, which no other site can do. Only hashes of either are kept here.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from microgateway.clock import Clock

PROOF_FIELD = "X-MicroGateway-Session"
COOKIE = "microgateway_session"
COOKIE_PATH = "/api"
LIFETIME = 12 * 3_600.0  # seconds
MOST_SESSIONS = 1_000
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewSession:
    """What the browser is given, this once."""

    secret: str = field(repr=False)
    proof: str = field(repr=False)
    expires_at: float  # seconds on the wall's clock


@dataclass(frozen=True, slots=True)
class Session:
    """`ends` is seconds on the monotonic clock, `expires_at` the same on the wall's."""

    proof_digest: bytes = field(repr=False)
    ends: float
    expires_at: float


class Sessions:
    """Begins, recognises and ends them. There are at most `MOST_SESSIONS`: the oldest makes room."""

    def __init__(self, *, admin_token: str, clock: Clock) -> None:
        self._token_digest = _digest(admin_token)
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def is_admin_token(self, text: str) -> bool:
        """Hashes are compared, so that neither the token's length nor its beginning can be timed."""
        return hmac.compare_digest(_digest(text), self._token_digest)

    def begin(self) -> NewSession:
        """For whoever has shown the admin token."""
        self._forget_ended()
        secret, proof = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        expires_at = self._clock.wall() + LIFETIME
        self._sessions[_digest(secret)] = Session(_digest(proof), self._clock.now() + LIFETIME, expires_at)
        return NewSession(secret, proof, expires_at)

    def find(self, headers: Headers) -> Session | None:
        """The session of a request, which has to bring both of its secrets from a page of the same origin."""
        secret, proof = self._secret_of(headers), headers.get(PROOF_FIELD, "")
        session = self._sessions.get(_digest(secret))
        if session is None or session.ends <= self._clock.now():
            return None
        is_proven = hmac.compare_digest(_digest(proof), session.proof_digest)
        return session if is_proven and _is_same_origin(headers) else None

    def end(self, headers: Headers) -> None:
        """The session of this request, if it has one, opens nothing any more."""
        self._sessions.pop(_digest(self._secret_of(headers)), None)

    def _forget_ended(self) -> None:
        """All live equally long, so the oldest end first."""
        now = self._clock.now()
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest].ends > now and len(self._sessions) < MOST_SESSIONS:
                return
            del self._sessions[oldest]

    def _secret_of(self, headers: Headers) -> str:
        return cookie_parser(headers.get("cookie", "")).get(cookie_name(headers), "")


def cookie_name(headers: Headers) -> str:
    """With the port in it: cookies go to every port of a host, so two gateways on one would sign each other out."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE


def _is_same_origin(headers: Headers) -> bool:
    """What the browser says of the page that asks; a client that is no browser says nothing, and has both secrets."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
