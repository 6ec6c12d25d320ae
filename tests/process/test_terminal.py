"""SIGHUP: a terminal that was closed, or somebody who asks for a reload."""

import os
import pty
import signal
import sys

import pytest

SCRIPT = """
import os, signal, sys
from microgateway.process.terminal import Terminal
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
terminal = Terminal()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
os.write(1, b"ready")  # at once: who reads it may close the terminal before a line end gets there
signal.sigwait([signal.SIGHUP])
os._exit(10 + terminal.is_gone())
"""


def ends(*arguments: str, closed: bool) -> int:
    """The exit code of the script in a terminal of its own, which is closed, or stays while somebody sends SIGHUP."""
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT, *arguments])
    try:
        assert b"ready" in os.read(terminal, 100)
        if not closed:
            os.kill(process, signal.SIGHUP)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize(("closed", "code"), [(True, 11), (False, 10)])
def test_a_closed_one_is_told_from_a_signal_that_somebody_sent(closed: bool, code: int) -> None:
    assert ends(closed=closed) == code


def test_one_that_does_not_matter_is_never_gone() -> None:
    """With nohup the process is to outlive its terminal: the signal is ignored, and somebody's own is a reload."""
    assert ends("nohup", closed=False) == 10
