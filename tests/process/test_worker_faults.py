"""A worker that is broken inside does not serve on as if nothing were: it tells why, drains, and ends with 1."""

import asyncio
import json
import socket

import pytest

from microgateway.process.link import Kind, Link
from microgateway.process.reports import Reports
from tests.kit.waiting import PATIENCE
from tests.process.attached import PID, attached
from tests.process.working import working


async def test_whole_it_ends_with_0_when_it_has_lost_its_supervisor() -> None:
    async with working() as scene:
        await scene.control.has_told(Kind.REPORT)
        scene.leash.close()
        assert await scene.exit_code() == 0


async def test_it_ends_when_it_can_t_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with working() as scene:

        def fail(*_: object) -> bool:
            raise RuntimeError("nothing can be counted any more")

        monkeypatch.setattr(Reports, "send", fail)
        with pytest.raises(RuntimeError):  # the last report fails as well
            await scene.exit_code()
    assert "RuntimeError: nothing can be counted any more" in capsys.readouterr().err


async def test_it_ends_when_it_can_t_obey(capsys: pytest.CaptureFixture[str]) -> None:
    async with working() as scene:
        scene.control.link.send(Kind.SNAPSHOT, 2, "no configuration")
        assert await scene.exit_code() == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", scene.port)).close()
    assert "TypeError" in capsys.readouterr().err


async def test_it_ends_when_it_can_t_attach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with working() as scene:

        async def fail(_: Link, end: socket.socket) -> None:
            end.close()
            raise OSError("no descriptor left")

        monkeypatch.setattr(Link, "open", fail)
        here, there = socket.socketpair()
        with here, there:
            scene.leash.send({"attach": 1}, there)
            assert await scene.exit_code() == 1
    assert "OSError: no descriptor left" in capsys.readouterr().err


async def test_one_that_lost_its_link_is_told_to_the_supervisor() -> None:
    """It may live, and would then serve by a configuration that nobody changes any more."""
    async with attached() as scene:
        listening = [scene.fleet.is_listening]
        scene.worker.link.close()
        leash = scene.leash.socket
        told = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(leash, 1_000), PATIENCE)
        assert json.loads(told) == {"detached": PID}
        assert [*listening, scene.fleet.is_listening] == [True, False]
