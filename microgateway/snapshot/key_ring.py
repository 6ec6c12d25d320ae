"""Whose key is this? Keys are looked up by their digests."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from microgateway.core import api_keys
from microgateway.entities import ApiKey
from microgateway.snapshot.principals import Issuer, Principal


class KeyRing:
    """Principals by the SHA-256 of their keys, and by their ids; and issuers of tokens by what they call themselves.

    A key that was rotated is found by its previous text too, as a principal that expires earlier.
    """

    __slots__ = ("_by_digest", "_by_id", "issuers")

    def __init__(
        self,
        by_digest: Mapping[bytes, Principal],
        by_id: Mapping[str, Principal],
        issuers: Mapping[str, Issuer] = MappingProxyType({}),
    ) -> None:
        self._by_digest = by_digest
        self._by_id = by_id
        self.issuers = issuers

    @classmethod
    def of_keys(cls, keys: Iterable[ApiKey], issuers: Mapping[str, Issuer] = MappingProxyType({})) -> "KeyRing":
        by_digest: dict[bytes, Principal] = {}
        by_id: dict[str, Principal] = {}
        for key in keys:
            by_id[key.id] = principal = Principal.of_key(key)
            by_digest.update(_entries(key, principal))
        return cls(by_digest, by_id, issuers)

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, credential: bytes) -> Principal | None:
        """Whose key this is, or None for a mistyped or unknown one."""
        return (
            self._by_digest.get(api_keys.digest(credential)) if api_keys.is_well_formed_credential(credential) else None
        )

    def of_id(self, key_id: str) -> Principal | None:
        """The key with this id, of which a token may speak."""
        return self._by_id.get(key_id)

    def with_key(self, key: ApiKey) -> "KeyRing":
        """A key ring with this key created, changed or revoked."""
        by_digest, principal = dict(self._by_digest), Principal.of_key(key)
        before = self._by_id.get(key.id)
        for digest in () if before is None else before.digests:
            by_digest.pop(digest, None)
        by_digest.update(_entries(key, principal))
        return KeyRing(by_digest, {**self._by_id, key.id: principal}, self.issuers)

    def with_issuers(self, issuers: Iterable[Issuer]) -> "KeyRing":
        """The same keys, and these issuers and no others."""
        return KeyRing(self._by_digest, self._by_id, {issuer.issuer: issuer for issuer in issuers})


def _entries(key: ApiKey, principal: Principal) -> Iterator[tuple[bytes, Principal]]:
    if key.previous_hash is not None and key.previous_expires_at is not None:
        yield key.previous_hash, principal.until(key.previous_expires_at.timestamp())
    yield key.key_hash, principal
