"""docs/api.md and docs/configuration.md, held to what the code does."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from microgateway.control_plane.keys import KeyAnswer
from microgateway.control_plane.rate_limits import RateLimitAnswer
from microgateway.control_plane.routes import RouteAnswer
from microgateway.control_plane.services import ServiceAnswer
from microgateway.control_plane.token_issuers import TokenIssuerAnswer
from microgateway.core import fields
from microgateway.entities import (
    ApiKeySpec,
    CircuitSpec,
    HealthCheckSpec,
    PassiveHealthSpec,
    RateLimitRuleSpec,
    RouteSpec,
    ServiceSpec,
    TokenIssuerSpec,
)
from microgateway.route_parts import CorsSpec
from microgateway.tokens.faults import FAULTS
from tests.control_plane.control import Control

REPOSITORY = Path(__file__).resolve().parents[2]
API = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
CONFIGURATION = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
PACKAGE = Path(fields.__file__).parents[1]
# How a code is given in the data plane: by name, or as the second or third argument of what makes a problem.
BY_NAME = re.compile(r'\bcode(?:: str)? ?= ?"([a-z_]+)"')
BY_PLACE = re.compile(
    r'(?:Problem\(\s*\d{3},\s*"[^"]+",|_unauthorized\(|_bad_gateway\(|_gateway_timeout\()\s*"([a-z_]+)"'
)
NEVER_SENT = {"client_closed_request"}  # recorded of a client that has gone; nobody is there to read it


def section(page: str, heading: str) -> str:
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert match is not None, heading
    return match[1]


def codes(heading: str) -> set[tuple[int, str]]:
    rows = re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", section(API, heading), re.MULTILINE)
    return {(int(status), code) for status, code in rows}


def sources(*folders: str) -> str:
    return "\n".join(
        path.read_text(encoding="utf-8") for folder in folders for path in sorted((PACKAGE / folder).glob("*.py"))
    )


async def test_every_endpoint_is_told(control: Control) -> None:
    document = await control.get("/openapi.json")
    built = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    told = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", section(API, "Endpoints"), re.MULTILINE))
    assert told == built


def test_every_code_of_the_control_port_is_told() -> None:
    source = (PACKAGE / "control_plane" / "problems.py").read_text(encoding="utf-8")
    answered = {(int(status), code) for status, code in re.findall(r'\((\d{3}), "([a-z_]+)"', source)}
    assert codes("Errors") == answered


def test_every_code_of_the_proxy_port_is_told() -> None:
    source = sources("core", "data_plane")
    answered = set(BY_NAME.findall(source)) | set(BY_PLACE.findall(source)) | {fault.code for fault in FAULTS}
    assert {code for _, code in codes("Errors on the proxy port")} == answered - NEVER_SENT


@pytest.mark.parametrize(
    ("heading", "spec", "kept"),
    [
        ("Service", ServiceSpec, ServiceAnswer),
        ("Route", RouteSpec, RouteAnswer),
        ("Key", ApiKeySpec, KeyAnswer),
        ("Rate limit rule", RateLimitRuleSpec, RateLimitAnswer),
        ("Token issuer", TokenIssuerSpec, TokenIssuerAnswer),
    ],
)
def test_every_field_is_told(heading: str, spec: type[BaseModel], kept: type[BaseModel]) -> None:
    text = section(CONFIGURATION, heading)
    first_cells = " ".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))
    parts = CorsSpec.model_fields if spec is RouteSpec else {}
    assert set(re.findall(r"`([a-z_]+)`", first_cells)) == {*spec.model_fields, *parts}
    after = text.partition("Kept by the gateway: ")[2].partition("\n\n")[0]
    for name in kept.model_fields.keys() - spec.model_fields.keys():
        assert f"`{name}`" in after
    if heading == "Service":
        for part in (CircuitSpec, HealthCheckSpec, PassiveHealthSpec):
            for name in part.model_fields:
                assert f'"{name}"' in text
