"""The control API against its own description: whatever is sent, no 500, and no answer that the description lacks.

Requests are made by schemathesis from `/openapi.json`, half of them as described and half not, and sent to a gateway
that runs as a process. A new endpoint is asked as soon as it is described. `--openapi-examples 500` asks longer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from tests.process.gateway import Gateway, running_gateway

STREAMS = frozenset(("/api/live",))  # server-sent events have no end, so no whole answer to check
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
BAD_BODY = [*CHECKS, checks.negative_data_rejection]  # not of queries: an unknown parameter is passed over
EXAMPLES = 5  # for each operation, as described and not
NOWHERE = "http://127.0.0.1:9"  # discard: what a made-up service or issuer is asked for must not leave this machine
URL_FIELDS = frozenset(("base_url", "url", "jwks_url"))


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Method and path of all, those that make things first and those that take them away last."""
    order = {"post": 0, "get": 1, "put": 2, "patch": 3, "delete": 4}
    every = [(method, path) for path, methods in document["paths"].items() for method in methods if path not in STREAMS]
    return sorted(every, key=lambda operation: (order[operation[0]], operation[1]))


@dataclass
class Api:
    """A running gateway, its description, and the ids that it knows."""

    gateway: Gateway
    document: dict[str, Any]

    def entity_ids(self) -> dict[str, list[str]]:
        """By parameter name: those of `{service_id}` are what `GET /api/services` lists. Never empty for the three."""
        operator = self.gateway.operator
        services = operator.all("services") or [operator.create("services", name="a", base_url=NOWHERE)]
        if not operator.all("routes"):
            operator.create("routes", path="/a", service_id=services[0]["id"])
        if not operator.all("keys"):
            operator.create("keys", name="a")
        found: dict[str, list[str]] = {}
        for path in self.document["paths"]:
            collection, _, parameter = path.rpartition("/{")
            if parameter.endswith("_id}") and "get" in self.document["paths"].get(collection, {}):
                items = operator.http.get(collection, params={"limit": 5}).json().get("items", [])
                found[parameter[:-1]] = [item["id"] for item in items if "id" in item]
        return found


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_gateway(tmp_path_factory.mktemp("data")) as gateway:
        yield Api(gateway, gateway.operator.http.get("/openapi.json").json())


def keep_here(body: object) -> None:
    """Addresses that a configuration names would be asked by health checks: all become one of this machine."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name in URL_FIELDS and isinstance(value, str):
                body[name] = NOWHERE
            else:
                keep_here(value)
    elif isinstance(body, list):
        for value in body:
            keep_here(value)


def use_known(case: Case[Any], ids: dict[str, list[str]], place: int) -> None:
    """Puts ids that there are in place of made-up ones, since those lead to 404 and 422 only."""
    for holder in (case.path_parameters, case.body):
        if isinstance(holder, dict):
            for name in holder.keys() & ids.keys():
                if ids[name] and isinstance(holder[name], str):
                    holder[name] = ids[name][place % len(ids[name])]


def has_bad_body(case: Case[Any]) -> bool:
    """Whether the body, and not another part only, is what the description rules out."""
    part = case.meta.components.get(ParameterLocation.BODY) if case.meta is not None else None
    return part is not None and part.mode is GenerationMode.NEGATIVE


def faults(api: Api, method: str, path: str, mode: GenerationMode, examples: int | None) -> list[str]:
    """What the description does not cover, in the words of the check that found it."""
    ids = api.entity_ids()
    schema = schemathesis.openapi.from_dict(api.document)
    schema.config.output.sanitization.update(enabled=False)
    operation = schema[path][method]
    headers = {"Authorization": f"Bearer {api.gateway.admin_token}"}

    @hypothesis.settings(
        max_examples=examples or EXAMPLES,
        derandomize=examples is None,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.none() | st.integers(0, 4))
    def attempt(case: Case[Any], known: int | None) -> None:
        keep_here(case.body)
        if known is not None:
            use_known(case, ids, known)
        with requests.Session() as session:
            session.trust_env = False
            answer = case.call(f"http://127.0.0.1:{api.gateway.control_port}", session=session, headers=headers)
        case.validate_response(answer, checks=BAD_BODY if known is None and has_bad_body(case) else CHECKS)

    try:
        attempt()
    except Unsatisfiable:  # nothing can be sent to it that is not as described
        return []
    except FailureGroup as group:
        return [f"{method.upper()} {path} ({mode.value}): {group}"]
    return []


def test_no_answer_is_a_500_or_beside_the_description(api: Api, pytestconfig: pytest.Config) -> None:
    examples = pytestconfig.getoption("openapi_examples")
    found = [
        fault
        for method, path in operations(api.document)
        for mode in GenerationMode
        for fault in faults(api, method, path, mode, examples)
    ]
    assert not found, "\n\n".join(found)
    assert api.gateway.operator.readiness() == 200
