"""A token for a key, and what a token is worth: at the control port, without an admin token."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import jwt
import pytest

from tests.control_plane.control import SECRET, Control, client_for


@pytest.fixture
async def holder(control: Control) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who has a key, and no admin token."""
    async with client_for(control.app, None) as client:
        yield client


async def ask(holder: httpx2.AsyncClient, what: str, body: object, status: int = 200) -> Any:
    answer = await holder.post(f"/api/auth/{what}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_key_makes_a_token_that_is_good(control: Control, holder: httpx2.AsyncClient) -> None:
    created = await control.key(scopes=["read", "write"])
    answer = await ask(holder, "token", {"api_key": created["key"]})
    assert answer.keys() == {"access_token", "token_type", "expires_in"}
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 3_600)
    claims = jwt.decode(answer["access_token"], SECRET, algorithms=["HS256"], options={"verify_exp": False})
    now = int(control.clock.wall())
    assert claims["jti"]
    assert claims == {
        "iss": "microgateway",
        "sub": created["id"],
        "iat": now,
        "exp": now + 3_600,
        "jti": claims["jti"],
        "scope": "read write",
    }
    assert await ask(holder, "validate", {"token": answer["access_token"]}) == {"valid": True, "claims": claims}


async def test_it_ends_with_its_time_and_with_its_key(control: Control, holder: httpx2.AsyncClient) -> None:
    created = await control.key()
    token = (await ask(holder, "token", {"api_key": created["key"]}))["access_token"]
    await control.delete(f"/api/keys/{created['id']}")
    assert await ask(holder, "validate", {"token": token}) == {"valid": False, "reason": "token_revoked"}
    other = (await ask(holder, "token", {"api_key": (await control.key("other"))["key"]}))["access_token"]
    control.clock.advance(3_600)
    assert await ask(holder, "validate", {"token": other}) == {"valid": False, "reason": "token_expired"}


async def test_a_key_that_ends_soon_makes_a_short_token(control: Control, holder: httpx2.AsyncClient) -> None:
    ends = datetime.fromtimestamp(control.clock.wall() + 90, UTC)
    created = await control.key(expires_at=ends.isoformat())
    assert (await ask(holder, "token", {"api_key": created["key"]}))["expires_in"] == 90
    control.clock.advance(90)
    assert (await ask(holder, "token", {"api_key": created["key"]}, 401))["code"] == "api_key_expired"


async def test_what_is_no_key_makes_no_token(control: Control, holder: httpx2.AsyncClient) -> None:
    switched_off = await control.key(enabled=False)
    for text, code in (
        ("", "api_key_invalid"),
        ("wrong", "api_key_invalid"),
        ("é", "api_key_invalid"),
        (switched_off["key"], "api_key_disabled"),
    ):
        answer = await holder.post("/api/auth/token", json={"api_key": text})
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["www-authenticate"].startswith("ApiKey")


@pytest.mark.parametrize("token", ["", "a.b.c", "é", "x" * 9_000, ".."])
async def test_what_is_no_token_is_not_valid(holder: httpx2.AsyncClient, token: str) -> None:
    answer = await ask(holder, "validate", {"token": token})
    assert answer == {"valid": False, "reason": "token_too_large" if len(token) > 8_192 else "token_malformed"}


@pytest.mark.parametrize(("what", "field"), [("token", "api_key"), ("validate", "token")])
async def test_half_of_a_character_is_no_text(holder: httpx2.AsyncClient, what: str, field: str) -> None:
    body = b'{"%b": "\\ud800"}' % field.encode()
    answer = await holder.post(f"/api/auth/{what}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize(("what", "field"), [("token", "api_key"), ("validate", "token")])
@pytest.mark.parametrize("body", [{}, {"api_key": 7, "token": 7}, {"api_key": "a", "token": "b", "more": 1}, [], "a"])
async def test_a_body_that_makes_no_sense(holder: httpx2.AsyncClient, what: str, field: str, body: object) -> None:
    problem = await ask(holder, what, body, 422)
    assert problem["code"] == "invalid"
    assert problem["errors"]


async def test_a_stranger_can_t_send_much(holder: httpx2.AsyncClient) -> None:
    assert (await ask(holder, "token", {"api_key": "a" * 20_000}, 413))["code"] == "body_too_large"


async def test_who_fails_too_often_waits_and_others_do_not(control: Control, holder: httpx2.AsyncClient) -> None:
    created = await control.key()
    for _ in range(20):
        await ask(holder, "token", {"api_key": "wrong"}, 401)
    problem = await ask(holder, "token", {"api_key": created["key"]}, 429)
    assert problem["code"] == "too_many_attempts"
    other = httpx2.ASGITransport(control.app, client=("203.0.113.7", 1))
    async with httpx2.AsyncClient(transport=other, base_url="http://control.test") as elsewhere:
        await ask(elsewhere, "token", {"api_key": created["key"]})
    control.clock.advance(1.0)
    for _ in range(30):
        await ask(holder, "token", {"api_key": created["key"]})
