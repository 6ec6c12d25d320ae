"""A name in the query that an endpoint does not know is refused: a misspelt filter would let everything through.

`DELETE /api/logs?befor=7d` would else delete the whole log.
"""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from microgateway.errors import ConfigurationError


def refuse_unknown_names(request: Request) -> None:
    """Raises `ConfigurationError`, which tells the names that there are."""
    if not request.query_params:
        return
    known = set(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            names = ", ".join(sorted(known))
            why = f"There is no such parameter here, only {names}." if known else "There are no parameters here."
            raise ConfigurationError(why, field=name)


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for other in dependant.dependencies:
        yield from _names(other)
