"""A change goes to workers as a change, and never onto another configuration than the one that it was taken from."""

import asyncio
import gc
import pickle

from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import Route
from microgateway.process.link import Kind
from microgateway.snapshot import Snapshot, SnapshotChange, change_of_route, change_of_service
from tests.kit.configuration import key, route, service
from tests.kit.waiting import PATIENCE
from tests.process.attached import Attached, attached
from tests.process.working import working

NOWHERE = service("http://127.0.0.1:1")
ISSUED = key()


def town(*paths: str) -> Snapshot:
    routes = [route(path) for path in paths]
    return Snapshot().with_keys([ISSUED.entity]).with_table([NOWHERE], routes, CircuitPolicy())


def adding(path: str, age: int) -> SnapshotChange:
    return change_of_route(None, route(path), age)


async def status(port: int, path: str) -> int:
    """502 where a route takes it, since its service is nowhere; 401 where none does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %b HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n" % path.encode())
    line = await asyncio.wait_for(reader.readline(), PATIENCE)
    writer.close()
    return int(line.split()[1])


class TestWorker:
    async def test_takes_a_change_of_what_it_has(self) -> None:
        async with working(town("/a")) as scene:
            assert [await status(scene.port, path) for path in ("/a", "/b")] == [502, 401]
            scene.control.link.send(Kind.CHANGE, 2, adding("/b", 1))
            await scene.control.has_told(Kind.APPLIED, 2)
            assert [await status(scene.port, path) for path in ("/a", "/b")] == [502, 502]
            off = NOWHERE.model_copy(update={"enabled": False})
            scene.control.link.send(Kind.CHANGE, 3, change_of_service(off, CircuitPolicy()))
            await scene.control.has_told(Kind.APPLIED, 3)
            assert [await status(scene.port, path) for path in ("/a", "/b")] == [503, 503]

    async def test_keeps_a_whole_configuration_from_the_collector(self) -> None:
        """It would hold requests up, at any later moment, to look at what does not go away."""
        async with working(town("/a")) as scene:
            before = gc.get_freeze_count()
            whole = town(*(f"/r{number}" for number in range(200))).without_keys()
            scene.control.link.send(Kind.SNAPSHOT, 2, whole)
            await scene.control.has_told(Kind.APPLIED, 2)
            scene.control.link.send(Kind.CHANGE, 3, adding("/last", 200))
            await scene.control.has_told(Kind.APPLIED, 3)
            assert gc.get_freeze_count() - before > 10 * 200

    async def test_that_has_missed_one_asks_for_the_whole_once(self) -> None:
        async with working(town("/a")) as scene:
            link = scene.control.link
            link.send(Kind.CHANGE, 3, adding("/c", 2))  # what was 2 is lost
            link.send(Kind.CHANGE, 4, adding("/d", 3))
            await scene.control.has_told(Kind.BEHIND)
            assert [await status(scene.port, path) for path in ("/a", "/c", "/d")] == [502, 401, 401]
            link.send(Kind.SNAPSHOT, 4, town("/b", "/c", "/d").without_keys())
            link.send(Kind.CHANGE, 5, adding("/e", 4))
            await scene.control.has_told(Kind.APPLIED, 5)
            assert [await status(scene.port, path) for path in ("/a", "/b", "/d", "/e")] == [401, 502, 502, 502]
            assert [message[0] for message in scene.control.told].count(Kind.BEHIND) == 1


async def publishing(scene: Attached, before: Snapshot, change: SnapshotChange) -> "asyncio.Task[None]":
    """A change of this configuration, under way, with all that it sends at once sent."""
    scene.worker.told.clear()
    change = change._replace(between=(before.version, before.version + 1))
    task = asyncio.create_task(scene.fleet.publish(before.with_change(change), change))
    await asyncio.sleep(0)
    return task


class TestFleet:
    async def test_tells_who_attaches_all_of_it(self) -> None:
        async with attached(town("/a", "/b")) as scene:
            _, version, whole = await scene.worker.has_told(Kind.SNAPSHOT)
            assert (version, len(list(whole.routes.rules()))) == (2, 2)
            (_, keys) = await scene.worker.has_told(Kind.KEYS)
            assert list(keys.by_id) == [ISSUED.entity.id]

    async def test_sends_a_change_and_waits_until_it_is_in_force(self) -> None:
        before = town("/a")
        change = adding("/b", 1)
        async with attached(before) as scene:
            under_way = await publishing(scene, before, change)
            _, version, sent = await scene.worker.has_told(Kind.CHANGE)
            assert (version, [rule.target.path for rule in sent.routes]) == (3, ["/b"])
            assert not under_way.done()
            scene.worker.link.send(Kind.APPLIED, 3)
            await asyncio.wait_for(under_way, PATIENCE)

    async def test_sends_all_of_it_to_a_worker_that_is_behind(self) -> None:
        before, change = town("/a"), adding("/b", 1)
        async with attached(before) as scene:
            under_way = await publishing(scene, before, change)
            await scene.worker.has_told(Kind.CHANGE)
            scene.worker.link.send(Kind.BEHIND)
            _, version, whole = await scene.worker.has_told(Kind.SNAPSHOT)
            assert (version, len(list(whole.routes.rules()))) == (3, 2)
            assert not under_way.done()
            scene.worker.link.send(Kind.APPLIED, 3)
            await asyncio.wait_for(under_way, PATIENCE)

    async def test_sends_all_of_it_where_a_change_was_taken_from_another_one(self) -> None:
        """As when publishing the one between has failed."""
        before = town("/a")
        missed = before.with_change(adding("/b", 1))
        change = adding("/c", 2)
        async with attached(before) as scene:
            under_way = await publishing(scene, missed, change)
            _, _, whole = await scene.worker.has_told(Kind.SNAPSHOT)
            assert {rule.target.path for rule in whole.routes.rules()} == {"/a", "/b", "/c"}
            scene.worker.link.send(Kind.APPLIED, 3)
            await asyncio.wait_for(under_way, PATIENCE)


def test_a_change_is_small_however_much_there_is() -> None:
    def size(change: SnapshotChange) -> int:
        return len(pickle.dumps(change))

    routes: list[Route] = [route(f"/r{number}") for number in range(2_000)]
    large = Snapshot().with_table([NOWHERE], routes, CircuitPolicy())
    assert size(change_of_route(routes[5], routes[5], 5)) < 2_000
    assert size(change_of_service(NOWHERE, CircuitPolicy())) < 4_000
    assert len(pickle.dumps(large.without_keys())) > 200_000
