"""Settings as an operator may mistake them: each mistake is told in one line that names the variable and the remedy."""

import os
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from microgateway.errors import StartupError
from microgateway.process.writing import require_opentelemetry
from microgateway.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    aliases = {field.alias for field in Settings.model_fields.values()}
    for name in os.environ:
        if name in aliases or name.startswith("MICROGATEWAY_"):
            monkeypatch.delenv(name)


def complaint(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError) as caught:
        read_settings()
    told = str(caught.value)
    assert "\n" not in told
    return told


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MICROGATEWAY_PROXYPORT", "1", "there is no such setting; MICROGATEWAY_PROXY_PORT is one"),
        ("MICROGATEWAY_JWT_SECRET", "x" * 40, "there is no such setting; JWT_SECRET is one"),
        ("MICROGATEWAY_TRUSTED_PROXIES", "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("MICROGATEWAY_TRUSTED_PROXIES", "::1, lan", "'lan' does not appear to be an IPv4 or IPv6 network"),
        ("MICROGATEWAY_ADMIN_TOKEN", "schlüssel", "a token consists of visible ASCII characters and spaces"),
        ("MICROGATEWAY_METRICS_TOKEN", "two\twords", "a token consists of visible ASCII characters and spaces"),
        (
            "REDIS_URL",
            "redis://cache",
            "limits and circuits that several machines share are not there yet; leave it out",
        ),
        (
            "MICROGATEWAY_PORT",
            "tcp://10.0.0.1:80",
            "'tcp://10.0.0.1:80' is what Kubernetes says of a Service; set enableServiceLinks: false in the pod",
        ),
    ],
)
def test_what_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str) -> None:
    assert complaint(monkeypatch, name, value) == f"{name}: {told}"


def test_names_that_are_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MICROGATEWAY_SERVICE_HOST", "MICROGATEWAY_PORT_8080_TCP", "MICROGATEWAY_PYTHON", "JWT_SECRETS"):
        monkeypatch.setenv(name, "x")
    assert read_settings() == Settings()


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.setenv(str(field.alias), "")
    monkeypatch.setenv("MICROGATEWAY_ENV_FILE", "")
    assert read_settings() == Settings()


def test_what_is_around_a_value_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROGATEWAY_ADMIN_TOKEN", "from-a-file\n")
    monkeypatch.setenv("MICROGATEWAY_TRUSTED_PROXIES", " 10.0.0.0/8 ,::1,")
    told = read_settings()
    assert told.admin_token == "from-a-file"
    assert told.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# ports\nMICROGATEWAY_PORT=1\n\nexport MICROGATEWAY_HOST='::1'\n", ""),
        ("MICROGATEWAY_PROT=1\n", "MICROGATEWAY_PROT: there is no such setting; MICROGATEWAY_PORT is one"),
        ("DEFAULT_BURST_SIZ=1\n", "DEFAULT_BURST_SIZ: there is no such setting; DEFAULT_BURST_SIZE is one"),
        ("PORT=1\n", "PORT: there is no such setting; MICROGATEWAY_PORT is one"),
        ("\nMICROGATEWAY_PORT 1\n", "MICROGATEWAY_ENV_FILE: line 2 of "),
        ("MICROGATEWAY_PORT\n", "MICROGATEWAY_ENV_FILE: line 1 of "),
    ],
)
def test_a_file_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "settings"
    file.write_text(text)
    if told:
        assert complaint(monkeypatch, "MICROGATEWAY_ENV_FILE", str(file)).startswith(told)
    else:
        monkeypatch.setenv("MICROGATEWAY_ENV_FILE", str(file))
        assert (read_settings().port, read_settings().host) == (1, "::1")


def test_a_file_that_is_no_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_bytes(b"MICROGATEWAY_PORT=1\xff")
    told = complaint(monkeypatch, "MICROGATEWAY_ENV_FILE", str(file))
    assert told == f"MICROGATEWAY_ENV_FILE: {str(file)!r} can't be read: it is not UTF-8"


@pytest.mark.parametrize(
    "missing", ["opentelemetry", "opentelemetry.exporter", "opentelemetry.exporter.otlp.proto.http"]
)
def test_traces_without_opentelemetry_name_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    with pytest.raises(StartupError, match="pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"):
        require_opentelemetry()
