"""What an operator may configure, as tables of good and bad input."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from microgateway.entities import ApiKeySpec, RouteSpec, ServiceSpec

SERVICE = {"name": "users", "base_url": "http://127.0.0.1:9000"}
ROUTE = {"path": "/users", "service_id": "svc_1"}
KEY = {"name": "demo"}


def faults(spec: type[BaseModel], document: dict[str, Any]) -> list[str]:
    """The fields at fault, with dots between."""
    with pytest.raises(ValidationError) as caught:
        spec.model_validate(document)
    return [".".join(str(part) for part in error["loc"]) for error in caught.value.errors()]


class TestServiceSpec:
    @pytest.mark.parametrize(
        ("field", "value", "kept"),
        [
            ("name", "  users ", "users"),
            ("name", "n" * 128, "n" * 128),
            ("name", "Größe 日本", "Größe 日本"),
            ("base_url", "http://Example.COM", "http://example.com"),
            ("base_url", "HTTP://example.com:80/", "http://example.com"),
            ("base_url", "https://example.com:443/a/", "https://example.com/a"),
            ("base_url", "https://example.com:8443/a/../b", "https://example.com:8443/b"),
            ("base_url", "http://[::1]:9000", "http://[::1]:9000"),
            ("health_check_path", "/up%7e", "/up~"),
            ("connect_timeout_seconds", 0.001, 0.001),
            ("read_timeout_seconds", 86_400, 86_400.0),
            ("enabled", False, False),
            ("preserve_host", True, True),
        ],
    )
    def test_good(self, field: str, value: object, kept: object) -> None:
        spec = ServiceSpec.model_validate(SERVICE | {field: value})
        assert getattr(spec, field) == kept
        assert ServiceSpec.model_validate(spec.model_dump()) == spec  # what is kept can be read again

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "   "),
            ("name", "n" * 129),
            ("name", "a\nb"),
            ("name", "a\x7fb"),
            ("name", None),
            ("name", 7),
            ("base_url", ""),
            ("base_url", "example.com"),
            ("base_url", "ftp://example.com"),
            ("base_url", "file:///etc/passwd"),
            ("base_url", "http://"),
            ("base_url", "http://user:password@example.com"),
            ("base_url", "http://example.com:0"),
            ("base_url", "http://example.com:65536"),
            ("base_url", "http://example.com:port"),
            ("base_url", "http://example.com/?a=b"),
            ("base_url", "http://example.com/#a"),
            ("base_url", "http://exa mple.com"),
            ("base_url", "http://example.com/../a"),
            ("base_url", "http://[::1"),
            ("base_url", "http://example.com/" + "a" * 2_048),
            ("base_url", "http://example.com/" + "é" * 340),
            ("health_check_path", "/" + "é" * 342),
            ("health_check_path", "health"),
            ("health_check_path", "/a?b"),
            ("health_check_path", "/../a"),
            ("health_check_path", "/a%00"),
            ("connect_timeout_seconds", 0),
            ("connect_timeout_seconds", -1),
            ("read_timeout_seconds", 86_401),
            ("read_timeout_seconds", float("nan")),
            ("read_timeout_seconds", float("inf")),
            ("enabled", "perhaps"),
            ("surprise", 1),
            ("targets", "http://127.0.0.1"),
            ("targets", [{"url": "http://127.0.0.1"}] * 257),
            ("targets", [{"url": "http://127.0.0.1", "weight": 0}]),
        ],
    )
    def test_bad(self, field: str, value: object) -> None:
        assert faults(ServiceSpec, SERVICE | {field: value}) == [field]

    @pytest.mark.parametrize(
        ("target", "field"),
        [
            ({"url": "nowhere"}, "targets.0.url"),
            ({}, "targets.0.url"),
            ({"url": "http://127.0.0.1", "weight": -1}, "targets.0.weight"),
            ({"url": "http://127.0.0.1", "weight": 10_001}, "targets.0.weight"),
            ({"url": "http://127.0.0.1", "wait": 1}, "targets.0.wait"),
        ],
    )
    def test_a_bad_target_is_named_with_its_place(self, target: dict[str, object], field: str) -> None:
        assert faults(ServiceSpec, SERVICE | {"targets": [target]}) == [field]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"load_balancing": "random"}, "load_balancing"),
            ({"hash_on": "cookie"}, "hash_on"),
            ({"load_balancing": "consistent_hash", "hash_on": "header"}, "hash_header"),
            ({"hash_header": "no name"}, "hash_header"),
            ({"hash_header": ""}, "hash_header"),
            ({"hash_header": "Authorization"}, "hash_header"),
            ({"health_check": {"interval_seconds": 0}}, "health_check.interval_seconds"),
            ({"health_check": {"timeout_seconds": 0}}, "health_check.timeout_seconds"),
            ({"health_check": {"healthy_threshold": 0}}, "health_check.healthy_threshold"),
            ({"health_check": {"expected_statuses": ["2x"]}}, "health_check.expected_statuses"),
            ({"health_check": {"expected_statuses": []}}, "health_check.expected_statuses"),
            ({"health_check": {"jitter": 1.1}}, "health_check.jitter"),
            ({"health_check": {"path": "/up"}}, "health_check.path"),
            ({"passive_health": {"consecutive_failures": 0}}, "passive_health.consecutive_failures"),
            ({"passive_health": {"largest_share": -0.1}}, "passive_health.largest_share"),
            ({"passive_health": {"failure_statuses": [200]}}, "passive_health.failure_statuses"),
            ({"when_unhealthy": "panic"}, "when_unhealthy"),
        ],
    )
    def test_bad_settings_of_targets_and_health_are_named(self, fields: dict[str, object], field: str) -> None:
        assert faults(ServiceSpec, SERVICE | fields) == [field]

    @pytest.mark.parametrize(
        "breaker",
        [
            {"failure_threshold": 0},
            {"failure_threshold": 1.5},
            {"recovery_timeout": 0},
            {"half_open_max_calls": 0},
            {"half_open_max_calls": 10_001},
            {"trip": "sometimes"},
            {"window_seconds": 0.5},
            {"minimum_calls": 0},
            {"failure_rate": 1.01},
            {"failure_statuses": []},
            {"failure_statuses": ["5xy"]},
            {"failure_statuses": ["504-500"]},
            {"failure_statuses": ["599-600"]},
            {"failure_statuses": [200, 500]},
            {"slow_call_seconds": -1},
            {"slow_call_rate": 0},
            {"mode": "open"},
        ],
    )
    def test_a_bad_circuit_breaker_is_named_too(self, breaker: dict[str, object]) -> None:
        assert faults(ServiceSpec, SERVICE | {"circuit_breaker": breaker}) == [f"circuit_breaker.{next(iter(breaker))}"]

    @pytest.mark.parametrize("field", ["name", "base_url"])
    def test_what_has_no_default_must_be_there(self, field: str) -> None:
        assert faults(ServiceSpec, {name: value for name, value in SERVICE.items() if name != field}) == [field]


class TestRouteSpec:
    @pytest.mark.parametrize(
        ("path", "match", "kept"),
        [
            ("/", None, ("/", "prefix")),
            ("/users", None, ("/users", "prefix")),
            ("/users/", None, ("/users", "prefix")),
            ("/users/*", None, ("/users", "prefix")),
            ("/users/*", "exact", ("/users", "prefix")),
            ("/users", "exact", ("/users", "exact")),
            ("/users/", "exact", ("/users/", "exact")),
            ("/users/{id}", None, ("/users/{id}", "exact")),
            ("/users/{id}", "prefix", ("/users/{id}", "prefix")),
            ("/users/{id}/*", None, ("/users/{id}", "prefix")),
            ("/caf\u00e9", None, ("/caf%C3%A9", "prefix")),
            ("/%7euser", None, ("/~user", "prefix")),
        ],
    )
    def test_a_path_is_kept_in_its_normal_form(self, path: str, match: str | None, kept: tuple[str, str]) -> None:
        spec = RouteSpec.model_validate(ROUTE | {"path": path, "match": match})
        assert (spec.path, spec.match) == kept
        again = RouteSpec.model_validate(spec.model_dump())
        assert (again.path, again.match) == kept

    @pytest.mark.parametrize(
        ("field", "value", "kept"),
        [
            ("methods", ["get", "GET", "Patch"], ["GET", "PATCH"]),
            ("methods", ["PROPFIND"], ["PROPFIND"]),
            (
                "hosts",
                ["Example.COM.", "*.example.com", "10.0.0.1", "[::1]"],
                ["example.com", "*.example.com", "10.0.0.1", "[::1]"],
            ),
            ("hosts", ["a_b.internal", "a_b.internal"], ["a_b.internal"]),
            ("priority", -1_000_000, -1_000_000),
            ("retries", 10, 10),
            ("timeout_seconds", 0.5, 0.5),
            ("auth", "none", "none"),
        ],
    )
    def test_good(self, field: str, value: object, kept: object) -> None:
        spec = RouteSpec.model_validate(ROUTE | {field: value})
        assert getattr(spec, field) == kept
        assert RouteSpec.model_validate(spec.model_dump()) == spec  # what is kept can be read again

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("path", ""),
            ("path", "users"),
            ("path", "/a?b"),
            ("path", "/a#b"),
            ("path", "/a/../b"),
            ("path", "/a/./b"),
            ("path", "/a%"),
            ("path", "/a%00"),
            ("path", "/*/a"),
            ("path", "/a*"),
            ("path", "/a{id}"),
            ("path", "/{}"),
            ("path", "/{id}/{id}"),
            ("path", "/" + "a" * 2_048),
            ("path", "/" + "é" * 342),
            ("match", "regex"),
            ("service_id", ""),
            ("service_id", None),
            ("methods", ["GET POST"]),
            ("methods", [""]),
            ("methods", "GET"),
            ("methods", ["A" * 33]),
            ("methods", [f"M{number}" for number in range(33)]),
            ("hosts", ["example.com:80"]),
            ("hosts", ["*"]),
            ("hosts", ["a.*.b"]),
            ("hosts", ["http://example.com"]),
            ("hosts", ["-a.com"]),
            ("hosts", ["a..b"]),
            ("hosts", ["a.com\n."]),
            ("priority", 1_000_001),
            ("retries", -1),
            ("retries", 11),
            ("timeout_seconds", 0),
            ("auth", "optional"),
            ("id", "rt_1"),
        ],
    )
    def test_bad(self, field: str, value: object) -> None:
        assert faults(RouteSpec, ROUTE | {field: value}) == [field]

    def test_a_long_host_is_refused_quickly(self) -> None:
        assert faults(RouteSpec, ROUTE | {"hosts": ["a" * 1_000_000 + "!"]}) == ["hosts.0"]


class TestApiKeySpec:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("owner", "Ada"),
            ("team", "t" * 256),
            ("requests_per_minute", 1),
            ("burst_size", 1_000_000_000),
            ("expires_at", None),
            ("enabled", False),
        ],
    )
    def test_good(self, field: str, value: object) -> None:
        assert getattr(ApiKeySpec.model_validate(KEY | {field: value}), field) == value

    def test_an_expiry_date_is_kept_in_utc(self) -> None:
        spec = ApiKeySpec.model_validate(KEY | {"expires_at": "2030-01-01T00:00:00+02:00"})
        assert spec.model_dump(mode="json")["expires_at"] == "2029-12-31T22:00:00Z"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "a\tb"),
            ("owner", "a\0b"),
            ("team", "t" * 257),
            ("requests_per_minute", 0),
            ("requests_per_minute", 1_000_000_001),
            ("requests_per_minute", 1.5),
            ("burst_size", 0),
            ("burst_size", -1),
            ("expires_at", "tomorrow"),
            ("expires_at", "2030-01-01T00:00:00"),
            ("expires_at", "9999-12-31T23:59:59-05:00"),
            ("key", "mgw_live_mine"),
            ("revoked_at", None),
        ],
    )
    def test_bad(self, field: str, value: object) -> None:
        assert faults(ApiKeySpec, KEY | {field: value}) == [field]
