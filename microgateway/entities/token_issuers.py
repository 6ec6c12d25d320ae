"""Token issuers: others whose tokens open the door."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, Field, ValidationInfo, field_validator

from microgateway.entities.spec import LONGEST_PATH, Name, Rate, Spec
from microgateway.entities.tls import FilePath, UsableTls
from microgateway.route_parts import refuse_control_characters

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def _check_document_url(value: str) -> str:
    """Of a document that is fetched: it may have a query."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(str(error)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("this is no URL that begins with http:// or https:// and a host")
    if not value.isascii() or any(character <= " " or character == "\x7f" for character in value):
        raise ValueError("a space, a control character or one outside of ASCII is not allowed here")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("credentials and a fragment are not allowed here")
    return value


class LimitSpec(Spec):
    """How much a subject may ask whose claim has chosen this."""

    requests_per_minute: Rate
    burst_size: Rate


class TokenIssuerSpec(Spec):
    """Somebody else whose tokens open the door: who it is, where its keys are, and how much its subjects may ask."""

    name: Name
    issuer: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(refuse_control_characters)] = Field(
        description="What its tokens say in `iss`."
    )
    audiences: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=32)] = Field(
        [], description="One of them has to be in `aud`; empty: whoever a token is for."
    )
    jwks_url: Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_check_document_url)]
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256"]
    enabled: bool = True
    requests_per_minute: Rate | None = None
    burst_size: Rate | None = None
    limit_claim: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="A claim whose value chooses a limit out of `limits`."
    )
    limits: Annotated[dict[Annotated[str, Field(max_length=128)], LimitSpec], Field(max_length=1_000)] = {}
    leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 10
    ca_file: FilePath | None = Field(None, description="Who is trusted at `jwks_url`, in place of the system's own.")

    @field_validator("issuer", mode="after")
    @classmethod
    def refuse_our_own_name(cls, issuer: str) -> str:
        if issuer == "microgateway":
            raise ValueError("that is what the gateway's own tokens say")
        return issuer

    @field_validator("algorithms", "audiences", mode="after")
    @classmethod
    def drop_repeated(cls, values: list[str]) -> list[str]:
        return list(dict.fromkeys(values))

    @field_validator("limits", mode="after")
    @classmethod
    def refuse_limits_without_claim(cls, limits: dict[str, LimitSpec], info: ValidationInfo) -> dict[str, LimitSpec]:
        if limits and info.data.get("limit_claim", "") is None:
            raise ValueError("limit_claim says which claim chooses among them, and is left out")
        return limits

    @field_validator("ca_file", mode="after")
    @classmethod
    def read_ca_file(cls, file: str | None) -> str | None:
        return UsableTls.read_ca_file(file)


class TokenIssuer(TokenIssuerSpec):
    """An issuer as it is kept: with a limit of its own, or the gateway's default."""

    id: str
    requests_per_minute: int
    burst_size: int
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @field_validator("ca_file", mode="after")
    @classmethod
    def read_ca_file(cls, file: str | None) -> str | None:
        """Not again, as for a service: without it only new keys can't be fetched."""
        return file
