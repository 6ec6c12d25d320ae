"""What is configured, as it is kept: services, routes, API keys and rate limit rules."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.exc import IntegrityError

from microgateway.entities import ApiKey, RateLimitRule, Route, Service, TokenIssuer
from microgateway.errors import ConfigurationError, ConflictError
from microgateway.persistence import tables
from microgateway.persistence.configuration_history import (
    EVERYTHING,
    ConfigurationHistory,
    HistoryBounds,
    Journal,
)
from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.entity_table import EntityTable


class Repository:
    """The tables of one database, which the caller opens and closes."""

    def __init__(self, database: Database, *, history: HistoryBounds | None = None) -> None:
        self._database = database
        self.history = ConfigurationHistory(database, keep=history or HistoryBounds())
        self.services = EntityTable(
            database,
            tables.services,
            Service,
            kind="service",
            clash=_name_taken,
            journal=Journal(self.history, "service", tables.services),
        )
        self.routes = EntityTable(
            database,
            tables.routes,
            Route,
            kind="route",
            clash=_no_such_service,
            journal=Journal(self.history, "route", tables.routes),
        )
        self.rate_limits = EntityTable(
            database,
            tables.rate_limit_rules,
            RateLimitRule,
            kind="rate limit rule",
            clash=_no_such_place,
            journal=Journal(self.history, "rate_limit", tables.rate_limit_rules),
        )
        self.keys = EntityTable(
            database,
            tables.api_keys,
            ApiKey,
            kind="key",
            clash=_key_known,
            journal=Journal(self.history, "key", tables.api_keys),
        )
        self.token_issuers = EntityTable(
            database,
            tables.token_issuers,
            TokenIssuer,
            kind="token issuer",
            clash=_issuer_known,
            journal=Journal(self.history, "token_issuer", tables.token_issuers),
        )

    def table(self, kind: str) -> EntityTable[Any]:
        """That of a kind, as the history calls it."""
        tables: dict[str, EntityTable[Any]] = {
            "service": self.services,
            "route": self.routes,
            "rate_limit": self.rate_limits,
            "key": self.keys,
            "token_issuer": self.token_issuers,
        }
        return tables[kind]

    async def is_empty(self) -> bool:
        tables = (self.services, self.routes, self.keys, self.rate_limits, self.token_issuers)
        return not any([await table.count() for table in tables])

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

    async def ping(self) -> None:
        """Raises `DatabaseUnavailableError` when the database does not answer."""
        await self._database.ping()


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
