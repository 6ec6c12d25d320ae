"""Whose key is this? Keys are looked up by their digests."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from microgateway.core import api_keys
from microgateway.entities import ApiKey
from microgateway.snapshot.principals import Issuer, Principal


class KeyChange(NamedTuple):
    """What is different in a key ring, or one part of a whole one. `rest` is all that it has besides keys."""

    by_digest: dict[bytes, Principal]
    by_id: dict[str, Principal]
    rest: dict[str, Any]
    forgotten_digests: tuple[bytes, ...] = ()
    forgotten_ids: tuple[str, ...] = ()


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

    def change_from(self, before: "KeyRing") -> KeyChange:
        """How to make this one of that one: small where they are alike, as objects."""
        by_digest, forgotten_digests = _difference(before._by_digest, self._by_digest)  # noqa: SLF001  its own class
        by_id, forgotten_ids = _difference(before._by_id, self._by_id)  # noqa: SLF001
        return KeyChange(by_digest, by_id, self._rest(), forgotten_digests, forgotten_ids)

    def with_change(self, change: KeyChange) -> "KeyRing":
        """The one that the change was taken from, where this is like the one before it."""
        by_digest, by_id = {**self._by_digest, **change.by_digest}, {**self._by_id, **change.by_id}
        for digest in change.forgotten_digests:
            by_digest.pop(digest, None)
        for key_id in change.forgotten_ids:
            by_id.pop(key_id, None)
        return KeyRing(by_digest, by_id, **change.rest)

    def in_parts(self, size: int) -> Iterator[KeyChange]:
        """All of it, so many keys at a time; `of_parts` puts it together again."""
        principals = list(self._by_id.items())
        for begin in range(0, len(principals) or 1, size):
            part = dict(principals[begin : begin + size])
            digests = [digest for principal in part.values() for digest in principal.digests]
            found = {digest: self._by_digest[digest] for digest in digests if digest in self._by_digest}
            yield KeyChange(found, part, self._rest())

    @classmethod
    def of_parts(cls, parts: Iterable[KeyChange]) -> "KeyRing":
        by_digest: dict[bytes, Principal] = {}
        by_id: dict[str, Principal] = {}
        rest: Mapping[str, Any] = {}
        for part in parts:
            by_digest.update(part.by_digest)
            by_id.update(part.by_id)
            rest = part.rest
        return cls(by_digest, by_id, **rest)

    def _rest(self) -> dict[str, Any]:
        return {"issuers": dict(self.issuers)}


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _difference(
    before: Mapping[_Key, _Value], after: Mapping[_Key, _Value]
) -> tuple[dict[_Key, _Value], tuple[_Key, ...]]:
    changed = {key: value for key, value in after.items() if before.get(key) is not value}
    added = sum(key not in before for key in changed)
    if len(before) + added == len(after):
        return changed, ()
    return changed, tuple(before.keys() - after.keys())


def _entries(key: ApiKey, principal: Principal) -> Iterator[tuple[bytes, Principal]]:
    if key.previous_hash is not None and key.previous_expires_at is not None:
        yield key.previous_hash, principal.until(key.previous_expires_at.timestamp())
    yield key.key_hash, principal
