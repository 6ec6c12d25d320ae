"""Rate limit rules: limits besides the keys' own."""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator, model_validator

from microgateway.core.routing import PathPattern
from microgateway.entities.spec import Methods, Name, PatternPath, Rate, Reference, Spec, header_name


class RateLimitRuleSpec(Spec):
    """A limit besides the keys' own: for which requests, and who of them is counted together."""

    name: Name
    enabled: bool = True
    mode: Literal["enforce", "shadow"] = Field("enforce", description="`shadow` counts what it would refuse.")
    requests_per_minute: Rate
    burst_size: Rate
    path: PatternPath | None = None
    match: Literal["prefix", "exact"] | None = None
    methods: Methods = []
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

    @field_validator("match", mode="after")
    @classmethod
    def refuse_match_without_path(cls, match: str | None, info: ValidationInfo) -> str | None:
        if match is not None and info.data.get("path", "") is None:
            raise ValueError("this says how the path is compared, and there is none")
        return match

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
        return header_name(header)

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
    """A rule as it is kept."""

    id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
