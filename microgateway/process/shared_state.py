"""What all processes of a gateway share, laid out in one piece of memory."""

import secrets
from collections.abc import Sequence

from microgateway.exchange import EventListener
from microgateway.state.circuit_table import CircuitTable
from microgateway.state.shared_circuits import SharedCircuits
from microgateway.state.shared_limits import SECRET_SIZE, SharedLimiter, SharedLimits
from microgateway.state.shared_memory import SharedMemory
from microgateway.state.shared_turns import SharedTurns

CONTROL = 0  # the control process's number; workers have those from 1 on


class SharedState:
    """One process's view of it. The supervisor creates the memory; the others attach to it by its descriptor."""

    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory
        self._limits = SharedLimits(memory)
        self._circuits = CircuitTable(memory, SharedLimits.size())

    @classmethod
    def create(cls) -> "SharedState":
        """Raises `StartupError` where the machine can't do it."""
        state = cls(SharedMemory.create(SharedLimits.size() + CircuitTable.size() + SharedTurns.size()))
        state._limits.create(secrets.token_bytes(SECRET_SIZE))
        state._circuits.create()
        return state

    @classmethod
    def attached(cls, descriptor: int) -> "SharedState":
        """To the memory behind this descriptor."""
        return cls(SharedMemory(descriptor))

    def limiter(self, process: int) -> SharedLimiter:
        """The buckets, as this process uses them."""
        return SharedLimiter(self._limits, process=process)

    def circuits(self, process: int, listeners: Sequence[EventListener]) -> SharedCircuits:
        """The circuits, as this process uses them. The control process is in charge of their policies."""
        return SharedCircuits(
            self.memory, self._circuits, process=process, in_charge=process == CONTROL, listeners=listeners
        )

    def turns(self, process: int) -> SharedTurns:
        """Who has how many connections, as this process sees it."""
        return SharedTurns(self.memory, SharedLimits.size() + CircuitTable.size(), process)

    def forget_process(self, process: int) -> None:
        """It is dead: gives back what it held."""
        self._circuits.forget_process(process)
        self.turns(process).leave()

    def close(self) -> None:
        self._limits.close()
        self._circuits.close()
        self.memory.close()
