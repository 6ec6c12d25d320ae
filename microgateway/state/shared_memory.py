"""Memory that all processes of one gateway share: a file without a name, which is gone with the last of them.

One process creates it and hands the descriptor down; the others attach to it. It is as large as its bounds, but a page
of it that nobody has touched takes up nothing.
"""

import mmap
import os

WORD = 8  # bytes
MOST_PROCESSES = 128  # that count something at the same time: workers, those that drain, and the control process


class SharedMemory:
    """`bytes` and `words` (unsigned, of 8 bytes) are two views of the same memory.

    A word is written by one store of the processor, so that a process that dies has written it or has not.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.bytes = mmap.mmap(descriptor, 0)
        self.words = memoryview(self.bytes).cast("Q")

    @classmethod
    def create(cls, size: int) -> "SharedMemory":
        """`size` is bytes, all zero."""
        descriptor = os.memfd_create("microgateway", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, size)
        return cls(descriptor)

    def close(self) -> None:
        self.words.release()
        self.bytes.close()
        os.close(self.descriptor)
