"""A worker that is broken inside does not serve on as if nothing were: it tells why, drains, and ends with 1."""

import asyncio
import json
import socket

import pytest

from microgateway.process.fleet import Fleet, FleetEnds
from microgateway.process.leash import Leash
from microgateway.process.link import Kind, Link
from microgateway.process.shared_state import SharedState
from microgateway.process.worker import Reports
from microgateway.process.worker_messages import WorkerSetup
from microgateway.settings import Settings
from tests.kit.waiting import PATIENCE
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
    state, (ours, theirs) = SharedState.create(), Leash.pair()
    fleet = Fleet(
        FleetEnds(leash=Leash(theirs), state=state, workers=1, proxy_port=0, ears=()),
        setup=WorkerSetup(Settings(), "s" * 32, writes=False),
        count=lambda report: None,
        hear=lambda event: None,
        show=lambda rows: None,
        checks=lambda: (),
        ejections=lambda: (),
        eject=lambda ejection: False,
    )
    here, there = socket.socketpair()
    ours.send({"attach": 1}, there)
    there.close()
    worker = Link(lambda message: None, lambda: None)
    await worker.open(here)
    worker.send(Kind.HELLO, 4_711)
    worker.send(Kind.APPLIED, 1)
    await fleet.start("", 0)
    listening = [fleet.is_listening]
    worker.close()
    told = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours.socket, 1_000), PATIENCE)
    assert json.loads(told) == {"detached": 4_711}
    assert [*listening, fleet.is_listening] == [True, False]
    asyncio.get_running_loop().remove_reader(theirs.fileno())
    ours.close()
    theirs.close()
    state.close()
