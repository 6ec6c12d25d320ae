"""The counters of keys and services in the database: added up, by whoever writes."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from microgateway.persistence.database import Database, DatabaseUnavailableError
from microgateway.persistence.repository import Repository
from microgateway.persistence.usage_store import KeyUsageRow, RouteUsageRow, ServiceUsageRow, UsageStore
from tests.kit.configuration import route, service

MONDAY, TUESDAY = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)


async def test_what_two_gateways_write_adds_up(database: Database, repository: Repository) -> None:
    await repository.services.add(service("http://127.0.0.1:9000", "svc"))
    one, other = UsageStore(database), UsageStore(database)
    await one.add([KeyUsageRow("a", 5, 1, MONDAY), KeyUsageRow("b", 1, 0, None)], [ServiceUsageRow("svc", 4, 2)])
    await other.add([KeyUsageRow("a", 2, 1, TUESDAY)], [ServiceUsageRow("svc", 1, 0)])
    await one.add([KeyUsageRow("a", 0, 0, None)], [])
    keys, services, _ = await one.load()
    assert sorted(keys, key=lambda row: row.key_id) == [KeyUsageRow("a", 7, 2, TUESDAY), KeyUsageRow("b", 1, 0, None)]
    assert services == [ServiceUsageRow("svc", 5, 2)]


async def test_a_later_hit_of_a_route_takes_the_place_of_an_earlier_one(
    database: Database, repository: Repository
) -> None:
    await repository.services.add(service("http://127.0.0.1:9000", "svc"))
    for path in ("/a", "/b"):
        await repository.routes.add(route(path, service_id="svc"))
    store = UsageStore(database)
    await store.add([], [], [RouteUsageRow("route /a", MONDAY), RouteUsageRow("route /b", MONDAY)])
    await store.add([], [], [RouteUsageRow("route /a", TUESDAY)])
    routes = (await store.load())[2]
    assert sorted(routes, key=lambda row: row.route_id) == [
        RouteUsageRow("route /a", TUESDAY),
        RouteUsageRow("route /b", MONDAY),
    ]


async def test_a_service_or_a_route_that_is_gone_is_forgotten(database: Database) -> None:
    store = UsageStore(database)
    await store.add([], [ServiceUsageRow("gone", 4, 2)], [RouteUsageRow("gone", MONDAY)])
    assert await store.load() == ([], [], [])


async def test_more_than_any_integer_of_32_bits(database: Database) -> None:
    store = UsageStore(database)
    for _ in range(2):
        await store.add([KeyUsageRow("a", 2**40, 0, None)], [])
    assert (await store.load())[0] == [KeyUsageRow("a", 2**41, 0, None)]


async def test_all_of_it_or_nothing(database: Database) -> None:
    async with database.writing.begin() as connection:
        await connection.execute(text("ALTER TABLE service_usage RENAME TO elsewhere"))
    store = UsageStore(database)
    with pytest.raises(Exception) as caught:  # noqa: PT011  each driver has its own for a table that is missing
        await store.add([KeyUsageRow("a", 1, 0, None)], [ServiceUsageRow("svc", 1, 0)])
    assert isinstance(caught.value, DatabaseUnavailableError) or "service_usage" in str(caught.value)
    async with database.writing.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO service_usage"))
    assert await store.load() == ([], [], [])
