"""What an operator configures.

`…Spec` is the writable part (the body of POST and PUT); the entity adds what the gateway keeps.
"""

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from microgateway.core.balancing import Method
from microgateway.core.base_urls import BaseUrl, BaseUrlError
from microgateway.core.fields import is_token
from microgateway.core.path_templates import PathTemplate
from microgateway.core.paths import PathError, normalise
from microgateway.core.requests import WITHHELD_FIELDS
from microgateway.core.routing import PathPattern, PatternError
from microgateway.core.statuses import StatusesError, parse_statuses
from microgateway.route_parts import (
    CONTROL_CHARACTER,
    METHOD,
    MOST_CONDITIONS,
    CorsSpec,
    HeaderCondition,
    NetworkList,
    QueryCondition,
    RequestEdits,
    ResponseEdits,
    check_names_differ,
    cors_conflict,
)

FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, 5.1: a token
HOST = re.compile(r"^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$|^\[[0-9a-f:.]+\]$")
SERVER_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749, 3.3
LARGEST_RATE = 1_000_000_000
LARGEST_BODY = 2**50  # bytes
LONGEST_PATH = 2_048  # characters of the normal form too: what was kept once must be readable again


def _check_base_url(value: str) -> str:
    try:
        return _refuse_long(BaseUrl.parse(value).text)
    except BaseUrlError as error:
        raise ValueError(str(error)) from None


def _check_path(value: str) -> str:
    if "?" in value or "#" in value:
        raise ValueError("a path carries no query and no fragment")
    try:
        return _refuse_long(normalise(value.encode()).decode())
    except PathError as error:
        raise ValueError(str(error)) from None


def _check_pattern(path: str) -> str:
    try:
        _refuse_long(PathPattern.parse(path).text)
    except PatternError as error:
        raise ValueError(str(error)) from None
    return path


def _check_methods(methods: list[str]) -> list[str]:
    for method in methods:
        if not METHOD.fullmatch(method):
            raise ValueError(f"{method!r} is not an HTTP method")
    return list(dict.fromkeys(method.upper() for method in methods))


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


def _refuse_control_characters(value: str) -> str:
    if CONTROL_CHARACTER.search(value):
        raise ValueError("control characters are not allowed here")
    return value


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


def _refuse_missing(file: str) -> None:
    """A pipe or a device counts as missing: reading it could take for ever."""
    path = Path(file)
    try:
        if path.is_file():
            with path.open("rb"):
                return
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    raise ValueError("there is no such file on the gateway's machine")


def _refuse_long(normal: str) -> str:
    if len(normal) > LONGEST_PATH:
        raise ValueError(f"its normal form, with percent signs, has more than {LONGEST_PATH} characters")
    return normal


ConditionList = list[HeaderCondition] | list[QueryCondition]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=256)]
Url = Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_check_base_url)]
UrlPath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_check_path)]
Reference = Annotated[str, Field(min_length=1, max_length=64)]  # another entity's id
Timeout = Annotated[float, Field(gt=0, le=86_400)]
Share = Annotated[float, Field(gt=0, le=1)]
Statuses = Annotated[
    list[Annotated[int, Field(ge=100, le=599)] | Annotated[str, Field(max_length=7)]],
    Field(min_length=1, max_length=64, examples=[["5xx", 429, "408-409"]]),
    AfterValidator(_check_statuses),
]
HashOn = Literal["key", "address", "header"]
FailureStatuses = Annotated[Statuses, AfterValidator(_refuse_what_is_no_failure)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
ServiceId = Annotated[str, Field(min_length=1, max_length=64)]
FilePath = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(_refuse_control_characters)]


class _Spec(BaseModel):
    """A field that we do not know is a typing error on the operator's side, so it is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @field_validator("name", "owner", "team", mode="after", check_fields=False)
    @classmethod
    def refuse_control_characters(cls, value: str) -> str:
        return _refuse_control_characters(value)


class TargetSpec(_Spec):
    """One address of a service, and its share of the traffic."""

    url: Url
    weight: Annotated[int, Field(ge=0, le=10_000)] = 1


class CircuitSpec(_Spec):
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


class HealthCheckSpec(_Spec):
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


class PassiveHealthSpec(_Spec):
    """How real traffic takes a target out for a while. It needs other targets that stay."""

    enabled: bool = True
    consecutive_failures: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    ejection_seconds: Timeout = Field(30.0, description="For the first time; then twice as long each time.")
    longest_ejection_seconds: Timeout = 300.0
    largest_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Of the targets that may be out together, rounded down."
    )
    failure_statuses: FailureStatuses = ["5xx"]


class TlsSpec(_Spec):
    """How TLS is spoken with a service whose URL is https. Files are in PEM form, on the gateway's machine."""

    verify: bool = Field(True, description="Believe only a certificate for this host, by an authority that is trusted.")
    ca_file: FilePath | None = Field(None, description="Who is trusted, instead of the authorities of the system.")
    client_cert_file: FilePath | None = Field(None, description="What the gateway shows the service of itself.")
    client_key_file: FilePath | None = Field(None, description="Left out: the key is in `client_cert_file`.")
    server_name: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="The name to ask for and to find in the certificate, instead of the URL's host."
    )

    @field_validator("server_name", mode="after")
    @classmethod
    def check_server_name(cls, name: str | None) -> str | None:
        if name is None:
            return None
        name = name.lower().rstrip(".")
        if not SERVER_NAME.fullmatch(name):
            raise ValueError("this is not a host name")
        return name

    @model_validator(mode="after")
    def check_key(self) -> Self:
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file is the key of client_cert_file, which is left out")
        return self


class _UsableTls(TlsSpec):
    """The same, with the files read: what can't be used is refused when it is sent, not when it is needed."""

    @field_validator("ca_file", mode="after")
    @classmethod
    def read_ca_file(cls, file: str | None) -> str | None:
        if file is not None:
            _refuse_missing(file)
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
            except ssl.SSLError:
                raise ValueError("there is no certificate in PEM form in this file") from None
        return file

    @field_validator("client_cert_file", "client_key_file", mode="after")
    @classmethod
    def read_file(cls, file: str | None) -> str | None:
        if file is not None:
            _refuse_missing(file)
        return file

    @field_validator("client_key_file", mode="after")
    @classmethod
    def load_pair(cls, key_file: str | None, info: ValidationInfo) -> str | None:
        certificate = info.data.get("client_cert_file")
        if certificate is not None:
            try:
                # With a password, or OpenSSL would ask for one on the terminal
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key_file, password="")
            except ssl.SSLError as error:
                reason = error.reason or "they are not in PEM form"
                raise ValueError(f"the client certificate and its key can't be used ({reason})") from None
        return key_file


class ServiceSpec(_Spec):
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

    @field_validator("hash_header", mode="after")
    @classmethod
    def check_hash_header(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None:
            if info.data.get("load_balancing") == "consistent_hash" and info.data.get("hash_on") == "header":
                raise ValueError("the header that is hashed is left out")
            return None
        name = name.lower()
        if not FIELD_NAME.fullmatch(name):
            raise ValueError("this is not a header's name")
        if name.encode() in WITHHELD_FIELDS:
            raise ValueError("the gateway reads this header itself")
        return name

    @field_validator("tls", mode="after")
    @classmethod
    def read_tls_files(cls, tls: TlsSpec) -> TlsSpec:
        _UsableTls.model_validate(tls.model_dump())
        return tls


class Service(ServiceSpec):
    id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @field_validator("tls", mode="after")
    @classmethod
    def read_tls_files(cls, tls: TlsSpec) -> TlsSpec:
        """Not again: what was good when it was sent is kept though a file has gone since; only its requests fail."""
        return tls


class RouteSpec(_Spec):
    """Which requests go to which service. An empty list of hosts or methods means any."""

    path: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]
    match: Literal["prefix", "exact"] | None = Field(
        None, description="Left out: `exact` when the path has a `{param}`, otherwise `prefix` (bounded by segments)."
    )
    service_id: ServiceId
    hosts: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=64)] = []
    methods: Annotated[list[str], Field(max_length=32)] = []
    strip_prefix: bool = Field(False, description="Take the matched path off before the request is sent on.")
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    timeout_seconds: Timeout | None = Field(None, description="For the whole request, all attempts together.")
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    enabled: bool = True
    auth: Literal["required", "none"] = "required"
    forward_credentials: bool = Field(False, description="Let the client's API key or token through to the service.")
    headers: Annotated[list[HeaderCondition], Field(max_length=MOST_CONDITIONS)] = []
    query: Annotated[list[QueryCondition], Field(max_length=MOST_CONDITIONS)] = []
    rewrite: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)] | None = Field(
        None,
        description="The path to ask the service for, with the route's `{param}`s, and `{rest}` for what lies below a "
        "prefix. In place of `strip_prefix`.",
        examples=["/v2/{id}/{rest}"],
    )
    request_headers: RequestEdits = RequestEdits()
    response_headers: ResponseEdits = ResponseEdits()
    cors: CorsSpec | None = None
    max_body_bytes: Annotated[int, Field(ge=0, le=LARGEST_BODY)] | None = Field(
        None, description="The largest request body; 0: any. Left out: the gateway's setting."
    )
    allow_addresses: NetworkList = Field([], description="Only clients of these networks; empty: all.")
    deny_addresses: NetworkList = Field([], description="No client of these networks, whatever is allowed.")

    @field_validator("path", mode="after")
    @classmethod
    def check_path(cls, path: str) -> str:
        return _check_pattern(path)

    @field_validator("methods", mode="after")
    @classmethod
    def check_methods(cls, methods: list[str]) -> list[str]:
        return _check_methods(methods)

    @field_validator("hosts", mode="after")
    @classmethod
    def check_hosts(cls, hosts: list[str]) -> list[str]:
        lowered = [host.lower().rstrip(".") for host in hosts]
        for host in lowered:
            if not HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not a host name, an address or '*.' and a host name (without a port)")
        return list(dict.fromkeys(lowered))

    @field_validator("headers", "query", mode="after")
    @classmethod
    def check_conditions(cls, conditions: ConditionList) -> ConditionList:
        check_names_differ(conditions)
        return conditions

    @field_validator("rewrite", mode="after")
    @classmethod
    def check_rewrite(cls, rewrite: str | None, info: ValidationInfo) -> str | None:
        if rewrite is None or "path" not in info.data:
            return rewrite
        if info.data.get("strip_prefix"):
            raise ValueError("rewrite and strip_prefix exclude each other: a rewritten path takes {rest}")
        try:
            PathTemplate.parse(rewrite, PathPattern.parse(info.data["path"], info.data.get("match")))
        except PatternError as error:
            raise ValueError(str(error)) from None
        return rewrite

    @field_validator("cors", mode="after")
    @classmethod
    def check_cors(cls, cors: CorsSpec | None, info: ValidationInfo) -> CorsSpec | None:
        edits = info.data.get("response_headers")
        if cors is not None and edits is not None and (name := cors_conflict(edits)):
            raise ValueError(f"response_headers edits {name!r}, which cors says already")
        return cors

    @model_validator(mode="after")
    def compile_path(self) -> Self:
        pattern = PathPattern.parse(self.path, self.match)
        self.path, self.match = pattern.text, pattern.match
        return self


class Route(RouteSpec):
    id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ApiKeySpec(_Spec):
    """A client's credential and its share. Limits left out are the gateway's defaults."""

    name: Name
    owner: Text = ""
    team: Text = ""
    requests_per_minute: Annotated[int, Field(ge=1, le=LARGEST_RATE)] | None = None
    burst_size: Annotated[int, Field(ge=1, le=LARGEST_RATE)] | None = None
    expires_at: AwareDatetime | None = None
    enabled: bool = True
    services: Annotated[list[ServiceId], Field(max_length=256)] = Field(
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


class RateLimitRuleSpec(_Spec):
    """A limit besides the keys' own: for which requests, and who of them is counted together."""

    name: Name
    enabled: bool = True
    mode: Literal["enforce", "shadow"] = Field("enforce", description="`shadow` counts what it would refuse.")
    requests_per_minute: Annotated[int, Field(ge=1, le=LARGEST_RATE)]
    burst_size: Annotated[int, Field(ge=1, le=LARGEST_RATE)]
    path: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)] | None = None
    match: Literal["prefix", "exact"] | None = None
    methods: Annotated[list[str], Field(max_length=32)] = []
    route_id: Reference | None = None
    service_id: Reference | None = None
    count_by: Literal["key", "address", "header", "all"] = "key"
    header: Annotated[str, Field(max_length=128)] | None = Field(None, validate_default=True)
    before_auth: bool = Field(False, description="Asked before the credential is looked at, so it holds for strangers.")

    @field_validator("name", mode="after")
    @classmethod
    def refuse_taken_name(cls, name: str) -> str:
        if name == "default":
            raise ValueError("'default' is what answers call a key's own limit")
        return name

    @field_validator("path", mode="after")
    @classmethod
    def check_path(cls, path: str | None) -> str | None:
        return None if path is None else _check_pattern(path)

    @field_validator("match", mode="after")
    @classmethod
    def refuse_match_without_path(cls, match: str | None, info: ValidationInfo) -> str | None:
        if match is not None and info.data.get("path", "") is None:
            raise ValueError("this says how the path is compared, and there is none")
        return match

    @field_validator("methods", mode="after")
    @classmethod
    def check_methods(cls, methods: list[str]) -> list[str]:
        return _check_methods(methods)

    @field_validator("header", mode="after")
    @classmethod
    def check_header(cls, header: str | None, info: ValidationInfo) -> str | None:
        is_counted_by = info.data.get("count_by") == "header"
        if header is None:
            if is_counted_by:
                raise ValueError("count_by 'header' needs the name of one")
            return None
        if not is_counted_by:
            raise ValueError("this is for count_by 'header' only")
        name = header.lower()
        if not is_token(name.encode()):
            raise ValueError("this is not the name of a header field")
        if name.encode() in WITHHELD_FIELDS:
            raise ValueError("the gateway reads this field itself, so nobody can be counted by it")
        return name

    @field_validator("before_auth", mode="after")
    @classmethod
    def check_guard(cls, before_auth: bool, info: ValidationInfo) -> bool:
        if before_auth and info.data.get("count_by") == "key":
            raise ValueError("before authentication nobody knows the key; count by address, header or all")
        return before_auth

    @model_validator(mode="after")
    def compile_path(self) -> Self:
        if self.path is not None:
            pattern = PathPattern.parse(self.path, self.match)
            self.path, self.match = pattern.text, pattern.match
        return self


class RateLimitRule(RateLimitRuleSpec):
    id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime


class LimitSpec(_Spec):
    requests_per_minute: Annotated[int, Field(ge=1, le=LARGEST_RATE)]
    burst_size: Annotated[int, Field(ge=1, le=LARGEST_RATE)]


class TokenIssuerSpec(_Spec):
    """Somebody else whose tokens open the door: who it is, where its keys are, and how much its subjects may ask."""

    name: Name
    issuer: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_refuse_control_characters)] = Field(
        description="What its tokens say in `iss`."
    )
    audiences: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=32)] = Field(
        [], description="One of them has to be in `aud`; empty: whoever a token is for."
    )
    jwks_url: Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_check_document_url)]
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256"]
    enabled: bool = True
    requests_per_minute: Annotated[int, Field(ge=1, le=LARGEST_RATE)] | None = None
    burst_size: Annotated[int, Field(ge=1, le=LARGEST_RATE)] | None = None
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
        return _UsableTls.read_ca_file(file)


class TokenIssuer(TokenIssuerSpec):
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


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as a date with its time zone."""
    return datetime.fromtimestamp(seconds, UTC)
