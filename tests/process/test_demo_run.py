"""`run --demo` as a newcomer meets it: start it, paste what it prints, press Ctrl-C, start it again."""

import json
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.kit.upstream import running_upstream
from tests.kit.waiting import PATIENCE, until
from tests.process.command import RUN, Command, environment, running_command
from tests.process.gateway import running_gateway

DEMO = (*RUN, "--demo")
LAST_LINE = r"Ctrl-C stops everything\."

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="what is printed to be pasted is a curl line")


@contextmanager
def running_demo(folder: Path, **variables: str) -> Iterator[Command]:
    with running_command(DEMO, environment(folder, **variables)) as command:
        command.stdout.wait_for(LAST_LINE)
        yield command


def curl_line(command: Command) -> str:
    """The first line to paste, as it is printed."""
    return command.stdout.wait_for(r" +curl .*")[0]


def pasted(line: str, folder: Path) -> str:
    """What a shell prints for it."""
    done = subprocess.run(
        ["sh", "-c", line],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_listening(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


def dashboard_url(command: Command) -> str:
    return command.stdout.wait_for(r" +(http://127\.0\.0\.1:\d+/#token=\S+)")[1]


@needs_curl
def test_every_line_works_when_pasted(folder: Path) -> None:
    with running_demo(folder, MICROGATEWAY_PROXY_HOST="0.0.0.0") as demo:
        answer = pasted(curl_line(demo), folder)
        head, _, body = answer.partition("\n\n" if "\r\n" not in answer else "\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK")
        assert "x-demo-service: users" in head
        assert json.loads(body) == {"id": 1, "name": "Ada"}

        public = next(line for line in demo.stdout.lines if "/public/" in line)
        assert "Lamp" in pasted(public, folder)
        without_key = curl_line(demo).replace("X-API-Key", "X-No-Key")
        assert pasted(without_key, folder).startswith("HTTP/1.1 401 ")


def test_ctrl_c_stops_everything_and_the_next_start_goes_on(folder: Path) -> None:
    with running_demo(folder) as demo:
        line = curl_line(demo)
        page = urlsplit(dashboard_url(demo))
        operator = httpx2.Client(
            base_url=f"http://{page.netloc}",
            headers={"Authorization": f"Bearer {page.fragment.removeprefix('token=')}"},
            timeout=PATIENCE,
            trust_env=False,
        )
        with operator:
            services = operator.get("/api/services").json()["items"]
        assert [service["name"] for service in services] == ["users", "orders", "payments"]
        assert all(is_listening(service["base_url"]) for service in services)
        demo.interrupt()
        assert demo.wait() == 0
        assert demo.stderr.text == ""
        assert not is_listening(f"http://{page.netloc}")
        upstreams = [line.split() for line in demo.stdout.lines if line.startswith("    ") and " http://" in line]
        ours = dict(parts for parts in upstreams if len(parts) == 2)
        assert ours == {service["name"]: service["base_url"] for service in services}

    with running_demo(folder) as demo:
        assert key_of(curl_line(demo)) == key_of(line)
        assert stat.S_IMODE((folder / "demo_api_key").stat().st_mode) == 0o600
        proxy = urlsplit(curl_line(demo).split()[-1])
        with httpx2.Client(base_url=f"http://{proxy.netloc}", timeout=PATIENCE, trust_env=False) as client:
            answer = client.get(proxy.path, headers={"X-API-Key": key_of(line)})
        assert answer.json() == {"id": 1, "name": "Ada"}


def test_another_configuration_is_left_alone(folder: Path) -> None:
    with running_upstream() as upstream, running_gateway(folder) as gateway:
        gateway.operator.create_public_route("/", upstream.url)
        gateway.command.terminate()
        gateway.command.wait()
    with running_command(DEMO, environment(folder)) as demo:
        assert demo.wait() == 1
        (line,) = demo.stderr.lines
        assert line.startswith("microgateway: --demo: ")
        assert str(folder) in line
        assert "MICROGATEWAY_DATA_DIR" in line
        assert demo.stdout.text == ""


def test_a_demo_that_can_t_start_takes_its_upstream_with_it(folder: Path) -> None:
    """The child holds the gateway's standard error: that it can be read to its end says that the child is gone."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = str(squatter.getsockname()[1])
        with running_command(DEMO, environment(folder, MICROGATEWAY_PROXY_PORT=taken)) as demo:
            assert demo.wait() == 1
            (line,) = demo.stderr.lines
            assert "MICROGATEWAY_PROXY_PORT" in line


def test_a_killed_gateway_leaves_no_upstream_behind(folder: Path) -> None:
    with running_demo(folder) as demo:
        users = demo.stdout.wait_for(r" +users +(http://\S+)")[1]
        assert is_listening(users)
        key = key_of(curl_line(demo))
        demo.end()
        until(lambda: not is_listening(users), "the demo upstream is gone")

    (folder / "demo_api_key").unlink()
    with running_demo(folder, MICROGATEWAY_PROXY_HOST="127.0.0.2") as demo:
        assert "http://127.0.0.2:" in curl_line(demo)
        assert key_of(curl_line(demo)) != key, "a key whose text is lost can't be shown again"


def key_of(line: str) -> str:
    """The key in a curl line."""
    return line.split("X-API-Key: ")[1].split("'")[0]
