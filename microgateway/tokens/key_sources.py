"""The keys of all issuers: fetched in threads, so that no request and no event loop ever waits for a network."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from microgateway.exchange import Postponed
from microgateway.snapshot import Issuer
from microgateway.tokens.fetching import Fetched, FetchError, fetch
from microgateway.tokens.key_set import KeySetError, VerificationKey, parse_key_set
from microgateway.tokens.key_source import KeySource

Now = Callable[[], float]
Fetch = Callable[[str, str | None], Fetched]
Withdraw = Callable[[set[VerificationKey]], None]


class KeySources:
    """Everything but the fetching itself happens on one event loop. `now` is monotonic seconds.

    `withdraw` is told of keys that an issuer has taken back; whoever remembers tokens sets it.
    """

    def __init__(self, *, now: Now, fetch: Fetch = fetch) -> None:
        self.now = now
        self._fetch = fetch
        self._sources: dict[str, KeySource] = {}
        self.withdraw: Withdraw = _nobody_remembers

    def adopt(self, issuers: Iterable[Issuer]) -> None:
        """These issuers and no others are asked from now on. Where the same keys are asked for as before, they stay."""
        before, self._sources = self._sources, {}
        for issuer in issuers:
            source = before.get(issuer.id)
            if source is None or source.issuer.keys_asked_for != issuer.keys_asked_for:
                source = KeySource(issuer)
            source.issuer = issuer
            self._sources[issuer.id] = source
        self.sweep()

    def of(self, issuer: Issuer) -> KeySource:
        """What there is of this issuer's keys, begun where there is nothing."""
        source = self._sources.get(issuer.id)
        if source is None:
            source = self._sources[issuer.id] = KeySource(issuer)
        return source

    def known(self, issuer_id: str) -> KeySource | None:
        """What there is of this issuer's keys, to look at."""
        return self._sources.get(issuer_id)

    def sweep(self) -> None:
        """Called at short intervals: fetches what is no longer fresh."""
        now = self.now()
        for source in self._sources.values():
            if source.is_due(now):
                self._begin(source)

    def asked_again(self, source: KeySource) -> Postponed | None:
        """A token names a key that is not there: the fetch that may bring it, or None where it has just been tried."""
        now = self.now()
        if source.may_fetch(now):
            self._begin(source)
        until = source.wait_until(now)
        return None if until is None else Postponed(until, source.then)

    def _begin(self, source: KeySource) -> None:
        source.begin(self.now())
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(source, source.issuer, loop), name="jwks", daemon=True).start()

    def _run(self, source: KeySource, issuer: Issuer, loop: asyncio.AbstractEventLoop) -> None:
        """In its thread, which no end waits for."""
        result: Fetched | FetchError = FetchError("the gateway made a mistake; its log says more")
        try:
            result = self._fetch(issuer.jwks_url, issuer.ca_file)
        except FetchError as error:
            result = error
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody is left to be told
                loop.call_soon_threadsafe(self._ended, source, issuer, result)

    def _ended(self, source: KeySource, issuer: Issuer, result: Fetched | FetchError) -> None:
        try:
            if isinstance(result, FetchError):
                raise result
            keys = parse_key_set(result.body, issuer.algorithms, source.keys)
        except (FetchError, KeySetError) as error:
            _logger().warning("the keys of the token issuer %r can't be fetched: %s", issuer.name, error)
            source.failed(str(error), self.now())
            return
        gone = source.succeeded(keys, result.max_age, self.now())
        if gone:
            self.withdraw(gone)


def _nobody_remembers(keys: set[VerificationKey]) -> None:
    """Tokens are not remembered, so nothing has to be forgotten."""


def _logger() -> logging.Logger:
    return logging.getLogger("microgateway.tokens")
