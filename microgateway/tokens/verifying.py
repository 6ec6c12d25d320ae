"""Believes a token or says why not, and remembers those that it believed.

What a token says does not change, so its signature is looked at once. Whose it is, is asked of the key ring in force,
again for each new one; when it ends, of the clock, at every request. So nothing has to be swept for a revoked key or an
expired token to be refused by the next request.
"""

import math

from microgateway.exchange import Postponed
from microgateway.snapshot import Issuer, KeyRing, Principal
from microgateway.tokens.claims import check_audience, check_claims
from microgateway.tokens.faults import ALGORITHM, EXPIRED, ISSUER, KEY_UNKNOWN, REVOKED, SIGNATURE, Fault
from microgateway.tokens.key_set import VerificationKey
from microgateway.tokens.key_sources import KeySources
from microgateway.tokens.parsing import Claims, ParsedToken, parse
from microgateway.tokens.signing import ISSUER as OUR_NAME
from microgateway.tokens.signing import Signer

MOST_REMEMBERED = 10_000  # tokens
MOST_BYTES = 16 * 1024 * 1024  # of their texts
REQUIRED_OF_OTHERS = ("exp", "iss", "sub")


class KnownToken:
    """A token whose signature was right: ours, or by a `key` of an `issuer`. `principal` is whose it is by `keys`."""

    __slots__ = ("claims", "issuer", "key", "keys", "principal")

    def __init__(self, claims: Claims, issuer: Issuer | None = None, key: VerificationKey | None = None) -> None:
        self.claims = claims
        self.issuer = issuer
        self.key = key
        self.keys: KeyRing | None = None
        self.principal: Principal | None = None


class Verifier:
    """Every token that comes is shown here. `signer` knows our own, `sources` the keys of other issuers.

    A connection may keep what it was told of a token for as long as the principal lasts; so one that is forgotten here
    is made to end at once, and whoever still has it asks again.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        sources: KeySources,
        most_remembered: int = MOST_REMEMBERED,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.signer = signer
        self.sources = sources
        sources.withdraw = self._withdraw
        self._most_remembered = most_remembered
        self._most_bytes = most_bytes
        self._known: dict[bytes, KnownToken] = {}
        self._bytes = 0

    @property
    def remembered(self) -> int:
        """How many tokens are remembered at the moment."""
        return len(self._known)

    def verify(self, token: bytes, keys: KeyRing, wall: float) -> Principal | Fault | Postponed:
        """Whose token this is, at `wall` seconds since the epoch."""
        known = self._known.get(token)
        if known is not None and known.keys is keys and known.principal is not None:
            if wall < known.principal.expires_at:
                return known.principal
            self._forget(token)
            return EXPIRED
        verdict = self._examine(token, keys, wall)
        if isinstance(verdict, KnownToken):
            return verdict.principal or REVOKED
        return verdict

    def claims_of(self, token: bytes, keys: KeyRing, wall: float) -> Claims | Fault | Postponed:
        """What a token says that is believed at this moment."""
        known = self._examine(token, keys, wall)
        return known.claims if isinstance(known, KnownToken) else known

    def _examine(self, token: bytes, keys: KeyRing, wall: float) -> KnownToken | Fault | Postponed:
        """The token with its principal, remembered, or why it has none."""
        known = self._known.get(token)
        if known is None or (known.issuer is not None and keys.issuers.get(known.issuer.issuer) is not known.issuer):
            verdict = self._look_at(token, keys, wall)
            if not isinstance(verdict, KnownToken):
                self._forget(token)
                return verdict
            known = verdict
        principal = _principal(known, keys, wall)
        if isinstance(principal, Fault):
            self._forget(token)
            return principal
        known.keys, known.principal = keys, principal
        self._remember(token, known)
        return known

    def _look_at(self, token: bytes, keys: KeyRing, wall: float) -> KnownToken | Fault | Postponed:
        """The signature, and then what was signed."""
        parsed = parse(token)
        if isinstance(parsed, Fault):
            return parsed
        if parsed.issuer == OUR_NAME:
            return self.signer.check(parsed, wall) or KnownToken(parsed.claims)
        issuer = keys.issuers.get(parsed.issuer)
        if issuer is None:
            return ISSUER
        key = self._signing_key(parsed, issuer)
        if not isinstance(key, VerificationKey):
            return key
        fault = check_claims(parsed.claims, REQUIRED_OF_OTHERS, wall, issuer.leeway)
        return fault or check_audience(parsed.claims, issuer.audiences) or KnownToken(parsed.claims, issuer, key)

    def _signing_key(self, parsed: ParsedToken, issuer: Issuer) -> VerificationKey | Fault | Postponed:
        if parsed.algorithm not in issuer.algorithms:
            return ALGORITHM
        source = self.sources.of(issuer)
        candidates = source.keys.candidates(parsed)
        if not candidates:
            return self.sources.asked_again(source) or KEY_UNKNOWN
        return next((key for key in candidates if key.verifies(parsed)), SIGNATURE)

    def _withdraw(self, keys: set[VerificationKey]) -> None:
        for token in [token for token, known in self._known.items() if known.key in keys]:
            self._forget(token)

    def _remember(self, token: bytes, known: KnownToken) -> None:
        """A full memory begins anew: simpler than choosing what to forget, and a token in use is soon back."""
        if self._known.get(token) is known:
            return
        self._forget(token)
        if len(self._known) >= self._most_remembered or self._bytes + len(token) > self._most_bytes:
            for other in list(self._known):
                self._forget(other)
        self._known[token] = known
        self._bytes += len(token)

    def _forget(self, token: bytes) -> None:
        known = self._known.pop(token, None)
        if known is not None:
            self._bytes -= len(token)
            if known.principal is not None:
                known.principal.expires_at = -math.inf


def _principal(known: KnownToken, keys: KeyRing, wall: float) -> Principal | Fault:
    """Whose token it is now: of the key that it was made from, or of its issuer. Believed until it ends."""
    claims, ends = known.claims, float(known.claims["exp"])
    if known.issuer is not None:
        principal = known.issuer.principal(claims["sub"], claims, ends + known.issuer.leeway)
    else:
        own = keys.of_id(claims["sub"])
        if own is None or not own.enabled:
            return REVOKED
        principal = own.until(ends)
    return principal if wall < principal.expires_at else EXPIRED
