"""Whether the terminal that a command was started in is still there: SIGHUP says so, and has another use besides."""

import os
import signal

TERMINAL = "/dev/tty"  # of whoever opens it


class Terminal:
    """Made at the start of a process, before it says what SIGHUP means to it."""

    def __init__(self) -> None:
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup: the process shall outlive it
        self._matters = not is_ignored and _is_there()

    def is_gone(self) -> bool:
        """Whether it was there, and mattered, and is no more."""
        return self._matters and not _is_there()


def _is_there() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
