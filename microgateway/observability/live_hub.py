"""Who listens to the gateway as it runs, and what they are told: server-sent events, encoded once for all.

Events, such as a circuit that opens, have an id and are kept for a while, so that whoever comes back with the last id
that it saw is told what it missed. The figures of every second and the rows of the log are for those who listen just
then. A listener that does not read is not waited for: when too much waits for it, its stream is ended, and it may come
back. Nothing is encoded while nobody listens, but for events, which are rare.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from microgateway.errors import MicroGatewayError
from microgateway.exchange import Event, Exchange
from microgateway.observability.happenings import Change
from microgateway.observability.log_frames import RawRow, raw_rows
from microgateway.observability.log_rows import as_mapping, ended

KEPT_EVENTS = 1_000
MOST_LISTENERS = 100
MOST_WAITING = 1_000  # messages for one listener

EVENT_FIELDS = ("service_id", "target", "before", "after", "at", "reason", "by")

Wants = Callable[[Mapping[str, Any]], bool]


class TooManyListenersError(MicroGatewayError):
    """As many listen as may."""


class KeptEvent(NamedTuple):
    """An event and its place among all."""

    number: int
    message: bytes


class Listener:
    """One stream's end inside the gateway. `wants` says which rows of the log it is for, None: none."""

    def __init__(self, wants: Wants | None) -> None:
        self.wants = wants
        self.is_over = False
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait to be taken."""
        return len(self._waiting)

    def offer(self, message: bytes) -> None:
        """One more message for it."""
        self._waiting.append(message)
        self._news.set()

    def end(self, message: bytes = b"") -> None:
        """Nothing comes after this message, and what waited is dropped for it."""
        self.is_over = True
        self._waiting.clear()
        self.offer(message)

    async def take(self, patience: float) -> bytes:
        """All that waits, as soon as there is anything; empty after so many seconds without, and at the end."""
        if not self._waiting:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), patience)
            except TimeoutError:
                return b""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken


class LiveHub:
    """Tells every listener. `boot` is another for each process, so that ids of an earlier one are known as such.

    `tailing` are called when somebody begins to follow the log, and when nobody does any more.
    """

    def __init__(self, *, boot: str, wall: Callable[[], float], most_listeners: int = MOST_LISTENERS) -> None:
        self._boot = boot
        self._wall = wall
        self.most_listeners = most_listeners
        self._listeners: set[Listener] = set()
        self._events: deque[KeptEvent] = deque(maxlen=KEPT_EVENTS)
        self._number = 0
        self._is_closed = False
        self._is_tailed = False
        self.tailing: list[Callable[[bool], None]] = []
        self.dropped = 0  # listeners that did not read

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def join(self, *, last_id: str | None = None, wants: Wants | None = None) -> Listener:
        """A listener that is told, first, what it missed since `last_id`."""
        listener = Listener(wants)
        for message in self._missed_since(last_id) if last_id else ():
            listener.offer(message)
        if self._is_closed:
            listener.end()
        else:
            self._listeners.add(listener)
            self._look_who_tails()
        return listener

    def check_room(self) -> None:
        """Raises `TooManyListenersError` when nobody else may join."""
        if len(self._listeners) >= self.most_listeners:
            raise TooManyListenersError(f"{self.most_listeners} listen already.")

    def leave(self, listener: Listener) -> None:
        """It listens no more; called for one that has left already, this changes nothing."""
        self._listeners.discard(listener)
        self._look_who_tails()

    def close(self) -> None:
        """Ends every stream, and every one that begins from now on."""
        self._is_closed = True
        for listener in tuple(self._listeners):
            self.leave(listener)
            listener.end()

    def note_event(self, event: Event) -> None:
        """A circuit or a target is in another state."""
        self._publish(event.kind, {name: getattr(event, name) for name in EVENT_FIELDS})

    def note_change(self, change: Change) -> None:
        """The configuration is another, or could not be changed."""
        self._publish("configuration", {**asdict(change), "at": self._wall()})

    def tell(self, name: str, figures: Callable[[], Mapping[str, Any]]) -> None:
        """What is true only now; worked out when somebody listens."""
        if self._listeners:
            self._offer(encoded(name, figures()))

    def tail(self, batch: Sequence[Exchange]) -> None:
        """Rows of the log, for those who asked for them: a sink."""
        if self._is_tailed:
            self.show(raw_rows(batch))

    def show(self, raw: Sequence[RawRow]) -> None:
        """The same, of what has ended in another process."""
        if not self._is_tailed:
            return
        rows = [as_mapping(row.row()) for row in ended(raw)]
        for listener in tuple(self._listeners):
            for row in filter(listener.wants, rows) if listener.wants else ():
                self._offer_to(listener, encoded("log", shown(row)))

    def _look_who_tails(self) -> None:
        is_tailed = any(listener.wants for listener in self._listeners)
        if is_tailed is not self._is_tailed:
            self._is_tailed = is_tailed
            for told in self.tailing:
                told(is_tailed)

    def _publish(self, name: str, told: Mapping[str, Any]) -> None:
        self._number += 1
        message = encoded(name, told, f"{self._boot}-{self._number}")
        self._events.append(KeptEvent(self._number, message))
        self._offer(message)

    def _offer(self, message: bytes) -> None:
        for listener in tuple(self._listeners):
            self._offer_to(listener, message)

    def _offer_to(self, listener: Listener, message: bytes) -> None:
        if listener.is_over:
            return
        if listener.waiting < MOST_WAITING:
            listener.offer(message)
            return
        self.dropped += 1
        self.leave(listener)
        listener.end(encoded("dropped", {"reason": "Too much was waiting to be read; come back."}))

    def _missed_since(self, last_id: str) -> Iterator[bytes]:
        """What was kept of it; "missed" comes first where that is not all."""
        boot, _, number = last_id.rpartition("-")
        seen = int(number) if boot == self._boot and number.isascii() and number.isdecimal() else -1
        oldest = self._events[0].number if self._events else self._number + 1
        if seen < oldest - 1:
            yield encoded("missed", {"after": last_id})
        for event in self._events:
            if event.number > seen:
                yield event.message


def encoded(name: str, told: Mapping[str, Any], event_id: str = "") -> bytes:
    """One message of an event stream. JSON has no line ends of its own, so one data line is enough."""
    identity = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{identity}data: {json.dumps(told, separators=(',', ':'))}\n\n".encode()


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the log's endpoint shows it, but for the `id`, which it does not have yet."""
    lists = {name: json.loads(row[name]) if row[name] else [] for name in ("attempts", "shadowed")}
    return {**row, **lists}
