"""One suite over every database engine: what is put in comes out, and what may not be is refused."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from microgateway.core import api_keys
from microgateway.entities import (
    ApiKey,
    CircuitSpec,
    HealthCheckSpec,
    PassiveHealthSpec,
    Route,
    Service,
    TargetSpec,
)
from microgateway.errors import ConfigurationError, ConflictError, NotFoundError
from microgateway.persistence.database import Database
from microgateway.persistence.entity_table import ROWS_AT_A_TIME, UnreadableRowError
from microgateway.persistence.repository import Repository
from microgateway.snapshot import Snapshot

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def service(name: str = "users", **fields: object) -> Service:
    document = {
        "id": f"svc_{name}",
        "name": name,
        "base_url": "http://127.0.0.1:9000",
        "created_at": WHEN,
        "updated_at": WHEN,
    }
    return Service.model_validate(document | fields)


def route(number: int = 1, service_id: str = "svc_users", **fields: object) -> Route:
    document = {
        "id": f"rt_{number}",
        "path": f"/r{number}",
        "service_id": service_id,
        "created_at": WHEN,
        "updated_at": WHEN,
    }
    return Route.model_validate(document | fields)


def key(number: int = 1, **fields: object) -> ApiKey:
    document = {
        "id": f"key_{number}",
        "name": f"key {number}",
        "requests_per_minute": 60,
        "burst_size": 10,
        "key_prefix": "mgw_live_abcdef",
        "key_hash": api_keys.digest(b"%d" % number),
        "created_at": WHEN,
    }
    return ApiKey.model_validate(document | fields)


IN_USE = ConflictError("in use", field="routes")


class TestRoundTrip:
    async def test_a_service_with_everything(self, repository: Repository) -> None:
        written = service(
            name="Größe 日本 'quoted\"",
            id="svc_1",
            base_url="https://[::1]:8443/a",
            targets=[TargetSpec(url="http://10.0.0.1", weight=3), TargetSpec(url="http://10.0.0.2")],
            health_check_path="/up",
            enabled=False,
            preserve_host=True,
            connect_timeout_seconds=0.1,
            read_timeout_seconds=1 / 3,
            circuit_breaker=CircuitSpec(failure_threshold=7, recovery_timeout=0.25, failure_statuses=[429, "5xx"]),
            load_balancing="consistent_hash",
            hash_on="header",
            hash_header="x-tenant",
            health_check=HealthCheckSpec(interval_seconds=2.5, expected_statuses=[204, "300-399"]),
            passive_health=PassiveHealthSpec(largest_share=0.25),
            when_unhealthy="fail",
        )
        await repository.services.add(written)
        assert await repository.services.get("svc_1") == written

    async def test_a_route_with_everything(self, repository: Repository) -> None:
        await repository.services.add(service())
        written = route(
            path="/users/{id}",
            hosts=["*.example.com", "[::1]"],
            methods=["GET", "PROPFIND"],
            strip_prefix=True,
            priority=-5,
            timeout_seconds=1.5,
            retries=3,
            enabled=False,
            auth="none",
            forward_credentials=True,
        )
        await repository.routes.add(written)
        assert await repository.routes.get("rt_1") == written

    async def test_a_key_with_everything(self, repository: Repository) -> None:
        written = key(
            owner="Ada", team="core", expires_at=WHEN, revoked_at=WHEN, enabled=False, burst_size=1_000_000_000
        )
        await repository.keys.add(written)
        read = await repository.keys.get("key_1")
        assert read == written
        assert read.expires_at is not None
        assert read.expires_at.utcoffset() is not None

    async def test_the_longest_path_there_is(self, repository: Repository) -> None:
        longest = "/" + "é" * 341 + "a"  # 2 048 characters with percent signs
        await repository.services.add(service(base_url="http://a/" + "é" * 339, health_check_path=longest))
        written = route(path=longest)
        await repository.routes.add(written)
        assert await repository.routes.get("rt_1") == written


class TestWriting:
    async def test_a_name_that_is_taken(self, repository: Repository) -> None:
        await repository.services.add(service("users"))
        await repository.services.add(service("orders"))
        with pytest.raises(ConflictError, match="'users'") as caught:
            await repository.services.add(service("users", id="svc_2"))
        assert caught.value.field == "name"
        with pytest.raises(ConflictError, match="'users'"):
            await repository.services.replace("svc_orders", service("users", id="svc_orders"))
        assert [item.name for item in (await repository.services.list(limit=9)).items] == ["users", "orders"]

    async def test_of_many_at_once_one_gets_the_name(self, repository: Repository) -> None:
        wanted = [repository.services.add(service("users", id=f"svc_{number}")) for number in range(8)]
        outcomes = await asyncio.gather(*wanted, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * 7 + ["NoneType"]

    async def test_a_route_needs_its_service(self, repository: Repository) -> None:
        with pytest.raises(ConfigurationError, match="'svc_users'") as caught:
            await repository.routes.add(route())
        assert caught.value.field == "service_id"
        await repository.services.add(service())
        await repository.routes.add(route())
        with pytest.raises(ConfigurationError, match="'svc_gone'"):
            await repository.routes.replace("rt_1", route(service_id="svc_gone"))

    async def test_a_service_is_held_by_its_routes(self, repository: Repository) -> None:
        await repository.services.add(service())
        await repository.routes.add(route())
        with pytest.raises(ConflictError, match="in use"):
            await repository.services.delete("svc_users", in_use=IN_USE)
        await repository.routes.delete("rt_1")
        await repository.services.delete("svc_users", in_use=IN_USE)
        with pytest.raises(NotFoundError):
            await repository.services.get("svc_users")

    async def test_a_key_s_text_is_one_key_s(self, repository: Repository) -> None:
        await repository.keys.add(key(1))
        with pytest.raises(ConflictError) as caught:
            await repository.keys.add(key(2, key_hash=key(1).key_hash))
        assert caught.value.field == "key"

    async def test_replacing_changes_that_row_alone(self, repository: Repository) -> None:
        for number in range(3):
            await repository.keys.add(key(number))
        await repository.keys.replace("key_1", key(1, name="renamed", revoked_at=WHEN))
        page = await repository.keys.list(limit=9)
        assert [item.name for item in page.items] == ["key 0", "renamed", "key 2"]
        assert [item.is_revoked() for item in page.items] == [False, True, False]

    async def test_what_is_not_there(self, repository: Repository) -> None:
        with pytest.raises(NotFoundError, match=r"no key with the id 'key_1'"):
            await repository.keys.get("key_1")
        with pytest.raises(NotFoundError):
            await repository.keys.replace("key_1", key(1))
        with pytest.raises(NotFoundError):
            await repository.routes.delete("rt_1")


class TestLists:
    async def test_pages_are_in_the_order_of_creation(self, repository: Repository) -> None:
        for number in (5, 3, 9, 1):
            await repository.keys.add(key(number))
        page = await repository.keys.list(limit=2, offset=1)
        assert ([item.id for item in page.items], page.total) == (["key_3", "key_9"], 4)

    async def test_filters_count_too(self, repository: Repository) -> None:
        for number in range(6):
            await repository.keys.add(key(number, team="edge" if number % 2 else "core"))
        page = await repository.keys.list(limit=2, team="edge", owner=None)
        assert ([item.id for item in page.items], page.total) == (["key_1", "key_3"], 3)


class TestEverything:
    async def test_all_or_nothing(self, repository: Repository) -> None:
        assert await repository.is_empty()
        with pytest.raises(ConflictError):
            await repository.add_everything([service()], [route()], [key(1), key(1, id="key_2")])
        assert await repository.is_empty()
        await repository.add_everything([service()], [route()], [key(1)])
        assert not await repository.is_empty()

    async def test_twenty_thousand_keys_are_written_and_read_quickly(self, repository: Repository) -> None:
        """Timed as a guard against loading row by row, with room for a slow machine: it takes about a second."""
        many = [key(number, key_hash=secrets.token_bytes(32)) for number in range(20_000)]
        began = time.perf_counter()
        await repository.add_everything([], [], many)
        snapshot = await repository.keys.fold(Snapshot().with_keys)
        assert time.perf_counter() - began < 60
        assert len(snapshot.keys) == 20_000

    async def test_reading_everything_holds_few_rows_and_lets_others_run(self, repository: Repository) -> None:
        await repository.add_everything([], [], [key(number) for number in range(3 * ROWS_AT_A_TIME)])
        turns = [0]
        read_at: list[int] = []

        async def count_turns() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        def note(keys: Iterable[ApiKey]) -> None:
            read_at.extend(turns[0] for _ in keys)

        others = asyncio.create_task(count_turns())
        await repository.keys.fold(note)
        others.cancel()
        assert len(read_at) == 3 * ROWS_AT_A_TIME
        assert len(set(read_at)) >= 3  # at least as many pauses as batches


class TestFaults:
    async def test_a_row_that_makes_no_sense_names_itself(self, repository: Repository, database: Database) -> None:
        await repository.services.add(service())
        async with database.writing.begin() as connection:
            await connection.execute(text("UPDATE services SET base_url = 'gopher://a'"))
        with pytest.raises(
            UnreadableRowError, match=r"^The service 'svc_users' in the database makes no sense: base_url: "
        ):
            await repository.services.fold(list)
