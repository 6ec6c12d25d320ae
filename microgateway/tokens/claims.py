"""What a token whose signature is right must say to be believed now (RFC 7519, 4.1)."""

import math
from collections.abc import Collection, Iterable

from microgateway.tokens.faults import AUDIENCE, CLAIMS_MISSING, EXPIRED, NOT_YET_VALID, Fault
from microgateway.tokens.parsing import Claims, text_of

LATEST_DATE = 253_402_300_799  # the end of the year 9999, in seconds since the epoch
_DATES = ("exp", "nbf", "iat")
_TEXTS = frozenset(("iss", "sub", "jti"))


def check_claims(claims: Claims, required: Iterable[str], wall: float, leeway: float) -> Fault | None:
    """What is wrong at `wall` seconds since the epoch, for clocks that may be `leeway` seconds apart."""
    for name in required:
        value = claims.get(name)
        if (not text_of(value)) if name in _TEXTS else value is None:
            return CLAIMS_MISSING
    dates = {name: date_of(claims[name]) for name in _DATES if name in claims}
    if None in dates.values():
        return CLAIMS_MISSING
    known = {name: date for name, date in dates.items() if date is not None}
    if known.get("exp", math.inf) + leeway <= wall:
        return EXPIRED
    if max(known.get("nbf", 0.0), known.get("iat", 0.0)) > wall + leeway:
        return NOT_YET_VALID
    return None


def check_audience(claims: Claims, wanted: Collection[str]) -> Fault | None:
    """RFC 7519, 4.1.3: one text or a list of them. Nothing wanted: whoever it is for."""
    told = claims.get("aud")
    told = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    if wanted and not any(isinstance(one, str) and one in wanted for one in told):
        return AUDIENCE
    return None


def date_of(value: object) -> float | None:
    """A NumericDate (RFC 7519, 2), None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_DATE:
        return None
    return float(value)
