"""A gateway that can't start says why in one line that names the culprit, and exits with 1."""

import json
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from microgateway.errors import StartupError
from microgateway.process.pid_file import held, reload
from tests.kit.waiting import until
from tests.process.command import REPOSITORY, RUN, UVICORN, Command, environment, running_command
from tests.process.gateway import ENTRIES, running_gateway


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong: variables, or what `prepare` does in the test's folder. The line says `names`, never `hides`."""

    name: str
    names: tuple[str, ...]
    variables: Callable[[Path], dict[str, str]] = lambda folder: {}
    prepare: Callable[[Path], object] = lambda folder: None
    hides: str = "hunter2"

    def __str__(self) -> str:
        return self.name


def data(folder: Path) -> Path:
    """The data folder, made before its gateway does."""
    path = folder / "data"
    path.mkdir()
    return path


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


FAULTS = (  # one when the settings are read, one when the gateway is put together, and one when it is opened
    Fault("a port that is no number", ("MICROGATEWAY_PORT",), lambda folder: {"MICROGATEWAY_PORT": "x"}),
    Fault("a database URL that is none", ("DATABASE_URL",), lambda folder: {"DATABASE_URL": "hunter2 is no URL"}),
    Fault(
        "a seed file that is missing",
        ("seed file", "nowhere.json", "No such file"),
        lambda folder: {"MICROGATEWAY_SEED": str(folder / "nowhere.json")},
    ),
)
# These take the same ways to the same line, however the gateway is started; `run` stands for all.
MORE_FAULTS = (
    Fault(
        "a database of another kind",
        ("DATABASE_URL", "'mysql'"),
        lambda folder: {"DATABASE_URL": "mysql://root:hunter2@127.0.0.1/gateway"},
    ),
    Fault(
        "a database that is not there",  # refused, or without a driver for it: either way it can't be used
        ("DATABASE_URL", "postgresql"),
        lambda folder: {"DATABASE_URL": "postgresql://gateway:hunter2@127.0.0.1:1/gateway"},
    ),
    Fault(
        "a data folder below a file",
        ("MICROGATEWAY_DATA_DIR", "file/data", "Not a directory"),
        lambda folder: {"MICROGATEWAY_DATA_DIR": written(folder / "file", "") + "/data"},
    ),
    Fault(
        "two settings at once",
        ("MICROGATEWAY_PROXY_PORT", "CIRCUIT_RECOVERY_TIMEOUT"),
        lambda folder: {"MICROGATEWAY_PROXY_PORT": "70000", "CIRCUIT_RECOVERY_TIMEOUT": "soon"},
    ),
    Fault("a weak secret", ("JWT_SECRET",), lambda folder: {"JWT_SECRET": "hunter2"}),
    Fault(
        "a database file without its folder",
        ("DATABASE_URL", "unable to open"),
        lambda folder: {"DATABASE_URL": f"sqlite:///{folder}/nowhere/gateway.db"},
    ),
    Fault(
        "a database file of something else",
        ("DATABASE_URL", "microgateway.db", "not a database"),
        prepare=lambda folder: written(data(folder) / "microgateway.db", "hunter2 " * 1_000),
    ),
    Fault(
        "an admin token that is empty",
        ("admin_token", "empty"),
        prepare=lambda folder: written(data(folder) / "admin_token", "\n"),
    ),
    Fault(
        "a seed file that makes no sense",
        ("seed file", "seed.json", "services[0].base_url"),
        lambda folder: {
            "MICROGATEWAY_SEED": written(
                folder / "seed.json", json.dumps({"services": [{"name": "a", "base_url": "gopher://a"}]})
            )
        },
    ),
    Fault(
        "a proxy host that nobody has",
        ("MICROGATEWAY_PROXY_HOST", "nowhere.invalid"),
        lambda folder: {"MICROGATEWAY_PROXY_HOST": "nowhere.invalid"},
    ),
)


@contextmanager
def free_port() -> Iterator[int]:
    """A port that can be listened on, and that nobody else is given meanwhile: bound, and not listened on."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        yield int(reservation.getsockname()[1])


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def the_one_line(arguments: tuple[str, ...], folder: Path, **variables: str) -> str:
    """What the gateway says of why it does not start. uvicorn's own lines of what it is doing are passed over."""
    with running_command(arguments, environment(folder / "data", **variables)) as command:
        assert command.wait() == 1, command.said
        assert command.stdout.text == ""
        lines = [line for line in command.stderr.lines if arguments == RUN or not line.startswith("INFO: ")]
    assert len(lines) == 1, "\n".join(lines)
    assert lines[0].startswith("microgateway: ")
    return lines[0]


def assert_told(fault: Fault, arguments: tuple[str, ...], folder: Path) -> None:
    fault.prepare(folder)
    line = the_one_line(arguments, folder, **fault.variables(folder))
    assert [name for name in fault.names if name not in line] == [], line
    assert fault.hides not in line


class TestFaults:
    @pytest.mark.parametrize("entry", ENTRIES)
    @pytest.mark.parametrize("fault", FAULTS, ids=str)
    def test_it_is_told_in_one_line(self, fault: Fault, entry: str, tmp_path: Path) -> None:
        assert_told(fault, ENTRIES[entry], tmp_path)

    @pytest.mark.parametrize("fault", MORE_FAULTS, ids=str)
    def test_and_so_are_these(self, fault: Fault, tmp_path: Path) -> None:
        assert_told(fault, RUN, tmp_path)


class TestPorts:
    def test_a_taken_control_port(self, tmp_path: Path) -> None:
        with taken_port() as port:
            line = the_one_line(RUN, tmp_path, MICROGATEWAY_PORT=str(port))
        assert f"MICROGATEWAY_PORT: can't listen on 127.0.0.1:{port}: Address already in use" in line
        assert not (tmp_path / "data").exists(), "it began before it had its port"

    @pytest.mark.parametrize("entry", ENTRIES)
    def test_a_taken_proxy_port(self, entry: str, tmp_path: Path) -> None:
        with taken_port() as port:
            line = the_one_line(ENTRIES[entry], tmp_path, MICROGATEWAY_PROXY_PORT=str(port))
        assert "MICROGATEWAY_PROXY_PORT" in line
        assert f"127.0.0.1:{port}" in line
        assert "already in use" in line

    def test_one_port_for_both(self, tmp_path: Path) -> None:
        with free_port() as port:
            both = {"MICROGATEWAY_PORT": str(port), "MICROGATEWAY_PROXY_PORT": str(port)}
            line = the_one_line(RUN, tmp_path, **both, MICROGATEWAY_PROXY_HOST="0.0.0.0")
        assert "MICROGATEWAY_PROXY_PORT" in line
        assert f":{port}: " in line

    @pytest.mark.parametrize("port", ["70000", "-1", "http"])
    def test_a_wrong_option_is_a_wrong_call(self, port: str, tmp_path: Path) -> None:
        """argparse's own way to say so: its usage, one line, and exit code 2."""
        with running_command([*RUN, "--port", port], environment(tmp_path / "data")) as command:
            assert command.wait() == 2
            assert "argument --port: " in command.stderr.lines[-1]
            assert "Traceback" not in command.said

    def test_uvicorn_tells_of_its_own_port_itself(self, tmp_path: Path) -> None:
        """By then the gateway is open: it has to be closed again, without a word."""
        with (
            taken_port() as port,
            running_command([*UVICORN, "--port", str(port)], environment(tmp_path / "data")) as command,
        ):
            assert command.wait() != 0
            assert "address already in use" in command.said
            assert "Traceback" not in command.said


def has_open(command: Command, path: Path) -> bool:
    """Its descriptors come and go while they are read: one that is gone already is none of the database's."""
    for descriptor in Path(f"/proc/{command.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if descriptor.readlink() == path:
                return True
    return False


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_second_gateway_on_one_data_folder(entry: str, tmp_path: Path) -> None:
    """It would have a configuration of its own, and write over the first one's."""
    (tmp_path / "data").mkdir()
    with held(tmp_path / "data", reloads=False):
        line = the_one_line(ENTRIES[entry], tmp_path)
        assert f"MICROGATEWAY_DATA_DIR: another gateway runs on {str(tmp_path / 'data')!r}" in line
        with pytest.raises(StartupError, match="single process"):
            reload(tmp_path / "data")
    with pytest.raises(StartupError, match="no gateway with workers"):
        reload(tmp_path / "data")


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    """Somebody else writes to the database, so this gateway waits for its turn, and then has no use for it."""
    database = data(tmp_path) / "microgateway.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        with running_command(RUN, environment(tmp_path / "data")) as command:
            until(lambda: has_open(command, database), "it gets as far as the database")
            command.interrupt()
            other.execute("ROLLBACK")
            assert command.wait() == 128 + signal.SIGINT
            assert command.said == ""


def test_a_start_that_fails_has_not_used_up_what_is_shown_once(tmp_path: Path) -> None:
    """The admin token and the seeded keys are shown by the start that makes them: it must be one that gets as far."""
    seed = str(REPOSITORY / "seed_data" / "data.json")
    with taken_port() as port:
        the_one_line(RUN, tmp_path, MICROGATEWAY_PROXY_PORT=str(port), MICROGATEWAY_SEED=seed)
    with running_gateway(tmp_path / "data", MICROGATEWAY_SEED=seed) as gateway:
        assert gateway.operator.readiness() == 200
        assert f"/#token={gateway.admin_token}" in gateway.command.said
        assert gateway.command.said.count("shown this once: ") == 2


def test_the_environment_of_these_tests_configures_no_gateway(tmp_path: Path) -> None:
    """Otherwise they would say something of this machine."""
    assert "DATABASE_URL" not in environment(tmp_path)
