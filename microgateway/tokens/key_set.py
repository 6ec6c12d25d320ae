"""The public keys of another issuer, as it publishes them: a JSON Web Key Set (RFC 7517).

A key is taken for an algorithm only where its type, its curve and all that it says of its use agree. What the token
says of itself is compared with that, and chooses nothing (RFC 8725, 3.1).
"""

import json
from collections.abc import Collection, Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from microgateway.errors import MicroGatewayError
from microgateway.tokens.parsing import ParsedToken, text_of

MOST_KEYS = 100
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_PUBLIC = ("kty", "crv", "x", "y", "n", "e")


class KeySetError(MicroGatewayError):
    """What was fetched is no set of keys."""


class VerificationKey:
    """One public key, for one algorithm. Two of the same `fingerprint` are the same key."""

    __slots__ = ("_key", "algorithm", "fingerprint", "key_id")

    def __init__(self, jwk: dict[str, Any], algorithm: str) -> None:
        public = {name: jwk[name] for name in _PUBLIC if name in jwk}
        self._key = PyJWK(public, algorithm)
        weakness = self._key.Algorithm.check_key_length(self._key.key)
        if weakness:
            raise KeySetError(weakness)
        self.algorithm = algorithm
        self.key_id = text_of(jwk.get("kid"))
        self.fingerprint = json.dumps([algorithm, self.key_id, public], sort_keys=True)

    def verifies(self, token: ParsedToken) -> bool:
        """Whether the token was signed with the other half of this key."""
        try:
            return bool(self._key.Algorithm.verify(token.signed, self._key.key, token.signature))
        except (InvalidSignature, ValueError, TypeError):
            return False


class KeySet:
    """The keys that an issuer publishes at the moment, as far as they can be used."""

    __slots__ = ("keys",)

    def __init__(self, keys: Iterable[VerificationKey] = ()) -> None:
        self.keys = tuple(keys)

    def candidates(self, token: ParsedToken) -> list[VerificationKey]:
        """Those that may have signed it: the one that it names, or where it or the set names none, those that fit."""
        fitting = [key for key in self.keys if key.algorithm == token.algorithm]
        if not token.key_id:
            return fitting
        return [key for key in fitting if key.key_id == token.key_id] or [key for key in fitting if not key.key_id]


def parse_key_set(document: bytes, algorithms: Collection[str], known: KeySet) -> KeySet:
    """The keys in this document for these algorithms. One that is `known` stays the same object.

    What can't be used is passed over (RFC 7517, 5). Raises `KeySetError` for what is no key set at all.
    """
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        raise KeySetError("it is not JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise KeySetError("it is not an object with a list of keys")
    before = {key.fingerprint: key for key in known.keys}
    keys = [key for jwk in listed[:MOST_KEYS] for algorithm in algorithms if (key := _key(jwk, algorithm)) is not None]
    return KeySet(before.get(key.fingerprint, key) for key in keys)


def _key(jwk: object, algorithm: str) -> VerificationKey | None:
    if not isinstance(jwk, dict) or not _fits(jwk, algorithm):
        return None
    try:
        return VerificationKey(jwk, algorithm)
    except (KeySetError, PyJWTError, ValueError, TypeError):
        return None


def _fits(jwk: dict[str, Any], algorithm: str) -> bool:
    kind = _KINDS[algorithm[:2]]
    curve = _CURVES.get(algorithm)
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("kty") == kind
        and (curve is None or jwk.get("crv") == curve)
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )
