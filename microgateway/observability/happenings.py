"""What happens now and then, beside the traffic: circuits and targets that change, and the configuration."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from microgateway.exchange import Event, EventListener


@dataclass(frozen=True, slots=True)
class Change:
    """The configuration was changed, or could not be.

    `version` is that of the snapshot in force afterwards. `action` and `kind` are such as `create` and `service`; `id`
    is the entity's, empty where it was about everything.
    """

    result: Literal["applied", "failed"]
    version: int
    action: str
    kind: str
    id: str


ChangeListener = Callable[[Change], None]


class Happenings:
    """Counts them since the start, and passes them on. `transitions` are by service id and the state entered."""

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        listeners: Sequence[EventListener] = (),
        change_listeners: Sequence[ChangeListener] = (),
    ) -> None:
        self._wall = wall
        self._listeners = listeners
        self._change_listeners = change_listeners
        self.transitions: Counter[tuple[str, str]] = Counter()
        self.changes: Counter[str] = Counter({"applied": 0, "failed": 0})
        self.version = 0
        self.changed_at = 0.0

    def note_event(self, event: Event) -> None:
        """A circuit or a target is in another state."""
        if event.kind == "circuit":
            self.transitions[event.service_id, event.after] += 1
        for listener in self._listeners:
            listener(event)

    def note_change(self, change: Change) -> None:
        """The configuration was changed, or could not be."""
        self.changes[change.result] += 1
        self.version = change.version
        if change.result == "applied":
            self.changed_at = self._wall()
        for listener in self._change_listeners:
            listener(change)

    def keep_services(self, service_ids: Collection[str]) -> None:
        """Forgets what was counted of services that are not among these."""
        for service_id, state in list(self.transitions):
            if service_id not in service_ids:
                del self.transitions[service_id, state]
