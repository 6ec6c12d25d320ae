"""Who has how many client connections, in shared memory, so that workers that take them from one queue take turns.

Each process writes a word of its own and reads the others': no lock is needed, and what is read may be a little old.
The word is one more than the connections; 0 says that the process takes none, or is no more.
"""

from struct import Struct

from microgateway.state.shared_memory import MOST_PROCESSES, WORD, SharedMemory

_ALL = Struct(f"{MOST_PROCESSES}Q")
SLACK = 8  # an eighth more than another has is no matter


class SharedTurns:
    """As process number `process` sees them; the words begin at byte `offset`."""

    def __init__(self, memory: SharedMemory, offset: int, process: int) -> None:
        self._memory = memory
        self._offset = offset
        self._first = offset // WORD
        self._process = process

    @staticmethod
    def size() -> int:
        """Bytes of memory that it takes."""
        return _ALL.size

    def note(self, connections: int) -> None:
        """This process has so many, and takes more."""
        self._memory.words[self._first + self._process] = connections + 1

    def excess(self, connections: int) -> int:
        """The same; and how many that is more than one has that takes connections and has fewest, beyond the slack."""
        self.note(connections)
        words: tuple[int, ...] = _ALL.unpack_from(self._memory.bytes, self._offset)
        fewest = min(filter(None, words)) - 1
        return connections - fewest - fewest // SLACK

    def leave(self) -> None:
        """This process takes no more."""
        self._memory.words[self._first + self._process] = 0
