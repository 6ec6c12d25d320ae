"""Keys and tokens from end to end: made at the control port, used and refused at the proxy port."""

from pathlib import Path
from typing import Any

import httpx2

from tests.kit.issuer import NAME, running_key_server, signing_key
from tests.kit.messages import lines
from tests.kit.upstream import running_upstream
from tests.kit.waiting import PATIENCE, until
from tests.process.gateway import Gateway, assert_problem, request, running_gateway


def with_token(token: str) -> bytes:
    return lines("GET /a HTTP/1.1", "Host: gateway.example", f"Authorization: Bearer {token}")


def token_for(gateway: Gateway, key: str) -> str:
    """Asked for by somebody who has the key, and no admin token."""
    url = f"http://127.0.0.1:{gateway.control_port}/api/auth/token"
    token: str = httpx2.post(url, json={"api_key": key}, timeout=PATIENCE, trust_env=False).json()["access_token"]
    return token


def test_a_revoked_key_and_its_token_are_refused_by_the_very_next_request(folder: Path) -> None:
    """On connections that were recognised before, and after a restart as before it."""
    with running_upstream() as upstream:
        with running_gateway(folder) as gateway:
            operator = gateway.operator
            service = operator.create("services", name="behind", base_url=upstream.url)
            operator.create("routes", path="/", service_id=service["id"])
            key, other = (operator.create("keys", name=name) for name in ("one", "two"))
            token, kept = token_for(gateway, key["key"]), token_for(gateway, other["key"])
            with gateway.connect() as by_key, gateway.connect() as by_token:
                assert by_key.ask(request("/a", key["key"])).status == 200
                assert by_token.ask(with_token(token)).status == 200
                operator.delete("keys", key["id"])
                assert_problem(by_token.ask(with_token(token)), 401, "token_revoked", "auth")
                assert_problem(by_key.ask(request("/a", key["key"])), 401, "api_key_disabled", "auth")
            assert (folder / "jwt_secret").stat().st_mode & 0o777 == 0o600
            gateway.command.terminate()
            assert gateway.command.wait() == 0
        with running_gateway(folder) as gateway:
            assert_problem(gateway.ask(with_token(token)), 401, "token_revoked", "auth")
            assert gateway.ask(with_token(kept)).status == 200
            assert token not in gateway.command.said


def test_an_issuer_is_believed_from_its_creation_to_its_end(folder: Path) -> None:
    signer = signing_key()
    with running_upstream() as upstream, running_key_server(signer) as server, running_gateway(folder) as gateway:
        operator = gateway.operator
        service = operator.create("services", name="behind", base_url=upstream.url)
        operator.create("routes", path="/", service_id=service["id"])
        fields: dict[str, Any] = {"name": "others", "issuer": NAME, "jwks_url": server.url, "algorithms": ["ES256"]}
        issuer = operator.create("token-issuers", **fields)
        token = signer.sign({"iss": NAME, "sub": "ada", "exp": 4_000_000_000})
        assert gateway.ask(with_token(token)).status == 200
        until(lambda: operator.all("token-issuers")[0]["total_requests"] == 1, "its request is counted")
        assert operator.all("token-issuers")[0]["key_ids"] == ["one"]
        operator.delete("token-issuers", issuer["id"])
        assert_problem(gateway.ask(with_token(token)), 401, "token_issuer", "auth")
