"""The parts of a route that are objects themselves: conditions, header edits, what browsers may do, addresses."""

import re
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from microgateway.core.addresses import networks
from microgateway.core.conditions import Condition, Conditions, Glob
from microgateway.core.cors import Cors, OriginError, check_origin
from microgateway.core.field_sections import WITHHELD_FIELDS
from microgateway.core.fields import is_token
from microgateway.core.header_edits import EditError, HeaderEdits, check_name, check_value

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")  # RFC 9110, 5.6.2: a token
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
USUAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MOST_CONDITIONS = 16
MOST_EDITS = 32
MOST_NETWORKS = 256


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


def refuse_control_characters(text: str) -> str:
    """The same text. Raises `ValueError` for one that holds any."""
    if _CONTROL_CHARACTER.search(text):
        raise ValueError("control characters are not allowed here")
    return text


def http_method(text: str) -> str:
    """A method in upper case. Raises `ValueError` for what can't be one."""
    if not _METHOD.fullmatch(text):
        raise ValueError(f"{text!r} is not an HTTP method")
    return text.upper()


def _field_name(name: str) -> str:
    if not is_token(name.lower().encode()):
        raise ValueError(f"{name!r} is not the name of a header field")
    return name


def _network(text: str) -> str:
    try:
        (network,) = networks([text])
    except ValueError as error:
        raise ValueError(f"this is no network and no address: {error}") from None
    return str(network)


Value = Annotated[str, Field(max_length=1_024), AfterValidator(refuse_control_characters)]
FieldName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_field_name)]
EditedName = Annotated[str, Field(min_length=1, max_length=128)]
EditedValue = Annotated[str, Field(max_length=4_096)]
NetworkText = Annotated[str, Field(min_length=2, max_length=64), AfterValidator(_network)]
NetworkList = Annotated[list[NetworkText], Field(max_length=MOST_NETWORKS)]


class HeaderCondition(_Part):
    """A header field has this value, or one of this form, or is there at all, or (`present: false`) is not.

    Several lines of one name are one value, with commas between them (RFC 9110, 5.3).
    """

    name: FieldName
    value: Value | None = None
    pattern: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="The whole value, where `*` takes any run of characters."
    )
    present: bool = True

    @field_validator("name", mode="after")
    @classmethod
    def check_name(cls, name: str) -> str:
        name = name.lower()
        if name.encode() in WITHHELD_FIELDS:
            raise ValueError(f"{name!r} can't be a condition: the gateway reads it itself, or does not believe it")
        return name

    @field_validator("pattern", mode="after")
    @classmethod
    def check_pattern(cls, pattern: str | None) -> str | None:
        return None if pattern is None else refuse_control_characters(pattern)

    @model_validator(mode="after")
    def check_one(self) -> Self:
        if self.value is not None and self.pattern is not None:
            raise ValueError("it has a value or a pattern, not both")
        if not self.present and (self.value is not None or self.pattern is not None):
            raise ValueError("what is not to be there has no value and no pattern")
        return self

    def compiled(self) -> Condition:
        values = frozenset() if self.value is None else frozenset((self.value.encode(),))
        pattern = None if self.pattern is None else Glob.parse(self.pattern)
        return Condition(self.name.encode(), values, pattern, self.present)


class QueryCondition(_Part):
    """A parameter of the query has this value, or is there at all, or (`present: false`) is not.

    Names and values are compared decoded. Of a parameter that is there several times, one value is enough.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    name: Annotated[str, Field(min_length=1, max_length=128)]
    value: Annotated[str, Field(max_length=1_024)] | None = None
    present: bool = True

    @model_validator(mode="after")
    def check_one(self) -> Self:
        if not self.present and self.value is not None:
            raise ValueError("what is not to be there has no value")
        return self

    def compiled(self) -> Condition:
        values = frozenset() if self.value is None else frozenset((self.value.encode(),))
        return Condition(self.name.encode(), values, None, self.present)


def check_names_differ(conditions: list[HeaderCondition] | list[QueryCondition]) -> None:
    """Raises `ValueError` for two conditions on one name: at most one of them could ever decide."""
    names = [condition.name for condition in conditions]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are two conditions on {name!r}")


def compiled_conditions(headers: list[HeaderCondition], query: list[QueryCondition]) -> Conditions:
    """All of a route's, as the router asks them."""
    return Conditions(
        tuple(condition.compiled() for condition in headers), tuple(condition.compiled() for condition in query)
    )


class RequestEdits(_Part):
    """What happens to header fields of the same name: `remove` takes them off, `set` puts one in their place, `add` one
    more beside them. All others go on as they came, in their order.
    """

    of_answer: ClassVar[bool] = False

    set: Annotated[dict[EditedName, EditedValue], Field(max_length=MOST_EDITS)] = {}
    add: Annotated[dict[EditedName, EditedValue], Field(max_length=MOST_EDITS)] = {}
    remove: Annotated[list[EditedName], Field(max_length=MOST_EDITS)] = []

    @field_validator("set", "add", mode="after")
    @classmethod
    def check_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        lowered = {name.lower() for name in fields}
        if len(lowered) < len(fields):
            raise ValueError("two of the names differ in the case of letters only, so they are the same")
        for name, value in fields.items():
            cls._check(name, value)
        return fields

    @field_validator("remove", mode="after")
    @classmethod
    def check_names(cls, names: list[str]) -> list[str]:
        for name in names:
            cls._check(name, "")
        return list(dict.fromkeys(names))

    @classmethod
    def _check(cls, name: str, value: str) -> None:
        try:
            check_name(name, of_answer=cls.of_answer)
            check_value(value)
        except EditError as error:
            raise ValueError(str(error)) from None

    def compiled(self) -> HeaderEdits | None:
        """None where nothing is to be edited."""
        if not self.set and not self.add and not self.remove:
            return None
        return HeaderEdits.of(set=self.set, add=self.add, remove=self.remove)

    def names(self) -> "frozenset[str]":
        """All names, in lower case."""
        return frozenset(name.lower() for name in (*self.set, *self.add, *self.remove))


class ResponseEdits(RequestEdits):
    """The same for the service's answers. Answers of the gateway's own stay as they are."""

    of_answer: ClassVar[bool] = True


def _check_origin(origin: str) -> str:
    try:
        return check_origin(origin)
    except OriginError as error:
        raise ValueError(str(error)) from None


Origin = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_check_origin)]
Method = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(http_method)]
FieldNames = Annotated[list[FieldName], Field(max_length=64)]


class CorsSpec(_Part):
    """What pages of other origins may do (the Fetch standard's CORS protocol). `*` in a list means any."""

    allow_origins: Annotated[list[Origin], Field(min_length=1, max_length=64)] = Field(
        description="`https://app.example`, `https://*.example.com` for every name below, or `*`."
    )
    allow_methods: Annotated[list[Method], Field(max_length=32)] = Field([], description="Left out: the route's own.")
    allow_headers: FieldNames = ["Authorization", "Content-Type", "X-API-Key"]
    expose_headers: FieldNames = []
    allow_credentials: bool = Field(False, description="Let pages send cookies.")
    max_age_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        600, description="How long a browser remembers the answer to a preflight."
    )

    @field_validator("allow_credentials", mode="after")
    @classmethod
    def refuse_credentials_for_all(cls, allow: bool, info: ValidationInfo) -> bool:
        lists = ("allow_origins", "allow_methods", "allow_headers", "expose_headers")
        if allow and (stars := [name for name in lists if "*" in info.data.get(name, ())]):
            raise ValueError(f"with credentials, '*' in {stars[0]} allows nothing (Fetch, 3.3.5): list them")
        return allow

    def compiled(self, methods: list[str]) -> Cors:
        """For a route that takes these methods; none: any."""
        return Cors.of(
            origins=self.allow_origins,
            methods=self.allow_methods or methods or USUAL_METHODS,
            headers=self.allow_headers,
            exposed=self.expose_headers,
            credentials=self.allow_credentials,
            max_age=self.max_age_seconds,
        )


def cors_conflict(edits: ResponseEdits) -> str | None:
    """The name of an edited field that `cors` says already, or None."""
    return next((name for name in sorted(edits.names()) if name.startswith("access-control-")), None)
