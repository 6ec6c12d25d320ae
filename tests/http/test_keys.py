"""What a key opens, at the proxy port: some services or all, now and no longer."""

from datetime import UTC, datetime

from microgateway.core import api_keys
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock
from tests.kit.configuration import key, route, service, settings
from tests.kit.gateway import running_gateway
from tests.kit.messages import lines
from tests.kit.upstream import running_upstream


def get(path: str, secret: str | None) -> bytes:
    fields = [] if secret is None else [f"X-API-Key: {secret}"]
    return lines(f"GET {path} HTTP/1.1", "Host: a.example", *fields)


def test_a_key_for_one_service_gets_403_for_the_others() -> None:
    """Behind 404 and 405, and before the circuit: a stranger gets 401 as ever, and nothing reaches the service."""
    narrow, wide = key("narrow", services=["one"], burst=100, per_minute=1), key("wide")
    with (
        running_upstream() as upstream,
        running_gateway(
            services=[service(upstream.url, "one"), service(upstream.url, "two", enabled=False)],
            routes=[
                route("/one", service_id="one", auth="required"),
                route("/two", service_id="two", auth="required", methods=["GET"]),
            ],
            keys=[narrow.entity, wide.entity],
            settings=settings(),
        ) as gateway,
        gateway.connect() as client,
    ):
        assert client.ask(get("/one", narrow.secret)).status == 200
        refused = client.ask(get("/two", narrow.secret))
        problem = refused.problem()
        assert (refused.status, problem["code"], problem["stage"]) == (403, "service_not_allowed", "auth")
        assert refused.one(b"x-ratelimit-remaining") == b"98"
        assert client.ask(get("/two", wide.secret)).problem()["code"] == "service_disabled"
        assert client.ask(get("/three", narrow.secret)).status == 404
        assert client.ask(get("/two", narrow.secret).replace(b"GET", b"PUT")).status == 405
        assert client.ask(get("/two", None)).status == 401
        assert len(upstream.requests) == 1


def test_a_key_past_its_expiry_is_refused_without_anybody_sweeping() -> None:
    clock = FakeClock()
    expires = datetime.fromtimestamp(clock.wall() + 10, UTC)
    issued = key(expires_at=expires.isoformat())
    with (
        running_upstream() as upstream,
        running_gateway(
            services=[service(upstream.url)],
            routes=[route("/", auth="required")],
            keys=[issued.entity],
            settings=settings(),
            clock=clock,
        ) as gateway,
        gateway.connect() as client,
    ):
        assert client.ask(get("/", issued.secret)).status == 200
        gateway.call(lambda _: clock.advance(9.999))
        assert client.ask(get("/", issued.secret)).status == 200
        gateway.call(lambda _: clock.advance(0.001))
        refused = client.ask(get("/", issued.secret))
        assert (refused.status, refused.problem()["code"]) == (401, "api_key_expired")


def test_after_a_rotation_both_texts_share_one_bucket_until_the_overlap_is_over() -> None:
    before, after, clock = key(burst=3, per_minute=1), key(), FakeClock()
    update = {
        "key_hash": api_keys.digest(after.secret.encode()),
        "previous_hash": before.entity.key_hash,
        "previous_expires_at": datetime.fromtimestamp(clock.wall() + 10, UTC),
    }
    rotated = before.entity.model_copy(update=update)
    with (
        running_upstream() as upstream,
        running_gateway(
            services=[service(upstream.url)],
            routes=[route("/", auth="required")],
            keys=[before.entity],
            settings=settings(),
            clock=clock,
        ) as gateway,
        gateway.connect() as client,
        gateway.connect() as other,
    ):
        assert client.ask(get("/", before.secret)).one(b"x-ratelimit-remaining") == b"2"
        snapshot: Snapshot = gateway.call(lambda served: served.listener.snapshot)
        gateway.apply(snapshot.with_key(rotated))
        assert client.ask(get("/", before.secret)).one(b"x-ratelimit-remaining") == b"1"
        assert other.ask(get("/", after.secret)).one(b"x-ratelimit-remaining") == b"0"
        gateway.call(lambda _: clock.advance(10.0))
        refused = client.ask(get("/", before.secret))
        assert (refused.status, refused.problem()["code"]) == (401, "api_key_expired")
        assert other.ask(get("/", after.secret)).status == 429
