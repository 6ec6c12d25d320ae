"""Requests whose judgement has to wait, for a moment: the keys of a token's issuer are just being fetched."""

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from microgateway.core.requests import RequestHead
from microgateway.data_plane.client_connection import ANSWER, HEAD, ClientConnection
from microgateway.exchange import CLIENT_CLOSED_REQUEST, Exchange, Postponed

if TYPE_CHECKING:
    from microgateway.data_plane.plane import Plane


class HeldRequest(NamedTuple):
    """One that waits: its head, and the bytes in which its body begins at `position`."""

    head: RequestHead
    data: bytes
    position: int
    exchange: Exchange


class Postponing(ClientConnection):
    """Holds at most one request; what the client sends meanwhile is kept. The sweep sees that it does not take long."""

    __slots__ = ("_held",)

    def __init__(self, plane: "Plane") -> None:
        super().__init__(plane)
        self._held: HeldRequest | None = None

    @abstractmethod
    def _begin(self, head: RequestHead, data: bytes, position: int, exchange: Exchange | None = None) -> None:
        """Judges the request."""

    @abstractmethod
    def exchange_ended(self, exchange: Exchange, now: float, keep_alive: bool, request_done: bool) -> None:
        """The request is over."""

    def _hold(self, postponed: Postponed, held: HeldRequest) -> None:
        self._held = held
        self._phase = ANSWER
        self.deadline = postponed.until
        postponed.then(functools.partial(self._judge_again, held))

    def _judge_again(self, held: HeldRequest) -> None:
        """Once for each request that was held: what comes too late finds another one here, or none."""
        if self._held is not held:
            return
        self._held = None
        self._phase = HEAD
        data, self._pending = held.data + self._pending, b""
        if self._paused:
            self.resume_reading()
        self._begin(held.head, data, held.position, held.exchange)

    def _give_up_held(self, held: HeldRequest) -> None:
        """The client left while its request was held."""
        self._held = None
        held.exchange.status, held.exchange.code = CLIENT_CLOSED_REQUEST, "client_closed_request"
        self.exchange_ended(held.exchange, self._plane.now(), False, False)
