"""Which gateway runs on a data folder: a file that it keeps locked for as long as it lives.

Two on one folder would each have a configuration of its own, and write over each other's. The file has the number of
the supervisor, where there is one to ask for a reload.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from microgateway.errors import StartupError
from microgateway.persistence.data_folder import prepare_data_folder

PID_FILE = "gateway.pid"


@contextmanager
def held(data_dir: Path, *, reloads: bool) -> Iterator[None]:
    """Holds the file of this folder, which is made when it is not there. Raises `StartupError` where another one does.

    `reloads` says whether this process is a supervisor, and writes its number.
    """
    prepare_data_folder(data_dir)
    try:
        descriptor = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(f"{str(data_dir / PID_FILE)!r} can't be written: {error.strerror}") from error
    try:
        _lock(descriptor, data_dir)
        os.ftruncate(descriptor, 0)
        if reloads:
            os.write(descriptor, b"%d\n" % os.getpid())
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        folder = str(data_dir)
        raise StartupError(f"MICROGATEWAY_DATA_DIR: another gateway runs on {folder!r}; each needs its own") from None


def reload(data_dir: Path) -> int:
    """Has the gateway that runs on this data folder reload; it tells on its own standard error how that went."""
    try:
        descriptor = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        raise StartupError(f"no gateway with workers runs on the data folder {str(data_dir)!r}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # held, so the number is of a process that lives
        with suppress(ValueError):
            os.kill(int(os.read(descriptor, 32)), signal.SIGHUP)
            return 0
        raise StartupError(f"the gateway on {str(data_dir)!r} is a single process, which needs a restart") from None
    finally:
        os.close(descriptor)
    raise StartupError(f"no gateway with workers runs on the data folder {str(data_dir)!r}")
