"""JSON merge patch (RFC 7396): what a PATCH leaves out stays, and null brings a field's default back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from microgateway.errors import MicroGatewayError

S = TypeVar("S", bound=BaseModel)

_OF_OUR_OWN = MappingProxyType(  # where Pydantic speaks to whoever wrote the model
    {
        "extra_forbidden": "there is no such field to be written",
        "model_attributes_type": "a JSON object belongs here",
        "model_type": "a JSON object belongs here",
        "dict_type": "a JSON object belongs here",
        "missing": "this is required",
    }
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field, named as in JSON with dots between: `targets.0.url`."""

    field: str
    message: str


class InvalidEntityError(MicroGatewayError):
    """What is left after a patch makes no sense."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        super().__init__("The request's body makes no sense; `errors` says where.")
        self.errors = tuple(errors)


def merged(spec: type[S], current: BaseModel, patch: Mapping[str, Any]) -> S:
    """The writable part of `current` with `patch` applied. Raises `InvalidEntityError`."""
    document = current.model_dump(mode="json", include=set(spec.model_fields))
    try:
        return spec.model_validate(apply_patch(document, patch))
    except ValidationError as error:
        raise InvalidEntityError(field_errors(error)) from None


def apply_patch(target: object, patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396, section 2, for a patch that is an object."""
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = apply_patch(result.get(name), value)
        else:
            result[name] = value
    return result


def field_errors(error: ValidationError) -> list[FieldError]:
    """All complaints of Pydantic's, each with the field that it is about."""
    return [field_error(item["loc"], item) for item in error.errors(include_url=False, include_input=False)]


def field_error(location: Iterable[int | str], item: Mapping[str, Any]) -> FieldError:
    """One complaint of Pydantic's, without the prefix that it gives to messages of ours."""
    message = _OF_OUR_OWN.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
    return FieldError(".".join(str(part) for part in location) or "body", message)
