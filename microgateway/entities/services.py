"""Services: where an upstream is, and how it is treated."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, ValidationInfo, field_validator

from microgateway.core.balancing import Method
from microgateway.core.base_urls import BaseUrl, BaseUrlError
from microgateway.core.paths import PathError, normalise
from microgateway.core.statuses import StatusesError, parse_statuses
from microgateway.entities.spec import LONGEST_PATH, Name, Spec, Timeout, header_name, refuse_long
from microgateway.entities.tls import TlsSpec, UsableTls


def _check_base_url(value: str) -> str:
    try:
        return refuse_long(BaseUrl.parse(value).text)
    except BaseUrlError as error:
        raise ValueError(str(error)) from None


def _check_path(value: str) -> str:
    if "?" in value or "#" in value:
        raise ValueError("a path carries no query and no fragment")
    try:
        return refuse_long(normalise(value.encode()).decode())
    except PathError as error:
        raise ValueError(str(error)) from None


def _check_statuses(entries: list[int | str]) -> list[int | str]:
    try:
        parse_statuses(entries)
    except StatusesError as error:
        raise ValueError(str(error)) from None
    return entries


def _refuse_what_is_no_failure(entries: list[int | str]) -> list[int | str]:
    if min(parse_statuses(entries)) < 400:
        raise ValueError("a failure is a status between 400 and 599")
    return entries


Url = Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_check_base_url)]
UrlPath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_check_path)]
Share = Annotated[float, Field(gt=0, le=1)]
Statuses = Annotated[
    list[Annotated[int, Field(ge=100, le=599)] | Annotated[str, Field(max_length=7)]],
    Field(min_length=1, max_length=64, examples=[["5xx", 429, "408-409"]]),
    AfterValidator(_check_statuses),
]
FailureStatuses = Annotated[Statuses, AfterValidator(_refuse_what_is_no_failure)]
HashOn = Literal["key", "address", "header"]


class TargetSpec(Spec):
    """One address of a service, and its share of the traffic."""

    url: Url
    weight: Annotated[int, Field(ge=0, le=10_000)] = 1


class CircuitSpec(Spec):
    """A service's own circuit breaker settings; what is left out is the gateway's default."""

    failure_threshold: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    recovery_timeout: Timeout | None = None
    half_open_max_calls: Annotated[int, Field(ge=1, le=10_000)] | None = None
    trip: Literal["consecutive", "rate"] | None = Field(
        None, description="Open after failures in a row, or after a share of the calls of the last seconds."
    )
    window_seconds: Annotated[float, Field(ge=1, le=3_600)] | None = Field(
        None, description="How far a rate looks back."
    )
    minimum_calls: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="With fewer calls in the window no rate is judged."
    )
    failure_rate: Share | None = Field(None, description="The share of failures that opens it.")
    failure_statuses: FailureStatuses | None = Field(None, description="Which answers count as failures.")
    slow_call_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = Field(
        None, description="An answer that begins later than this is slow. 0: none is."
    )
    slow_call_rate: Share | None = Field(None, description="The share of slow answers that opens it, with `rate`.")
    mode: Literal["auto", "forced_open", "disabled"] = Field(
        "auto", description="An operator's decision: let nothing pass, or everything, whatever comes of it."
    )


class HealthCheckSpec(Spec):
    """How the gateway asks a service's targets whether they are well. Durations are seconds."""

    enabled: bool = Field(
        True, description="Switched off, they are asked only by hand, and the answers decide nothing."
    )
    interval_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 10.0
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 2.0
    healthy_threshold: Annotated[int, Field(ge=1, le=1_000)] = Field(
        2, description="Checks in a row that bring an unhealthy target back."
    )
    unhealthy_threshold: Annotated[int, Field(ge=1, le=1_000)] = Field(
        3, description="Failed checks in a row that take a target out."
    )
    expected_statuses: Statuses = Field(["200-499"], description="What a target that is well may answer.")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Each wait is this share of the interval longer or shorter, by chance."
    )


class PassiveHealthSpec(Spec):
    """How real traffic takes a target out for a while. It needs other targets that stay."""

    enabled: bool = True
    consecutive_failures: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    ejection_seconds: Timeout = Field(30.0, description="For the first time; then twice as long each time.")
    longest_ejection_seconds: Timeout = 300.0
    largest_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Of the targets that may be out together, rounded down."
    )
    failure_statuses: FailureStatuses = ["5xx"]


class ServiceSpec(Spec):
    """An upstream: where it is, and how it is treated. `targets`, when there are any, take the place of `base_url`."""

    name: Name
    base_url: Url
    targets: Annotated[list[TargetSpec], Field(max_length=256)] = []
    health_check_path: UrlPath = "/health"
    enabled: bool = True
    preserve_host: bool = Field(False, description="Send the client's Host on instead of the target's own.")
    connect_timeout_seconds: Timeout | None = None
    read_timeout_seconds: Timeout | None = Field(None, description="Seconds between two reads of the answer.")
    circuit_breaker: CircuitSpec = CircuitSpec()
    load_balancing: Method = "round_robin"
    hash_on: HashOn = Field("key", description="What a consistent hash tells requests apart by.")
    hash_header: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="The header that is hashed, with `hash_on` `header`.", validate_default=True
    )
    health_check: HealthCheckSpec = HealthCheckSpec()
    passive_health: PassiveHealthSpec = PassiveHealthSpec()
    when_unhealthy: Literal["try_all", "fail"] = Field(
        "try_all", description="With no healthy target left: ask the others all the same, or answer 503."
    )
    tls: TlsSpec = TlsSpec()

    @field_validator("targets", mode="after")
    @classmethod
    def refuse_nobody(cls, targets: list[TargetSpec]) -> list[TargetSpec]:
        if targets and not any(target.weight for target in targets):
            raise ValueError("with a weight of 0 for all of them nobody is left; `enabled` takes the service out")
        return targets

    @field_validator("hash_header", mode="after")
    @classmethod
    def check_hash_header(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None:
            if info.data.get("load_balancing") == "consistent_hash" and info.data.get("hash_on") == "header":
                raise ValueError("the header that is hashed is left out")
            return None
        return header_name(name)

    @field_validator("tls", mode="after")
    @classmethod
    def read_tls_files(cls, tls: TlsSpec) -> TlsSpec:
        UsableTls.model_validate(tls.model_dump())
        return tls


class Service(ServiceSpec):
    """A service as it is kept."""

    id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @field_validator("targets", mode="after")
    @classmethod
    def refuse_nobody(cls, targets: list[TargetSpec]) -> list[TargetSpec]:
        """Kept ones of before may have nobody: then `base_url` it is."""
        return targets

    @field_validator("tls", mode="after")
    @classmethod
    def read_tls_files(cls, tls: TlsSpec) -> TlsSpec:
        """Not again: what was good when it was sent is kept though a file has gone since; only its requests fail."""
        return tls
