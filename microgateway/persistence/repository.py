"""What is configured, as it is kept: services, routes, rate limit rules, API keys and token issuers."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError

from microgateway.entities import ApiKey, RateLimitRule, Route, Service, TokenIssuer
from microgateway.errors import ConfigurationError, ConflictError, MicroGatewayError
from microgateway.persistence import tables
from microgateway.persistence.configuration_history import (
    EVERYTHING,
    RESTORE,
    ConfigurationHistory,
    HistoryBounds,
    Journal,
    packed_json,
)
from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.entity_table import EntityTable
from microgateway.persistence.putting_back import PutBack, put_back

E = TypeVar("E", bound=BaseModel)


class Repository:
    """The tables of one database, which the caller opens and closes."""

    def __init__(self, database: Database, *, history: HistoryBounds | None = None) -> None:
        self._database = database
        self.history = ConfigurationHistory(database, keep=history or HistoryBounds())
        self.services = self._kept(tables.services, Service, "service", _name_taken)
        self.routes = self._kept(tables.routes, Route, "route", _no_such_service)
        self.rate_limits = self._kept(
            tables.rate_limit_rules, RateLimitRule, "rate_limit", _no_such_place, called="rate limit rule"
        )
        self.keys = self._kept(tables.api_keys, ApiKey, "key", _key_known)
        self.token_issuers = self._kept(
            tables.token_issuers, TokenIssuer, "token_issuer", _issuer_known, called="token issuer"
        )
        self._tables: dict[str, EntityTable[Any]] = {
            "service": self.services,
            "route": self.routes,
            "rate_limit": self.rate_limits,
            "key": self.keys,
            "token_issuer": self.token_issuers,
        }

    def table(self, kind: str) -> EntityTable[Any]:
        """That of a kind, as the history calls it."""
        return self._tables[kind]

    async def is_empty(self) -> bool:
        """Whether nothing at all is configured."""
        return not any([await table.count() for table in self._tables.values()])

    async def add_everything(
        self,
        services: Iterable[Service],
        routes: Iterable[Route],
        keys: Iterable[ApiKey],
        rate_limits: Iterable[RateLimitRule] = (),
    ) -> None:
        """All of it, or nothing, where there was nothing. Raises `ConflictError` for a name or key that comes twice."""
        with translated_errors():
            try:
                async with self._database.writing.begin() as connection:
                    await self.services.add_all(services, connection)
                    await self.routes.add_all(routes, connection)
                    await self.keys.add_all(keys, connection)
                    await self.rate_limits.add_all(rate_limits, connection)
                    await self.history.note(connection, "seed", EVERYTHING)
                self.history.committed()
            except IntegrityError as error:
                raise ConflictError("A service's name or a key's text is there twice.", field="services") from error

    async def restore(self, version: int, changes: Iterable[PutBack]) -> None:
        """All of these, or none, as one change that tells which version was restored.

        Raises `ConflictError` where somebody else's rows are in the way.
        """
        with translated_errors():
            try:
                async with self._database.writing.begin() as connection:
                    befores = await put_back(connection, tables.ENTITIES, changes)
                    packed = await asyncio.to_thread(packed_json, befores)
                    await self.history.note(connection, RESTORE, EVERYTHING, str(version), f"version {version}", packed)
                self.history.committed()
            except IntegrityError as error:
                raise ConflictError(
                    "The database holds something of which this gateway does not know, and which is in the way.",
                    field="version",
                ) from error

    async def ping(self) -> None:
        """Raises `DatabaseUnavailableError` when the database does not answer."""
        await self._database.ping()

    def _kept(
        self,
        table: Table,
        entity: type[E],
        kind: str,
        clash: Callable[[E], MicroGatewayError],
        *,
        called: str | None = None,
    ) -> EntityTable[E]:
        """The entities of one kind. `called` is what people call it, where that is something else."""
        return EntityTable(
            self._database,
            table,
            entity,
            kind=called or kind,
            clash=clash,
            journal=Journal(self.history, kind, table),
        )


def _name_taken(service: Service) -> ConflictError:
    return ConflictError(f"Another service has the name {service.name!r}.", field="name")


def _no_such_service(route: Route) -> ConfigurationError:
    return ConfigurationError(f"There is no service with the id {route.service_id!r}.", field="service_id")


def _no_such_place(rule: RateLimitRule) -> ConfigurationError:
    field = "route_id" if rule.route_id is not None else "service_id"
    return ConfigurationError("The route or the service that this rule names is not there.", field=field)


def _issuer_known(issuer: TokenIssuer) -> ConflictError:
    return ConflictError(f"Another token issuer is called {issuer.issuer!r}.", field="issuer")


def _key_known(key: ApiKey) -> ConflictError:
    return ConflictError(f"The text of the key {key.name!r} is another key's already.", field="key")
