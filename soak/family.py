"""The processes of a gateway with workers, from outside: who they are, and who has which client connection."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ESTABLISHED, CLOSE_WAIT = "01", "08"  # of /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Family:
    """`root` is the supervisor's id; `port` is the proxy port."""

    root: int
    port: int

    def members(self, kind: str) -> list[int]:
        """`worker` or `control`: their ids, the oldest first."""
        children = Path(f"/proc/{self.root}/task/{self.root}/children").read_text().split()
        return [pid for pid in map(int, children) if f"microgateway.process.{kind}" in _command(pid)]

    def clients_of(self, pid: int) -> set[int]:
        """The clients' ports of the connections that this process holds."""
        own = _sockets(pid)
        return {port for port, inode in self._connections() if inode in own}

    def _connections(self) -> Iterator[tuple[int, str]]:
        own = f":{self.port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state, _, _, _, _, _, inode, *_ = line.split()
            if local.endswith(own) and state in (ESTABLISHED, CLOSE_WAIT):
                yield int(remote.rpartition(":")[2], 16), inode


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has come to it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = entry.readlink().name
        except FileNotFoundError:
            continue  # closed between the list and the look
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
