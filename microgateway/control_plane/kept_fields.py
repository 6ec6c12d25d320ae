"""The fields of an answer that the gateway keeps itself, and nobody can write."""

from pydantic import BaseModel


def without_kept_fields(body: object, answer: type[BaseModel], spec: type[BaseModel]) -> object:
    """`body` without the fields that `answer` has and `spec` has not; anything but an object as it is."""
    if not isinstance(body, dict):
        return body
    kept = answer.model_fields.keys() - spec.model_fields.keys()
    return {name: value for name, value in body.items() if name not in kept}
