"""What every `…Spec` has in common: how it is read, and what the fields that several of them have may hold."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from microgateway.core.field_sections import WITHHELD_FIELDS
from microgateway.core.fields import is_token
from microgateway.core.routing import PathPattern, PatternError
from microgateway.route_parts import http_method, refuse_control_characters

LARGEST_RATE = 1_000_000_000
LONGEST_PATH = 2_048  # characters of the normal form too: what was kept once must be readable again


def _check_pattern(path: str) -> str:
    try:
        refuse_long(PathPattern.parse(path).text)
    except PatternError as error:
        raise ValueError(str(error)) from None
    return path


def _check_methods(methods: list[str]) -> list[str]:
    return list(dict.fromkeys(map(http_method, methods)))


def header_name(name: str) -> str:
    """The name of a field of requests that tells them apart, in lower case."""
    name = name.lower()
    if not is_token(name.encode()):
        raise ValueError("this is not the name of a header field")
    if name.encode() in WITHHELD_FIELDS:
        raise ValueError("the gateway reads this field itself, so it tells no requests apart")
    return name


def refuse_long(normal: str) -> str:
    """The normal form of a path or a URL. Raises `ValueError` where it could not be read again."""
    if len(normal) > LONGEST_PATH:
        raise ValueError(f"its normal form, with percent signs, has more than {LONGEST_PATH} characters")
    return normal


Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=256)]
Reference = Annotated[str, Field(min_length=1, max_length=64)]  # another entity's id
Rate = Annotated[int, Field(ge=1, le=LARGEST_RATE)]
PatternPath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_check_pattern)]
Methods = Annotated[list[str], Field(max_length=32), AfterValidator(_check_methods)]
Timeout = Annotated[float, Field(gt=0, le=86_400)]


class Spec(BaseModel):
    """A field that we do not know is a typing error on the operator's side, so it is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @field_validator("name", "owner", "team", mode="after", check_fields=False)
    @classmethod
    def refuse_control_characters(cls, value: str) -> str:
        return refuse_control_characters(value)
