"""API keys: who may come in, and how much they may ask."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, field_validator

from microgateway.entities.spec import Name, Rate, Reference, Spec, Text

HASHES = {"key_hash", "previous_hash"}  # fields of a key that are shown to nobody
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749, 3.3


class ApiKeySpec(Spec):
    """A client's credential and its share. Limits left out are the gateway's defaults."""

    name: Name
    owner: Text = ""
    team: Text = ""
    requests_per_minute: Rate | None = None
    burst_size: Rate | None = None
    expires_at: AwareDatetime | None = None
    enabled: bool = True
    services: Annotated[list[Reference], Field(max_length=256)] = Field(
        [], description="Ids of the services that it may use; empty: all of them."
    )
    scopes: Annotated[list[str], Field(max_length=64)] = Field(
        [], description="What its tokens say in `scope` (RFC 6749, 3.3)."
    )

    @field_validator("services", mode="after")
    @classmethod
    def drop_repeated(cls, services: list[str]) -> list[str]:
        return list(dict.fromkeys(services))

    @field_validator("scopes", mode="after")
    @classmethod
    def check_scopes(cls, scopes: list[str]) -> list[str]:
        for scope in scopes:
            if not SCOPE.fullmatch(scope):
                raise ValueError(f"{scope!r} is no scope: visible ASCII without spaces, quotes and backslashes")
        return list(dict.fromkeys(scopes))

    @field_validator("expires_at", mode="after")
    @classmethod
    def make_utc(cls, moment: datetime | None) -> datetime | None:
        try:
            return None if moment is None else moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("this date is out of range") from None


class ApiKey(ApiKeySpec):
    """A key as it is kept: the hash of it, never itself. After a rotation the previous one is good for some time."""

    id: str
    requests_per_minute: int
    burst_size: int
    key_prefix: str
    key_hash: Annotated[bytes, Field(repr=False)]
    previous_hash: Annotated[bytes | None, Field(repr=False)] = None
    previous_expires_at: AwareDatetime | None = None
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None = None

    def is_revoked(self) -> bool:
        return self.revoked_at is not None
