"""The header that carries the API key may have another name: it decides, it is named, and it stays behind."""

import pytest

from microgateway.errors import StartupError
from microgateway.process.composition import proxy_options
from tests.kit.configuration import key, route, settings
from tests.kit.fixtures import running_pair
from tests.kit.messages import lines


def get(*fields: str) -> bytes:
    return lines("GET /a HTTP/1.1", "Host: a.example", *fields)


def test_the_named_header_opens_the_door_and_the_usual_one_is_any_other_field() -> None:
    issued = key()
    with (
        running_pair(
            routes=[route("/", auth="required")], keys=[issued.entity], MICROGATEWAY_API_KEY_HEADER="X-Our-Key"
        ) as pair,
        pair.gateway.connect() as client,
    ):
        refused = client.ask(get(f"X-API-Key: {issued.secret}"))
        assert (refused.status, refused.problem()["code"]) == (401, "api_key_missing")
        assert "X-Our-Key" in refused.problem()["detail"]
        assert b'header="X-Our-Key"' in (refused.one(b"www-authenticate") or b"")
        assert client.ask(get(f"x-our-key: {issued.secret}", "X-API-Key: the service's own")).status == 200
        (request,) = pair.upstream.requests
        assert request.all(b"x-our-key") == []
        assert request.all(b"x-api-key") == [b"the service's own"]
        assert client.ask(get(f"X-Our-Key: {issued.secret}", f"X-Our-Key: {issued.secret}")).status == 401
        assert client.ask(get(f"X_Our_Key: {issued.secret}")).status == 401


def test_it_goes_on_under_its_name_where_the_route_says_so() -> None:
    issued = key()
    with (
        running_pair(
            routes=[route("/", auth="required", forward_credentials=True)],
            keys=[issued.entity],
            MICROGATEWAY_API_KEY_HEADER="X-Our-Key",
        ) as pair,
        pair.gateway.connect() as client,
    ):
        assert client.ask(get(f"X-Our-Key: {issued.secret}")).status == 200
        assert pair.upstream.requests[0].all(b"x-our-key") == [issued.secret.encode()]
        assert pair.upstream.requests[0].all(b"x-api-key") == []


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer_Encoding", "Authorization", "Cookie", "X-Forwarded-For", "a b", "clé"]
)
def test_a_name_that_can_t_carry_a_key_stops_the_start(name: str) -> None:
    with pytest.raises(StartupError, match="MICROGATEWAY_API_KEY_HEADER"):
        proxy_options(settings(MICROGATEWAY_API_KEY_HEADER=name))
