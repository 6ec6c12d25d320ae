"""When an issuer's keys are fetched: a judgement without I/O, given the time.

They are fetched when the issuer becomes known, again when they are no longer fresh, and out of turn when a token names
a key that is not among them: an issuer that changes its keys may use the new one at once. A stranger can name any key,
so that happens once in a while and not more often, and never twice at a time. While a fetch fails, the keys from
before stay good.
"""

from collections.abc import Callable

from microgateway.snapshot import Issuer
from microgateway.tokens.key_set import KeySet, VerificationKey

DEFAULT_FRESHNESS = 300.0  # seconds; what follows too
SHORTEST_FRESHNESS = 30.0
LONGEST_FRESHNESS = 3_600.0
RETRY_AFTER_FAILURE = 30.0
COOLDOWN = 10.0  # between two fetches out of turn
LONGEST_WAIT = 5.0  # of a request for a fetch that was begun before or for it

Callback = Callable[[], None]


class KeySource:
    """One issuer's keys, and whether they are being fetched. Times are monotonic seconds."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.keys = KeySet()
        self.fetched_at: float | None = None
        self.error: str | None = None
        self.is_fetching = False
        self._begun_at = -COOLDOWN
        self._due_at = 0.0
        self._waiting: list[Callback] = []

    def is_due(self, now: float) -> bool:
        """Whether it is time to fetch them, whoever asks."""
        return not self.is_fetching and now >= self._due_at

    def may_fetch(self, now: float) -> bool:
        """Whether they may be fetched out of turn."""
        return not self.is_fetching and now >= self._begun_at + COOLDOWN

    def wait_until(self, now: float) -> float | None:
        """Until when a request may wait for the fetch under way; None where it is not worth while."""
        until = self._begun_at + LONGEST_WAIT
        return until if self.is_fetching and now < until else None

    def then(self, callback: Callback) -> None:
        """Called once, when the fetch under way has ended."""
        self._waiting.append(callback)

    def begin(self, now: float) -> None:
        """A fetch begins."""
        self.is_fetching = True
        self._begun_at = now

    def succeeded(self, keys: KeySet, max_age: float | None, now: float) -> set[VerificationKey]:
        """Takes the new keys; answers those that are no longer among them."""
        freshness = DEFAULT_FRESHNESS if max_age is None else min(max(max_age, SHORTEST_FRESHNESS), LONGEST_FRESHNESS)
        gone = set(self.keys.keys) - set(keys.keys)
        self.keys, self.error, self.fetched_at = keys, None, now
        self._end(now + freshness)
        return gone

    def failed(self, error: str, now: float) -> None:
        """The keys from before stay good."""
        self.error = error
        self._end(now + RETRY_AFTER_FAILURE)

    def _end(self, due_at: float) -> None:
        self.is_fetching = False
        self._due_at = due_at
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()
