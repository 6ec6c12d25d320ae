"""Which process is the supervisor of a data folder's gateway: a file that it keeps locked for as long as it lives."""

import fcntl
import os
import signal
from pathlib import Path

from microgateway.errors import StartupError

PID_FILE = "supervisor.pid"


def hold(data_dir: Path) -> int:
    """Writes this process's number, and holds the file. Raises `StartupError` where another one does."""
    descriptor = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartupError(f"another gateway runs on the data folder {str(data_dir)!r}") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def reload(data_dir: Path) -> int:
    """Has the gateway that runs on this data folder reload; it tells on its own standard error how that went."""
    try:
        descriptor = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        raise StartupError(f"no gateway with workers runs on the data folder {str(data_dir)!r}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # held, so the number is of a process that lives
        os.kill(int(os.read(descriptor, 32)), signal.SIGHUP)
        return 0
    finally:
        os.close(descriptor)
    raise StartupError(f"no gateway with workers runs on the data folder {str(data_dir)!r}")
