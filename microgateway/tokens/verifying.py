"""Believes a token or says why not, and remembers those that it believed.

What a token says does not change, so its signature is looked at once. Whose it is, is asked of the key ring in force,
again for each new one; when it ends, of the clock, at every request. So nothing has to be swept for a revoked key or an
expired token to be refused by the next request.
"""

from microgateway.snapshot import KeyRing, Principal
from microgateway.tokens.faults import EXPIRED, ISSUER, REVOKED, Fault
from microgateway.tokens.parsing import Claims, ParsedToken, parse
from microgateway.tokens.signing import ISSUER as OUR_NAME
from microgateway.tokens.signing import Signer

MOST_REMEMBERED = 10_000  # tokens
MOST_BYTES = 16 * 1024 * 1024  # of their texts


class KnownToken:
    """A token whose signature was right. `principal` is whose it is by `keys`; None where that was not asked yet."""

    __slots__ = ("claims", "keys", "principal")

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.keys: KeyRing | None = None
        self.principal: Principal | None = None


class Verifier:
    """Every token that comes is shown here. `signer` knows our own."""

    def __init__(self, *, signer: Signer, most_remembered: int = MOST_REMEMBERED, most_bytes: int = MOST_BYTES) -> None:
        self.signer = signer
        self._most_remembered = most_remembered
        self._most_bytes = most_bytes
        self._known: dict[bytes, KnownToken] = {}
        self._bytes = 0

    @property
    def remembered(self) -> int:
        """How many tokens are remembered at the moment."""
        return len(self._known)

    def verify(self, token: bytes, keys: KeyRing, wall: float) -> Principal | Fault:
        """Whose token this is, at `wall` seconds since the epoch."""
        known = self._known.get(token)
        if known is not None and known.keys is keys and known.principal is not None:
            if wall < known.principal.expires_at:
                return known.principal
            self._forget(token)
            return EXPIRED
        return self._examine(token, keys, wall)[0]

    def claims_of(self, token: bytes, keys: KeyRing, wall: float) -> Claims | Fault:
        """What a token says that is believed at this moment."""
        verdict, claims = self._examine(token, keys, wall)
        return claims if isinstance(verdict, Principal) else verdict

    def _examine(self, token: bytes, keys: KeyRing, wall: float) -> tuple[Principal | Fault, Claims]:
        known = self._known.get(token)
        if known is None:
            parsed = parse(token)
            if isinstance(parsed, Fault):
                return parsed, {}
            fault = self._fault_of(parsed, wall)
            if fault is not None:
                return fault, {}
            known = KnownToken(parsed.claims)
        principal = _own_principal(known.claims, keys, wall)
        if isinstance(principal, Fault):
            self._forget(token)
            return principal, known.claims
        known.keys, known.principal = keys, principal
        self._remember(token, known)
        return principal, known.claims

    def _fault_of(self, parsed: ParsedToken, wall: float) -> Fault | None:
        return self.signer.check(parsed, wall) if parsed.issuer == OUR_NAME else ISSUER

    def _remember(self, token: bytes, known: KnownToken) -> None:
        """A full memory begins anew: simpler than choosing what to forget, and a token in use is soon back."""
        if token in self._known:
            return
        if len(self._known) >= self._most_remembered or self._bytes + len(token) > self._most_bytes:
            self._known.clear()
            self._bytes = 0
        self._known[token] = known
        self._bytes += len(token)

    def _forget(self, token: bytes) -> None:
        if self._known.pop(token, None) is not None:
            self._bytes -= len(token)


def _own_principal(claims: Claims, keys: KeyRing, wall: float) -> Principal | Fault:
    """The key that a token of ours was made from, believed until one of the two ends."""
    principal = keys.of_id(claims["sub"])
    if principal is None or not principal.enabled:
        return REVOKED
    principal = principal.until(float(claims["exp"]))
    return principal if wall < principal.expires_at else EXPIRED
