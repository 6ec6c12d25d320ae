"""Routes: which requests go to which service."""

import re
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator, model_validator

from microgateway.core.path_templates import PathTemplate
from microgateway.core.routing import PathPattern, PatternError
from microgateway.entities.spec import LONGEST_PATH, Methods, PatternPath, Reference, Spec, Timeout
from microgateway.route_parts import (
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

HOST = re.compile(r"^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$|^\[[0-9a-f:.]+\]$")
LARGEST_BODY = 2**50  # bytes

ConditionList = list[HeaderCondition] | list[QueryCondition]


class RouteSpec(Spec):
    """Which requests go to which service. An empty list of hosts or methods means any."""

    path: PatternPath
    match: Literal["prefix", "exact"] | None = Field(
        None, description="Left out: `exact` when the path has a `{param}`, otherwise `prefix` (bounded by segments)."
    )
    service_id: Reference
    hosts: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=64)] = []
    methods: Methods = []
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
    """A route as it is kept: its path in normal form, and `match` said."""

    id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
