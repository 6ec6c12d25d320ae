"""What may be wrong with a token. Each fault has a stable code; no token, whatever it holds, raises an error."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a token is not believed. `code` is for programs, `detail` for people; neither repeats what the token says."""

    code: str
    detail: str


REPEATED = Fault("token_repeated", "Send one bearer token, not several.")
TOO_LARGE = Fault("token_too_large", "The token is larger than any that is taken here.")
MALFORMED = Fault("token_malformed", "This is not a JSON web token.")
ALGORITHM = Fault("token_algorithm", "The token is signed in a way that is not taken from its issuer.")
ISSUER = Fault("token_issuer", "The token's issuer is not known here.")
KEY_UNKNOWN = Fault("token_key_unknown", "The token's issuer does not publish the key that it is signed with.")
SIGNATURE = Fault("token_signature", "The token's signature is wrong.")
CLAIMS_MISSING = Fault("token_claims_missing", "The token lacks a claim that it must have, or has it in a wrong form.")
NOT_YET_VALID = Fault("token_not_yet_valid", "The token is not valid yet.")
EXPIRED = Fault("token_expired", "The token, or the key that it was made from, has expired.")
AUDIENCE = Fault("token_audience", "The token is for somebody else.")
REVOKED = Fault("token_revoked", "The key that the token was made from is revoked, switched off or gone.")

FAULTS = (
    REPEATED,
    TOO_LARGE,
    MALFORMED,
    ALGORITHM,
    ISSUER,
    KEY_UNKNOWN,
    SIGNATURE,
    CLAIMS_MISSING,
    NOT_YET_VALID,
    EXPIRED,
    AUDIENCE,
    REVOKED,
)
