"""Others whose tokens are believed: configured by the API, in force when the call returns."""

from typing import Any

import pytest

from microgateway.control_plane.access import FOR_KEY_HOLDERS
from tests.control_plane.control import Control, client_for
from tests.kit.issuer import NAME, running_key_server, signing_key

URL = "http://127.0.0.1:9/keys"
GOOD: dict[str, Any] = {"name": "others", "issuer": NAME, "jwks_url": URL}


def fields(problem: Any) -> list[str]:
    return [error["field"] for error in problem["errors"]]


async def test_a_whole_life(control: Control) -> None:
    created = await control.post("/api/token-issuers", {**GOOD, "audiences": ["us"], "limit_claim": "plan"})
    path = f"/api/token-issuers/{created['id']}"
    assert created["id"].startswith("iss_")
    assert (created["algorithms"], created["enabled"], created["leeway_seconds"]) == (["RS256"], True, 10)
    assert (created["requests_per_minute"], created["burst_size"]) == (60, 10)
    assert (created["key_ids"], created["keys_fetched_at"], created["keys_error"]) == ([], None, None)
    assert await control.get(path) == created
    assert (await control.get("/api/token-issuers", params={"issuer": NAME}))["items"] == [created]
    compiled = control.published[-1].keys.issuers[NAME]
    assert (compiled.id, compiled.audiences) == (created["id"], frozenset(("us",)))
    merged = await control.patch(path, {"limits": {"gold": {"requests_per_minute": 6, "burst_size": 5}}})
    assert merged["audiences"] == ["us"]
    assert control.published[-1].keys.issuers[NAME].limits["gold"][0].burst == 5
    assert await control.put(path, merged) == merged
    replaced = await control.put(path, GOOD)
    assert (replaced["audiences"], replaced["limits"], replaced["created_at"]) == ([], {}, created["created_at"])
    await control.patch(path, {"enabled": False})
    assert control.published[-1].keys.issuers == {}
    await control.delete(path)
    await control.get(path, 404)
    await control.delete(path, 404)


async def test_two_can_t_have_the_same_name_for_themselves(control: Control) -> None:
    first = await control.post("/api/token-issuers", GOOD)
    problem = await control.post("/api/token-issuers", {**GOOD, "name": "more"}, 409)
    assert (problem["code"], fields(problem)) == ("conflict", ["issuer"])
    second = await control.post("/api/token-issuers", {**GOOD, "issuer": "https://second.example"})
    assert fields(await control.patch(f"/api/token-issuers/{second['id']}", {"issuer": NAME}, 409)) == ["issuer"]
    assert control.published[-1].keys.issuers.keys() == {first["issuer"], second["issuer"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"issuer": "microgateway"}, "issuer"),
        ({"issuer": ""}, "issuer"),
        ({"jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"jwks_url": "ftp://a.example/"}, "jwks_url"),
        ({"jwks_url": "https:///keys"}, "jwks_url"),
        ({"jwks_url": "https://user:password@a.example/"}, "jwks_url"),
        ({"jwks_url": "https://a.example/ keys"}, "jwks_url"),
        ({"jwks_url": "https://a.example:port/"}, "jwks_url"),
        ({"jwks_url": "https://a.example/#x"}, "jwks_url"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms.0"),
        ({"algorithms": ["none"]}, "algorithms.0"),
        ({"limits": {"gold": {"requests_per_minute": 1, "burst_size": 1}}}, "limits"),
        ({"limit_claim": "plan", "limits": {"gold": {"burst_size": 1}}}, "limits.gold.requests_per_minute"),
        ({"leeway_seconds": 301}, "leeway_seconds"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_what_makes_no_sense(control: Control, change: dict[str, Any], field: str) -> None:
    assert fields(await control.post("/api/token-issuers", {**GOOD, **change}, 422)) == [field]


async def test_a_restart_knows_them_and_keeps_them_apart_from_keys(control: Control) -> None:
    created = await control.post("/api/token-issuers", {**GOOD, "jwks_url": "https://a.example/keys?policy=b"})
    await control.key()
    compiled = control.published[-1].keys.issuers[NAME]
    assert compiled.jwks_url == created["jwks_url"]
    await control.configuration.load()
    assert control.published[-1].keys.issuers[NAME] is compiled
    assert len(control.published[-1].keys) == 1


async def test_its_tokens_are_judged_when_its_keys_have_come(control: Control) -> None:
    signer = signing_key()
    with running_key_server(signer) as server:
        created = await control.post("/api/token-issuers", {**GOOD, "jwks_url": server.url, "algorithms": ["ES256"]})
        claims = {"iss": NAME, "sub": "ada", "exp": control.clock.wall() + 60}
        async with client_for(control.app, None) as stranger:

            async def judge(token: str) -> Any:
                return (await stranger.post("/api/auth/validate", json={"token": token})).json()

            assert await judge(signer.sign(claims)) == {"valid": True, "claims": claims}
            other = signing_key("other").sign(claims)
            assert await judge(other) == {"valid": False, "reason": "token_key_unknown"}
        seen = await control.get(f"/api/token-issuers/{created['id']}")
        assert (seen["key_ids"], seen["keys_error"]) == (["one"], None)
        assert seen["keys_fetched_at"] is not None
        assert server.fetches == 1


async def test_it_takes_an_admin(control: Control) -> None:
    assert not any("issuers" in path for path in FOR_KEY_HOLDERS)
    async with client_for(control.app, None) as stranger:
        assert (await stranger.get("/api/token-issuers")).status_code == 401
