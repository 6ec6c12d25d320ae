"""Rows put to what they were, on every engine: in whatever order, all of them or none, and as one change."""

from collections.abc import Sequence

import pytest

from microgateway.errors import ConflictError
from microgateway.persistence.configuration_history import FIRST, VersionNotKeptError
from microgateway.persistence.database import Database
from microgateway.persistence.entity_table import Placed
from microgateway.persistence.putting_back import PutBack
from microgateway.persistence.repository import Repository
from tests.kit.configuration import key, limit_rule, route, service

URL = "http://127.0.0.1:9000"


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database)


async def names(repository: Repository) -> dict[str, str]:
    return {one.id: one.name for one in await repository.services.fold(list)}


async def ids(repository: Repository) -> list[Sequence[str]]:
    """Of services, routes and rate limit rules, the oldest first."""
    tables = (repository.services, repository.routes, repository.rate_limits)
    return [[one.id for one in await table.fold(list)] for table in tables]


async def test_names_are_exchanged(repository: Repository) -> None:
    for name in ("one", "two"):
        await repository.services.add(service(URL, name))
    numbers = await repository.services.numbers()
    swapped = [service(URL, "one", name="two"), service(URL, "two", name="one")]
    await repository.restore(1, [PutBack("service", one.id, Placed(one, numbers[one.id])) for one in swapped])
    assert await names(repository) == {"one": "two", "two": "one"}


async def test_what_refers_to_others_comes_after_them_and_goes_before_them(repository: Repository) -> None:
    """And comes back to its old place, though another one may have its number."""
    await repository.services.add(service(URL, "old"))
    await repository.routes.add(route("/a", id="a", service_id="old"))
    await repository.routes.add(route("/b", id="b", service_id="old"))
    rule = limit_rule("rule", route_id="b")
    await repository.rate_limits.add(rule)
    then = [await table.placed() for table in (repository.services, repository.routes, repository.rate_limits)]
    was = await ids(repository)
    await repository.services.add(service(URL, "new", name="new"))
    await repository.rate_limits.replace("rule", rule.model_copy(update={"route_id": None}))
    await repository.routes.delete("a")
    await repository.routes.delete("b")
    await repository.services.delete("old")
    for one in "cd":
        await repository.routes.add(route(f"/{one}", id=one, service_id="new"))
    await repository.rate_limits.replace("rule", rule.model_copy(update={"route_id": "c"}))
    version = repository.history.version
    kinds = ("service", "route", "rate_limit")
    back = [PutBack(kind, one, placed[one]) for kind, placed in zip(kinds, then, strict=True) for one in placed]
    gone = [PutBack("service", "new", None), *(PutBack("route", one, None) for one in "cd")]
    await repository.restore(FIRST, [*gone, *reversed(back)])
    assert await ids(repository) == was
    assert (await repository.rate_limits.get("rule")).route_id == "b"
    assert await repository.routes.numbers() == {one: placed.number for one, placed in then[1].items()}
    assert repository.history.version > version
    parts = await repository.history.since(version)
    assert {(part.number, part.action) for part in parts} == {(parts[0].number, "restore")}
    assert {part.id: part.before is None for part in parts} == {
        **dict.fromkeys(["new", "c", "d", "rule"], False),
        **dict.fromkeys(["old", "a", "b"], True),
    }


async def test_of_what_is_refused_nothing_is_done(repository: Repository) -> None:
    for name in ("one", "two"):
        await repository.services.add(service(URL, name))
    version, before = repository.history.version, await names(repository)
    taken = Placed(service(URL, "one", name="two"), 1)
    with pytest.raises(ConflictError):
        await repository.restore(
            1, [PutBack("route", "r", Placed(route(service_id="two"), 1)), PutBack("service", "one", taken)]
        )
    assert await names(repository) == before
    assert await repository.routes.count() == 0
    assert repository.history.version == version
    assert await repository.history.since(version) == []


async def test_many_are_one_change_and_each_is_found_again(repository: Repository) -> None:
    """More than one statement takes."""
    await repository.services.add(service(URL))
    issued = key("mobile")
    await repository.keys.add(issued.entity)
    await repository.keys.replace("mobile", issued.entity.model_copy(update={"burst_size": 5}))
    changed = repository.history.version
    many = [
        PutBack("route", f"r{number}", Placed(route(f"/{number}", id=f"r{number}"), number)) for number in range(1, 701)
    ]
    numbers = await repository.keys.numbers()
    await repository.restore(2, [*many, PutBack("key", "mobile", Placed(issued.entity, numbers["mobile"]))])
    assert await repository.routes.count() == 700
    assert await repository.keys.get("mobile") == issued.entity
    change, later = await repository.history.get(changed)
    assert later is not None
    assert (change.version, later.action, later.id) == (changed, "restore", "mobile")
    assert later.before is not None
    assert repository.keys.of_columns(later.before).burst_size == 5
    (newest, *_), total = await repository.history.list(limit=10)
    assert (newest.action, newest.kind, newest.id, total) == ("restore", "configuration", "2", 4)
    whole, nothing = await repository.history.get(repository.history.version)
    assert (whole.action, nothing) == ("restore", None)
    await repository.restore(2, [PutBack("route", one.id, None) for one in many])
    assert await repository.routes.count() == 0


async def test_a_version_that_is_not_known_names_those_that_are(repository: Repository) -> None:
    await repository.services.add(service(URL))
    with pytest.raises(VersionNotKeptError, match="never was: those from 1 to"):
        await repository.history.since(99)
