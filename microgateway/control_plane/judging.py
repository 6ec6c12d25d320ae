"""Which configuration served a request of the log, and under which one it is judged again."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from microgateway.control_plane.editions import Editions
from microgateway.control_plane.gateway_batches import ProposedConfiguration
from microgateway.control_plane.gateway_replays import Against
from microgateway.control_plane.merge_patch import InvalidEntityError
from microgateway.errors import ConfigurationError
from microgateway.persistence.configuration_history import VersionNotKeptError
from microgateway.persistence.entity_table import UnreadableRowError
from microgateway.snapshot import Snapshot


class Judged(NamedTuple):
    """`served` None: nobody knows any more. `complaint`: why a change was not made to `under`; empty where it was."""

    served: Snapshot | None
    under: Snapshot
    complaint: str = ""


Judging = Callable[[int | None], Awaitable[Judged]]
"""Says it of a version, as a row of the log names it; None where it names none."""


def judging(editions: Editions, against: Against, change: ProposedConfiguration | None, proposed: Snapshot) -> Judging:
    """`proposed` is that in force with the change, under which all are judged that are not judged `against` served."""

    async def of_version(version: int | None) -> Judged:
        served = await served_by(editions, version)
        if against == "in_force":
            return Judged(served, proposed)
        if served is None or version is None:
            return Judged(None, proposed)
        if change is None:
            return Judged(served, served)
        try:
            return Judged(served, await editions.proposed(version, change))
        except InvalidEntityError as error:
            first = error.errors[0]
            return Judged(served, served, f"{first.field}: {first.message}")
        except ConfigurationError as error:
            return Judged(served, served, str(error))

    return of_version


async def served_by(editions: Editions, version: int | None) -> Snapshot | None:
    """None where the row names no version, or one that is no longer kept, or makes no sense to this MicroGateway."""
    if version is None:
        return None
    try:
        return (await editions.at(version)).snapshot
    except (VersionNotKeptError, UnreadableRowError):
        return None
