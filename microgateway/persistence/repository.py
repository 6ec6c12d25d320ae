"""What is configured, as it is kept: services, routes and API keys."""

from collections.abc import Iterable

from sqlalchemy.exc import IntegrityError

from microgateway.entities import ApiKey, Route, Service
from microgateway.errors import ConfigurationError, ConflictError
from microgateway.persistence import tables
from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.entity_table import EntityTable


class Repository:
    """The tables of one database, which the caller opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.services = EntityTable(database, tables.services, Service, kind="service", clash=_name_taken)
        self.routes = EntityTable(database, tables.routes, Route, kind="route", clash=_no_such_service)
        self.keys = EntityTable(database, tables.api_keys, ApiKey, kind="key", clash=_key_known)

    async def is_empty(self) -> bool:
        return not (await self.services.count() or await self.routes.count() or await self.keys.count())

    async def add_everything(
        self, services: Iterable[Service], routes: Iterable[Route], keys: Iterable[ApiKey]
    ) -> None:
        """All of it, or nothing. Raises `ConflictError` for a name or key that comes twice."""
        with translated_errors():
            try:
                async with self._database.writing.begin() as connection:
                    await self.services.add_all(services, connection)
                    await self.routes.add_all(routes, connection)
                    await self.keys.add_all(keys, connection)
            except IntegrityError as error:
                raise ConflictError("A service's name or a key's text is there twice.", field="services") from error

    async def ping(self) -> None:
        """Raises `DatabaseUnavailableError` when the database does not answer."""
        await self._database.ping()


def _name_taken(service: Service) -> ConflictError:
    return ConflictError(f"Another service has the name {service.name!r}.", field="name")


def _no_such_service(route: Route) -> ConfigurationError:
    return ConfigurationError(f"There is no service with the id {route.service_id!r}.", field="service_id")


def _key_known(key: ApiKey) -> ConflictError:
    return ConflictError(f"The text of the key {key.name!r} is another key's already.", field="key")
