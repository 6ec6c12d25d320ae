"""Tokens of other issuers at the proxy port: whose keys are fetched, and what a request does meanwhile."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from microgateway.entities import TokenIssuer
from microgateway.exchange import Exchange
from microgateway.observability.recorder import Sink
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock
from microgateway.tokens.key_source import COOLDOWN, LONGEST_WAIT
from tests.kit.client import Answer, Client
from tests.kit.configuration import key, route, service, settings
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.issuer import NAME, KeyServer, SigningKey, running_key_server, signing_key, token_issuer
from tests.kit.messages import lines
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until

ONE, TWO = signing_key("one"), signing_key("two")


@dataclass(frozen=True, slots=True)
class Scene:
    gateway: Gateway
    upstream: Upstream
    server: KeyServer
    clock: FakeClock
    issuer: TokenIssuer

    def token(self, signed_by: SigningKey = ONE, **changes: Any) -> str:
        usual = {"iss": NAME, "sub": "ada", "exp": self.clock.wall() + 3_600} | changes
        return signed_by.sign({name: value for name, value in usual.items() if value is not None})

    def ask(self, client: Client, token: str, path: str = "/") -> Answer:
        return client.ask(get(token, path))

    def pass_time(self, seconds: float) -> None:
        self.gateway.call(lambda _: self.clock.advance(seconds))

    def change(self, *issuers: TokenIssuer) -> None:
        snapshot: Snapshot = self.gateway.call(lambda served: served.listener.snapshot)
        self.gateway.apply(snapshot.with_issuers(issuers))

    def settle(self, fetches: int) -> None:
        """Until so many fetches are done, and the gateway has taken their keys."""
        self.server.wait_for(fetches=fetches)
        until(lambda: not self.gateway.call(is_fetching), "the keys are taken")


def is_fetching(served: Any) -> bool:
    return bool(served.verifier.sources.known("iss_1").is_fetching)


def get(token: str, path: str = "/") -> bytes:
    return lines(f"GET {path} HTTP/1.1", "Host: a.example", f"Authorization: Bearer {token}")


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.problem()["code"]


@contextmanager
def scene(*published: SigningKey, ready: bool = True, sinks: Sequence[Sink] = (), **fields: Any) -> Iterator[Scene]:
    """A gateway that believes one issuer, whose keys it has fetched, unless they are still on their way."""
    with running_upstream() as upstream, running_key_server(*(published or (ONE,))) as server:
        if not ready:
            server.may_answer.clear()
        clock, issuer = FakeClock(wall=time.time()), token_issuer(server.url, **fields)
        with running_gateway(
            services=[service(upstream.url)],
            routes=[route("/", auth="required")],
            keys=[key().entity],
            issuers=[issuer],
            settings=settings(client_idle_timeout=86_400, client_header_timeout=86_400),
            clock=clock,
            sinks=sinks,
        ) as gateway:
            stage = Scene(gateway, upstream, server, clock, issuer)
            if ready:
                stage.settle(1)
            yield stage


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES512", "EdDSA"])
def test_its_tokens_open_the_door(algorithm: str) -> None:
    signer = signing_key("key", algorithm)
    with scene(signer, algorithms=[algorithm]) as stage, stage.gateway.connect() as client:
        token = stage.token(signer)
        assert stage.ask(client, token).status == 200
        assert stage.ask(client, token).status == 200
        assert stage.server.fetches == 1
        assert stage.upstream.requests[0].all(b"authorization") == [f"Bearer {token}".encode()]
        assert stage.gateway.call(lambda served: served.usage.of_key("iss_1").total_requests) == 2


def test_what_is_not_believed_and_why() -> None:
    with (
        scene(ONE, audiences=["us", "others"], leeway_seconds=10) as stage,
        stage.gateway.connect() as client,
    ):
        now = stage.clock.wall()
        stranger = signing_key("one")
        for token, wanted in (
            (stage.token(stranger, aud="us"), "token_signature"),
            (stage.token(aud="us", iss="https://else.example"), "token_issuer"),
            (stage.token(aud="them"), "token_audience"),
            (stage.token(), "token_audience"),
            (stage.token(aud=["them", 7]), "token_audience"),
            (stage.token(aud="us", exp=now - 10), "token_expired"),
            (stage.token(aud="us", nbf=now + 11), "token_not_yet_valid"),
            (stage.token(aud="us", sub=None), "token_claims_missing"),
            (stage.token(aud="us", exp=None), "token_claims_missing"),
            (stage.token(signing_key("one", "ES384"), aud="us"), "token_algorithm"),
            (jwt.encode({"iss": NAME, "sub": "ada", "exp": now + 60, "aud": "us"}, "", "none"), "token_algorithm"),
        ):
            assert code(stage.ask(client, token)) == (401, wanted)
        for good in (stage.token(aud="us", exp=now - 9), stage.token(aud=["them", "others"], nbf=now + 9)):
            assert stage.ask(client, good).status == 200
        assert len(stage.upstream.requests) == 2


def test_its_public_key_is_no_secret_of_hmac() -> None:
    """The oldest attack on JWT: the key that everybody knows, used as the secret of another algorithm."""
    signer = signing_key("one", "RS256")
    pem = signer.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with scene(signer, algorithms=["RS256"]) as stage, stage.gateway.connect() as client:
        claims = {"iss": NAME, "sub": "ada", "exp": stage.clock.wall() + 60}
        text = b".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
            for part in ({"alg": "HS256", "kid": "one"}, claims)
        )
        mac = base64.urlsafe_b64encode(hmac.new(pem, text, hashlib.sha256).digest()).rstrip(b"=")
        assert code(stage.ask(client, (text + b"." + mac).decode())) == (401, "token_algorithm")


def test_every_subject_has_a_bucket_of_its_own_and_a_claim_may_choose_its_size() -> None:
    limits = {"gold": {"requests_per_minute": 1, "burst_size": 5}}
    with (
        scene(requests_per_minute=1, burst_size=2, limit_claim="plan", limits=limits) as stage,
        stage.gateway.connect() as client,
    ):

        def left(**claims: Any) -> bytes | None:
            return stage.ask(client, stage.token(**claims)).one(b"x-ratelimit-remaining")

        assert [left(sub="ada"), left(sub="ada", jti="another"), left(sub="bob")] == [b"1", b"0", b"1"]
        assert stage.ask(client, stage.token(sub="ada")).status == 429
        assert left(sub="gil", plan="gold") == b"4"
        assert left(sub="hal", plan=["silver", "gold"]) == b"4"
        assert left(sub="ivy", plan="silver") == b"1"
        assert left(sub="joe", plan={"gold": 1}) == b"1"


def test_a_request_waits_for_the_first_keys_and_the_loop_does_not() -> None:
    with scene(ready=False) as stage, stage.gateway.connect() as waiting, stage.gateway.connect() as other:
        stage.server.wait_for(asked=1)
        waiting.send(get(stage.token(), "/one") + get(stage.token(), "/two"))
        stage.gateway.settle()
        assert other.ask(lines("GET / HTTP/1.1", "Host: a.example")).status == 401
        assert stage.upstream.requests == []
        stage.server.may_answer.set()
        assert [waiting.read_answer().body for _ in range(2)] == [b"GET /one", b"GET /two"]
        assert stage.server.fetches == 1


def test_a_body_that_comes_meanwhile_comes_through() -> None:
    with scene(ready=False) as stage, stage.gateway.connect() as client:
        fields = ("Content-Length: 10", f"Authorization: Bearer {stage.token()}")
        client.send(lines("POST /a HTTP/1.1", "Host: a.example", *fields) + b"01234")
        stage.gateway.settle()
        client.send(b"56789")
        stage.server.may_answer.set()
        assert client.read_answer().status == 200
        assert stage.upstream.requests[0].body == b"0123456789"


def test_a_new_key_is_fetched_when_it_is_named_and_only_once_for_everybody() -> None:
    with scene() as stage, ExitStack() as clients:
        stage.server.keys.append(TWO.public())
        stage.pass_time(COOLDOWN)
        stage.server.may_answer.clear()
        crowd = [clients.enter_context(stage.gateway.connect()) for _ in range(32)]
        for place, client in enumerate(crowd):
            client.send(get(stage.token(TWO, sub=f"user {place}")))
        stage.gateway.settle()
        stage.server.may_answer.set()
        assert {client.read_answer().status for client in crowd} == {200}
        assert stage.server.fetches == 2


def test_an_unknown_key_is_asked_for_once_in_a_while() -> None:
    with scene() as stage, stage.gateway.connect() as client:
        unknown = stage.token(signing_key("unknown"))
        for _ in range(3):
            assert code(stage.ask(client, unknown)) == (401, "token_key_unknown")
        assert stage.server.asked == 1
        stage.pass_time(COOLDOWN)
        for _ in range(3):
            assert code(stage.ask(client, unknown)) == (401, "token_key_unknown")
        assert stage.server.asked == 2
        assert stage.ask(client, stage.token()).status == 200


def test_nobody_waits_longer_than_that_for_a_server_that_says_nothing() -> None:
    with scene(ready=False) as stage, stage.gateway.connect() as client:
        client.send(get(stage.token()))
        stage.gateway.settle()
        stage.pass_time(LONGEST_WAIT)
        assert code(client.read_answer()) == (401, "token_key_unknown")
        assert code(stage.ask(client, stage.token())) == (401, "token_key_unknown"), "at once: the clock stands still"
        stage.server.may_answer.set()
        stage.settle(1)
        assert stage.ask(client, stage.token()).status == 200


def test_who_sends_no_more_meanwhile_still_gets_the_answer() -> None:
    with scene(ready=False) as stage, stage.gateway.connect() as client:
        client.send(get(stage.token()))
        client.half_close()
        stage.gateway.settle()
        stage.server.may_answer.set()
        assert client.read_answer().status == 200
        client.assert_closed()


def test_who_leaves_meanwhile_is_recorded_once_and_forgotten() -> None:
    exchanges: list[Exchange] = []
    with scene(ready=False, sinks=[exchanges.extend]) as stage:
        with stage.gateway.connect() as client:
            client.send(get(stage.token()))
            stage.gateway.settle()
            client.reset()
        until(lambda: not stage.gateway.call(lambda served: served.listener.connections), "the client is gone")
        stage.gateway.call(lambda served: served.recorder.flush())
        assert [(exchange.status, exchange.code) for exchange in exchanges] == [(499, "client_closed_request")]
        stage.server.may_answer.set()
        stage.settle(1)
        stage.gateway.call(lambda served: served.recorder.flush())
        assert len(exchanges) == 1
        assert stage.upstream.requests == []


def test_a_key_that_is_taken_back_takes_its_tokens_along() -> None:
    with scene(ONE, TWO) as stage, stage.gateway.connect() as client, stage.gateway.connect() as other:
        by_one, by_two = stage.token(ONE), stage.token(TWO)
        assert [stage.ask(client, by_one).status, stage.ask(other, by_two).status] == [200, 200]
        stage.server.keys = [TWO.public()]
        stage.pass_time(300.0)  # they are no longer fresh
        stage.settle(2)
        assert code(stage.ask(client, by_one)) == (401, "token_key_unknown")
        assert stage.ask(other, by_two).status == 200


def test_while_its_server_is_away_the_keys_stay_good() -> None:
    with scene() as stage, stage.gateway.connect() as client:
        stage.server.status = 500
        stage.pass_time(301.0)
        stage.settle(2)
        assert stage.ask(client, stage.token()).status == 200
        assert stage.ask(client, stage.token(sub="new")).status == 200
        error = stage.gateway.call(lambda served: served.verifier.sources.known("iss_1").error)
        assert error
        stage.server.status = 200
        stage.pass_time(30.0)
        stage.settle(3)
        assert stage.gateway.call(lambda served: served.verifier.sources.known("iss_1").error) is None


def test_its_server_s_word_on_freshness_counts() -> None:
    with scene() as stage:
        stage.server.fields = {"Cache-Control": "max-age=60"}
        stage.pass_time(300.0)
        stage.settle(2)
        stage.pass_time(60.0)
        stage.settle(3)


def test_switched_off_changed_or_gone_the_very_next_request_knows() -> None:
    with scene() as stage, stage.gateway.connect() as client:
        token = stage.token(aud="us")
        assert stage.ask(client, token).status == 200
        stage.change(stage.issuer.model_copy(update={"audiences": ["them"]}))
        assert code(stage.ask(client, token)) == (401, "token_audience")
        stage.change(stage.issuer.model_copy(update={"enabled": False}))
        assert code(stage.ask(client, token)) == (401, "token_issuer")
        stage.change()
        assert code(stage.ask(client, token)) == (401, "token_issuer")
        stage.change(stage.issuer)
        stage.settle(2)
        assert stage.ask(client, token).status == 200


def test_a_change_of_something_else_fetches_nothing() -> None:
    with scene() as stage, stage.gateway.connect() as client:
        token = stage.token()
        assert stage.ask(client, token).status == 200
        snapshot: Snapshot = stage.gateway.call(lambda served: served.listener.snapshot)
        stage.gateway.apply(snapshot.with_key(key("new").entity))
        stage.change(stage.issuer.model_copy(update={"burst_size": 7, "requests_per_minute": 1}))
        assert stage.ask(client, token).one(b"x-ratelimit-limit") == b"1"
        assert stage.server.asked == 1


def test_tokens_of_the_gateway_s_own_need_no_issuer() -> None:
    with scene(ready=False) as stage, stage.gateway.connect() as client:

        def issue(served: Any) -> str:
            principal = served.listener.snapshot.keys.of_id("key")
            token: str = served.verifier.signer.issue(principal, stage.clock.wall()).text
            return token

        assert stage.ask(client, stage.gateway.call(issue)).status == 200
        threads = [thread for thread in threading.enumerate() if thread.name == "jwks"]
        assert len(threads) == 1
