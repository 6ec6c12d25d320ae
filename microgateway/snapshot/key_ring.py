"""Whose key is this? Keys are looked up by their digests."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from microgateway.core import api_keys
from microgateway.core.split_tables import SplitTable
from microgateway.entities import ApiKey
from microgateway.snapshot.principals import Issuer, Principal


class KeyChange(NamedTuple):
    """What is different in a key ring, or one part of a whole one. `issuers` are all of them, None: the same ones."""

    by_digest: Mapping[bytes, Principal] = {}
    by_id: Mapping[str, Principal] = {}
    forgotten_digests: tuple[bytes, ...] = ()
    issuers: dict[str, Issuer] | None = None


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
        self._by_digest = by_digest if isinstance(by_digest, SplitTable) else SplitTable(by_digest)
        self._by_id = by_id if isinstance(by_id, SplitTable) else SplitTable(by_id)
        self.issuers = issuers

    @classmethod
    def of_keys(cls, keys: Iterable[ApiKey], issuers: Mapping[str, Issuer] = MappingProxyType({})) -> "KeyRing":
        """Revoked and expired keys are in it, too: their holders are told so."""
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
            self._by_digest.find(api_keys.digest(credential))
            if api_keys.is_well_formed_credential(credential)
            else None
        )

    def of_id(self, key_id: str) -> Principal | None:
        """The key with this id, of which a token may speak."""
        return self._by_id.find(key_id)

    def change_to(self, key: ApiKey) -> KeyChange:
        """What this key, created, changed or revoked, changes."""
        principal, before = Principal.of_key(key), self._by_id.find(key.id)
        by_digest = dict(_entries(key, principal))
        forgotten = () if before is None else tuple(each for each in before.digests if each not in by_digest)
        return KeyChange(by_digest, {key.id: principal}, forgotten)

    def changes_to(self, keys: Iterable[ApiKey]) -> KeyChange:
        """What several keys change."""
        changes = [self.change_to(key) for key in keys]
        return KeyChange(
            dict(chain.from_iterable(change.by_digest.items() for change in changes)),
            dict(chain.from_iterable(change.by_id.items() for change in changes)),
            tuple(chain.from_iterable(change.forgotten_digests for change in changes)),
        )

    def with_past_keys(self, past: Mapping[str, ApiKey | None]) -> "KeyRing":
        """A key ring with these keys as they were, by id; None: there was none yet."""
        present = [principal for key_id in past if (principal := self._by_id.find(key_id)) is not None]
        gone = [digest for principal in present for digest in principal.digests]
        by_id = {key.id: Principal.of_key(key) for key in past.values() if key is not None}
        by_digest = dict(chain.from_iterable(_entries(key, by_id[key.id]) for key in past.values() if key is not None))
        return KeyRing(self._by_digest.changed(by_digest, gone), self._by_id.changed(by_id, past), self.issuers)

    def with_change(self, change: KeyChange) -> "KeyRing":
        """The one after a change that was taken from this one, or from one like it in another process."""
        issuers = self.issuers if change.issuers is None else change.issuers
        if not change.by_id:
            return KeyRing(self._by_digest, self._by_id, issuers)
        by_digest = self._by_digest.changed(change.by_digest, change.forgotten_digests)
        return KeyRing(by_digest, self._by_id.changed(change.by_id), issuers)

    def with_key(self, key: ApiKey) -> "KeyRing":
        """A key ring with this key created, changed or revoked."""
        return self.with_change(self.change_to(key))

    def in_parts(self, size: int) -> Iterator[KeyChange]:
        """All of it, so many keys at a time; `of_parts` puts it together again."""
        principals = list(self._by_id.items())
        for begin in range(0, len(principals) or 1, size):
            part = dict(principals[begin : begin + size])
            digests = [digest for principal in part.values() for digest in principal.digests]
            found = {digest: self._by_digest[digest] for digest in digests if digest in self._by_digest}
            yield KeyChange(found, part, issuers=dict(self.issuers))

    @classmethod
    def of_parts(cls, parts: Iterable[KeyChange]) -> "KeyRing":
        """What `in_parts` has taken apart."""
        by_digest: dict[bytes, Principal] = {}
        by_id: dict[str, Principal] = {}
        issuers: Mapping[str, Issuer] = {}
        for part in parts:
            by_digest.update(part.by_digest)
            by_id.update(part.by_id)
            issuers = part.issuers or {}
        return cls(by_digest, by_id, issuers)


def _entries(key: ApiKey, principal: Principal) -> Iterator[tuple[bytes, Principal]]:
    if key.previous_hash is not None and key.previous_expires_at is not None:
        yield key.previous_hash, principal.until(key.previous_expires_at.timestamp())
    yield key.key_hash, principal
