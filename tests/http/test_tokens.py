"""A token in place of a key, at the proxy port: what it opens, whose bucket it uses, and what becomes of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from microgateway.snapshot import Snapshot
from tests.kit.client import Client
from tests.kit.configuration import IssuedKey, key, route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import lines


def get(*fields: str, path: str = "/a") -> bytes:
    return lines(f"GET {path} HTTP/1.1", "Host: a.example", *fields)


def token_of(pair: Pair, key_id: str = "key") -> str:
    """As the control port would make it."""

    def issue(served: Any) -> str:
        principal = served.listener.snapshot.keys.of_id(key_id)
        token: str = served.verifier.signer.issue(principal, time.time()).text
        return token

    return pair.gateway.call(issue)


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


@contextmanager
def behind_a_key(*keys: IssuedKey, **fields: Any) -> Iterator[tuple[Pair, Client]]:
    routes = [route("/", auth="required", **fields), route("/public", auth="none")]
    with (
        running_pair(routes=routes, keys=[issued.entity for issued in keys]) as pair,
        pair.gateway.connect() as client,
    ):
        yield pair, client


def test_it_opens_what_its_key_opens() -> None:
    with behind_a_key(key()) as (pair, client):
        token = token_of(pair)
        for field in (bearer(token), f"authorization: bearer   {token}", f"Authorization: BEARER {token}"):
            assert client.ask(get(field)).status == 200
        assert pair.gateway.call(lambda served: served.usage.of_key("key").total_requests) == 3


def test_it_stays_with_the_gateway_and_other_authorization_goes_on() -> None:
    with behind_a_key(key("one")) as (pair, client):
        token = token_of(pair, "one")
        for fields, arrived in (
            ((bearer(token),), []),
            ((bearer(token), "Authorization: Basic YTpi"), [b"Basic YTpi"]),
        ):
            assert client.ask(get(*fields)).status == 200
            assert pair.upstream.requests[-1].all(b"authorization") == arrived
        for field in ("Authorization: Basic YTpi", "Authorization: Bearer the-service's-own"):
            assert client.ask(get(field, path="/public")).status == 200
            assert pair.upstream.requests[-1].all(b"authorization") == [field.partition(": ")[2].encode()]
        assert client.ask(get(bearer(token), path="/public")).status == 200
        assert pair.upstream.requests[-1].all(b"authorization") == []


def test_it_goes_on_where_the_route_says_so() -> None:
    with behind_a_key(key(), forward_credentials=True) as (pair, client):
        token = token_of(pair)
        assert client.ask(get(bearer(token))).status == 200
        assert pair.upstream.requests[0].all(b"authorization") == [b"Bearer " + token.encode()]


def test_where_a_key_comes_too_the_key_decides() -> None:
    one, two = key("one"), key("two")
    with behind_a_key(one, two) as (pair, client):
        assert client.ask(get(bearer("nonsense"), f"X-API-Key: {one.secret}")).status == 200
        assert pair.upstream.requests[-1].all(b"authorization") == [b"Bearer nonsense"]
        refused = client.ask(get(bearer(token_of(pair, "two")), "X-API-Key: wrong"))
        assert (refused.status, refused.problem()["code"]) == (401, "api_key_invalid")
        assert client.ask(get(bearer(token_of(pair, "two")), f"X-API-Key: {one.secret}")).status == 200
        assert pair.gateway.call(lambda served: served.usage.of_key("two").total_requests) == 0


def test_its_key_revoked_the_very_next_request_is_refused_on_the_same_connection() -> None:
    issued = key()
    with behind_a_key(issued) as (pair, client):
        token = token_of(pair)
        with pair.gateway.connect() as other:
            assert client.ask(get(bearer(token))).status == 200
            assert other.ask(get(f"X-API-Key: {issued.secret}")).status == 200
            snapshot: Snapshot = pair.gateway.call(lambda served: served.listener.snapshot)
            revoked = issued.entity.model_copy(update={"revoked_at": datetime.now(UTC)})
            pair.gateway.apply(snapshot.with_key(revoked))
            by_token, by_key = client.ask(get(bearer(token))), other.ask(get(f"X-API-Key: {issued.secret}"))
        assert (by_token.status, by_token.problem()["code"]) == (401, "token_revoked")
        assert (by_key.status, by_key.problem()["code"]) == (401, "api_key_disabled")
        pair.gateway.apply(snapshot)
        assert client.ask(get(bearer(token))).status == 200


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (("Authorization: Bearer",), "token_malformed"),
        (("Authorization: Bearer a.b",), "token_malformed"),
        (("Authorization: Bearer " + "a" * 9_000,), "token_too_large"),
        (("Authorization: Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJtaWNyb2dhdGV3YXkifQ.",), "token_algorithm"),
        (("Authorization: Bearer a.b.c", "Authorization: Bearer a.b.c"), "token_repeated"),
        (("Authorization: Bearer \xff\xfe.\xff.\xff",), "token_malformed"),
        (("Authorization: Basic YTpi",), "api_key_missing"),
        ((), "api_key_missing"),
    ],
)
def test_what_is_refused_says_why_and_how_to_do_better(fields: tuple[str, ...], code: str) -> None:
    with behind_a_key(key()) as (pair, client):
        refused = client.ask(get(*fields))
        problem = refused.problem()
        assert (refused.status, problem["code"], problem["stage"]) == (401, code, "auth")
        challenge = (refused.one(b"www-authenticate") or b"").decode()
        assert 'Bearer realm="microgateway"' in challenge
        assert ('error="invalid_token"' in challenge) == code.startswith("token")
        assert pair.upstream.requests == []


def test_a_crowd_with_tokens_of_one_key_gets_what_its_bucket_holds() -> None:
    """64 connections, half of them with tokens of their own, half with the key: one bucket of 600/min and 20."""
    issued = key(per_minute=600, burst=20)
    with behind_a_key(issued) as (pair, _), ExitStack() as clients:
        crowd = [clients.enter_context(pair.gateway.connect()) for _ in range(64)]
        credentials = [bearer(token_of(pair)) if place % 2 else f"X-API-Key: {issued.secret}" for place in range(64)]
        admitted: list[int] = []
        firsts: list[float] = []  # when a client had its first answer
        lasts: list[float] = []  # when it sent its last request
        began, give_up = time.monotonic(), time.monotonic() + 1.0

        def hammer(client: Client, field: str) -> None:
            count = int(client.ask(get(field)).status == 200)
            firsts.append(time.monotonic())
            while (now := time.monotonic()) < give_up:
                count += client.ask(get(field)).status == 200
                lasts.append(now)
            admitted.append(count)

        threads = [threading.Thread(target=hammer, args=pair) for pair in zip(crowd, credentials, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        longest = time.monotonic() - began
    shortest = max(lasts, default=0.0) - min(firsts)  # the bucket began to fill before, and was asked again after
    assert 20 + 10 * shortest - 1 <= sum(admitted) <= 20 + 10 * longest + 1
