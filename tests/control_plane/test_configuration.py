"""Database, memory and what is in force: one thing, whatever happens in between."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from microgateway.control_plane.configuration import Configuration
from microgateway.entities import ApiKeySpec, RateLimitRule, RateLimitRuleSpec, Route, RouteSpec, ServiceSpec
from microgateway.errors import ConflictError, StartupError
from microgateway.observability.happenings import Change
from microgateway.persistence.database import Database, DatabaseUnavailableError, locate_database
from microgateway.snapshot import Destination, Snapshot
from tests.control_plane.control import Control, make_configuration

NOWHERE = "http://127.0.0.1:9000"
USERS = ServiceSpec(name="users", base_url=NOWHERE)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    database = Database(locate_database(None, folder))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def reloaded(database: Database) -> Snapshot:
    """What a gateway that starts now would put in force."""
    published: list[Snapshot] = []

    async def publish(snapshot: Snapshot, change: object) -> None:
        published.append(snapshot)

    await make_configuration(database, publish).load()
    return published[-1]


async def test_what_many_changes_have_led_to_is_what_is_loaded(folder: Path) -> None:
    """Each has compiled what it changed only; the load compiles everything."""
    dice, published = Random(20_261_126), [Snapshot()]

    async def publish(snapshot: Snapshot, change: object) -> None:
        published.append(snapshot)

    async with opened(folder) as database:
        configuration = make_configuration(database, publish)
        services = [await configuration.create_service(ServiceSpec(name=name, base_url=NOWHERE)) for name in "ab"]
        routes: list[Route] = []
        rules: list[RateLimitRule] = []
        for number in range(60):
            spec: dict[str, Any] = {"path": f"/{dice.choice('ab')}", "service_id": dice.choice(services).id}
            limit = {"name": f"r{number}", "count_by": "all", "requests_per_minute": 60, "burst_size": 9}
            what = dice.choice(["add", "add", "add", "merge", "merge", "off", "drop", "rule", "service"])
            if what == "add" or not routes:
                routes.append(await configuration.create_route(RouteSpec.model_validate(spec)))
            elif what == "merge":
                await configuration.merge_route(dice.choice(routes).id, spec | {"retries": number % 5})
            elif what == "off":
                await configuration.merge_route(dice.choice(routes).id, {"enabled": dice.random() < 0.5})
            elif what == "drop":
                await configuration.delete_route(routes.pop(dice.randrange(len(routes))).id)
            elif what == "service":
                await configuration.merge_service(dice.choice(services).id, {"enabled": dice.random() < 0.5})
            elif len(rules) > 2:
                await configuration.delete_rate_limit(rules.pop(0).id)
            else:
                rules.append(await configuration.create_rate_limit(RateLimitRuleSpec.model_validate(limit)))
        assert told(published[-1]) == told(await reloaded(database))
        assert published[-1].version == len(published)  # every change has led to the next version


def told(snapshot: Snapshot) -> list[Any]:
    """Which route takes what, in which order they are asked, where they lead, and which rules apply."""
    found: list[Any] = [dict(snapshot.upstreams), list(snapshot.limits)]
    for path in (b"/a", b"/b", b"/c"):
        match = snapshot.match(b"GET", b"a.example", path)
        found.append([rule.target.id for rule in snapshot.routes.rules_on(path)])
        if isinstance(match, Destination):
            rules = match.rules and [rule.id for rule in match.rules.others]
            found.append((match.id, match.upstream, rules))
    return found


class Brake:
    """A publisher that stops at the next snapshot until it is let go."""

    def __init__(self) -> None:
        self.in_force = Snapshot()
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def publish(self, snapshot: Snapshot, change: object) -> None:
        self.reached.set()
        await self.let_go.wait()
        self.in_force = snapshot

    def pull(self) -> None:
        self.reached.clear()
        self.let_go.clear()


class TestPublishing:
    async def test_loading_publishes_what_is_there(self, control: Control) -> None:
        assert [len(snapshot.keys) for snapshot in control.published] == [0]
        assert control.configuration.snapshot is control.published[-1]

    async def test_versions_only_grow(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        await control.key()
        versions = [snapshot.version for snapshot in control.published]
        assert versions == sorted(set(versions))
        assert len(versions) == 4

    async def test_a_change_of_a_key_leaves_the_compiled_routes_alone(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        before = control.published[-1]
        key = await control.key()
        await control.patch(f"/api/keys/{key['id']}", {"burst_size": 3})
        await control.delete(f"/api/keys/{key['id']}")
        after = control.published[-1]
        assert after.version == before.version + 3
        assert after.routes is before.routes
        assert after.upstreams is before.upstreams

    async def test_a_change_of_a_route_leaves_the_keys_alone(self, control: Control) -> None:
        await control.key()
        before = control.published[-1]
        service = await control.service()
        await control.route(service["id"])
        assert control.published[-1].keys is before.keys

    async def test_a_call_returns_when_its_change_is_in_force(self, folder: Path) -> None:
        async with opened(folder) as database:
            brake = Brake()
            configuration = make_configuration(database, brake.publish)
            brake.pull()
            creating = asyncio.create_task(configuration.create_service(USERS))
            await brake.reached.wait()
            assert not creating.done()
            brake.let_go.set()
            service = await creating
            assert service.id in brake.in_force.upstreams

    async def test_nothing_is_published_for_a_change_that_is_refused(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        count = len(control.published)
        await control.post("/api/services", {"name": "users", "base_url": "http://127.0.0.1"}, 409)
        await control.post("/api/routes", {"path": "/a", "service_id": "nobody"}, 422)
        await control.patch(f"/api/services/{service['id']}", {"base_url": None}, 422)
        await control.delete(f"/api/services/{service['id']}", 409)
        await control.delete("/api/keys/key_0000000000000000", 404)
        assert len(control.published) == count


class TestConcurrency:
    async def test_changes_do_not_overtake_each_other(self, control: Control) -> None:
        service = await control.service()
        bodies = [{"path": f"/r{number}", "service_id": service["id"]} for number in range(10)]
        wanted = [control.client.post("/api/routes", json=body) for body in bodies]
        wanted += [control.client.post("/api/keys", json={"name": f"k{number}"}) for number in range(10)]
        answers = await asyncio.gather(*wanted)
        assert {answer.status_code for answer in answers} == {201}
        versions = [snapshot.version for snapshot in control.published]
        assert versions == sorted(versions)
        last = control.published[-1]
        assert len(last.keys) == 10
        again = await reloaded(control.database)
        for body in bodies:
            path = str(body["path"]).encode()
            assert getattr(last.match(b"GET", b"", path), "id", None) is not None
            assert getattr(again.match(b"GET", b"", path), "id", None) is not None

    async def test_who_stops_waiting_does_not_stop_the_change(self, folder: Path) -> None:
        async with opened(folder) as database:
            brake = Brake()
            configuration = make_configuration(database, brake.publish)
            brake.pull()
            creating = asyncio.create_task(configuration.create_service(USERS))
            await brake.reached.wait()  # written, and not yet in force
            creating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await creating
            brake.let_go.set()
            await configuration.settle()
            (upstream,) = brake.in_force.upstreams.values()
            assert upstream.name == "users"
            assert (await reloaded(database)).upstreams == brake.in_force.upstreams

    async def test_who_stops_waiting_in_the_queue_is_served_too(self, folder: Path) -> None:
        async with opened(folder) as database:
            brake = Brake()
            configuration = make_configuration(database, brake.publish)
            brake.pull()
            first = asyncio.create_task(configuration.create_service(USERS))
            await brake.reached.wait()
            second = asyncio.create_task(configuration.create_key(ApiKeySpec(name="demo")))
            await asyncio.sleep(0)  # so that it has asked
            second.cancel()
            brake.let_go.set()
            await first
            await configuration.settle()
            assert len(brake.in_force.keys) == 1

    async def test_a_mistake_is_told_where_nobody_waits_any_more(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(folder) as database:
            reached, let_go = asyncio.Event(), asyncio.Event()

            async def publish(snapshot: Snapshot, change: object) -> None:
                reached.set()
                await let_go.wait()
                raise ZeroDivisionError

            configuration = make_configuration(database, publish)
            creating = asyncio.create_task(configuration.create_service(USERS))
            await reached.wait()
            creating.cancel()
            await asyncio.wait([creating])
            let_go.set()
            await configuration.settle()
            await asyncio.sleep(0)  # what is called when a task is done is called in the loop's next turn
            (record,) = caplog.records
            assert record.message.startswith("create_service failed")


class TestFailures:
    async def test_publishing_that_fails_leaves_the_change_to_the_next_snapshot(self, folder: Path) -> None:
        async with opened(folder) as database:
            published: list[Snapshot] = []
            faults = [OSError("a worker is gone")]

            async def publish(snapshot: Snapshot, change: object) -> None:
                if faults:
                    raise faults.pop()
                published.append(snapshot)

            configuration = make_configuration(database, publish)
            with pytest.raises(OSError, match="a worker is gone"):
                await configuration.create_service(USERS)
            await configuration.create_key(ApiKeySpec(name="demo"))
            (upstream,) = published[-1].upstreams.values()
            assert upstream.name == "users"

    async def test_a_write_that_fails_publishes_nothing(self, control: Control, folder: Path) -> None:
        await control.service()
        count = len(control.published)
        break_table(folder, "api_keys")
        problem = await control.post("/api/keys", {"name": "demo"}, 503)
        assert problem["code"] == "database_unavailable"
        assert len(control.published) == count
        assert (await control.get("/api/keys", 503))["code"] == "database_unavailable"
        mend_table(folder, "api_keys")
        await control.key()
        assert len(control.published[-1].keys) == 1

    async def test_after_a_write_without_an_answer_the_database_is_read_again(
        self, control: Control, folder: Path
    ) -> None:
        """It may have been done. Here it was: somebody adds what the gateway could not be told of."""
        break_table(folder, "services")
        await control.post("/api/services", {"name": "users", "base_url": "http://127.0.0.1"}, 503)
        mend_table(folder, "services")
        other = make_configuration(control.database, ignore)
        service = await other.create_service(USERS)
        await control.key()
        assert list(control.published[-1].upstreams) == [service.id]

    async def test_a_route_of_another_node_holds_its_service(self, folder: Path) -> None:
        async with opened(folder) as database:
            one, other = (make_configuration(database, ignore) for _ in range(2))
            service = await one.create_service(USERS)
            await other.load()
            await other.create_route(RouteSpec(path="/users", service_id=service.id))
            with pytest.raises(ConflictError, match="still used by routes or rate limit rules"):
                await one.delete_service(service.id)

    async def test_a_configuration_that_cannot_be_read_stops_the_start(self, folder: Path) -> None:
        async with opened(folder) as database:
            await make_configuration(database, ignore).create_service(USERS)
            execute(folder, "UPDATE services SET base_url = 'nonsense'")
            with pytest.raises(StartupError, match=r"^the configuration can't be loaded: The service 'svc_.*base_url"):
                await make_configuration(database, ignore).load()
            break_table(folder, "routes")
            with pytest.raises(StartupError, match="can't be loaded"):
                await make_configuration(database, ignore).load()

    async def test_a_failing_database_is_named_by_its_error(self, folder: Path) -> None:
        async with opened(folder) as database:
            configuration: Configuration = make_configuration(database, ignore)
            break_table(folder, "services")
            with pytest.raises(DatabaseUnavailableError):
                await configuration.create_service(USERS)
            assert configuration.services == {}


async def ignore(snapshot: Snapshot, change: object) -> None:
    """Publishes to nobody."""


def break_table(folder: Path, table: str) -> None:
    """Has the database fail for real, where that table is needed."""
    execute(folder, f"ALTER TABLE {table} RENAME TO {table}_away")


def mend_table(folder: Path, table: str) -> None:
    execute(folder, f"ALTER TABLE {table}_away RENAME TO {table}")


def execute(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "microgateway.db") as connection:
        connection.execute(statement)
    connection.close()


async def test_every_change_is_told_and_nothing_else(control: Control) -> None:
    service = await control.service()
    route = await control.route(service["id"])
    key = await control.key()
    await control.patch(f"/api/services/{service['id']}", {"enabled": False})
    await control.get("/api/services")
    await control.post("/api/services", {"name": "users", "base_url": "http://127.0.0.1:9000"}, 409)
    await control.delete(f"/api/routes/{route['id']}")
    await control.delete(f"/api/keys/{key['id']}")
    await control.delete(f"/api/keys/{key['id']}")  # it is revoked already
    told = [(change.result, change.action, change.kind, change.id) for change in control.changes]
    assert told == [
        ("applied", "load", "configuration", ""),
        ("applied", "create", "service", service["id"]),
        ("applied", "create", "route", route["id"]),
        ("applied", "create", "key", key["id"]),
        ("applied", "revise", "service", service["id"]),
        ("applied", "delete", "route", route["id"]),
        ("applied", "revoke", "key", key["id"]),
    ]
    versions = [change.version for change in control.changes]
    assert versions == sorted(set(versions))
    assert versions[-1] == control.published[-1].version


async def test_a_change_that_the_database_refuses_is_told_as_failed(folder: Path) -> None:
    changes: list[Change] = []
    async with opened(folder) as database:
        configuration = make_configuration(database, ignore, told=changes.append)
        break_table(folder, "services")
        with pytest.raises(DatabaseUnavailableError):
            await configuration.create_service(USERS)
    assert changes == [Change("failed", 0, "create", "service", "")]
