"""Rows about what is said between client, gateway and service, played over sockets."""

import base64
import hmac
import json
import threading
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from microgateway.core.circuit import CircuitPolicy
from microgateway.data_plane.peer import Peer
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock
from tests.kit.client import Answer
from tests.kit.configuration import key, route, service, settings
from tests.kit.fixtures import Pair, running_pair
from tests.kit.gateway import running_gateway
from tests.kit.messages import answer, lines
from tests.kit.peers.rows import REFUSED, Players, Row, Values, Verdict, compare
from tests.kit.steps import Call, Close, Echo, ReadToEnd, Reset, Send, Step, WaitFor
from tests.kit.upstream import RecordedRequest, running_upstream
from tests.kit.waiting import PATIENCE

FAILS: tuple[Step, ...] = (Close(),)


def get(row: Row, *more: str, host: str | None = None) -> bytes:
    request = row.request
    fields = [f"{name}: {value}" for name, given in request.get("headers", {}).items() for value in _each(given)]
    line = f"{request.get('method', 'GET')} {request.get('path', '/')} HTTP/1.1"
    return lines(line, f"Host: {host or request.get('host', 'a.example')}", *fields, *more)


def _each(given: str | list[str]) -> Sequence[str]:
    return given if isinstance(given, list) else [given]


def told(request: RecordedRequest, name: str) -> str | None:
    """A field as the service sees it, several lines as one."""
    values = request.all(name.encode())
    return b", ".join(values).decode() if values else None


# -- forwarding fields -------------------------------------------------------------------------------------------------


def play_forwarding(row: Row) -> Verdict:
    """What the service is told of the client. `insecure` and `append_xff` are peers' words for believing everybody."""
    config = row.config
    believes_all = config.get("insecure") or config.get("append_xff") is not None
    trusted = ["0.0.0.0/0"] if believes_all else config.get("trusted_proxies", [])
    routes = [route(one["paths"][0], strip_prefix=one["strip_path"]) for one in config.get("routes", [])]
    with running_pair(routes=routes, trusted_proxies=", ".join(trusted)) as pair, pair.gateway.connect() as client:
        assert client.ask(get(row, host=config.get("host"))).status == 200
        request = pair.upstream.requests[0]
        listened = pair.gateway.port
    return _compare_fields(row, request, peer=config.get("peer", "127.0.0.1").partition(":")[0], listened=listened)


def _compare_fields(row: Row, request: RecordedRequest, *, peer: str, listened: int) -> Verdict:
    """Names in the row are fields, or groups of them. The client's address is that of the row."""
    wanted: Values = dict(row.expected.get("upstream_headers", {}))
    wanted |= dict.fromkeys(row.expected.get("upstream_headers_absent", []))
    wanted |= {name: value for name, value in row.expected.items() if name.startswith("x-forwarded")}
    observed = {name: (told(request, name) or "").replace("127.0.0.1", peer) or None for name in wanted}
    if "append_xff" not in row.config and row.config.get("insecure"):
        wanted = {name: f"{value}, {peer}" if name == "x-forwarded-for" else value for name, value in wanted.items()}
    if (default := str(listened)) in observed.values():
        observed = {name: "80" if value == default else value for name, value in observed.items()}
    return Verdict(wanted, observed)


def play_direct_peer(row: Row) -> Verdict:
    """An IPv6 client, which needs no socket to be told of."""
    lines_of_peer = Peer("::1", 80, secure=False, trusted_networks=()).lines_for(None, b"a.example")
    client = [line for line in lines_of_peer.split(b"\r\n") if line.startswith(b"X-Real-IP: ")]
    return compare(row, {"client_ip": client[0].partition(b": ")[2].decode()})


def play_secure_peer(row: Row) -> Verdict:
    """The port of https, on a listener that has it."""
    told_of = Peer("192.0.2.1", 443, secure=True, trusted_networks=()).lines_for(None, b"a.example")
    ports = [line.partition(b": ")[2] for line in told_of.split(b"\r\n") if line.startswith(b"X-Forwarded-Port: ")]
    return compare(row, {"x-forwarded-port": b", ".join(ports).decode()})


def play_hops_of_an_answer(row: Row) -> Verdict:
    with running_pair() as pair, pair.gateway.connect() as client:
        fields = ("Keep-Alive: timeout=5", "Trailer: X-T", "Upgrade: h2c", "Transfer-Encoding: chunked")
        pair.upstream.script(Send(lines("HTTP/1.1 200 OK", *fields) + b"2\r\nok\r\n0\r\n\r\n"))
        got = client.ask(get(row))
    absent = [name for name in row.expected["client_headers_absent"] if name.encode() not in got.head.names()]
    coding = got.one(b"transfer-encoding")
    return compare(
        row, {"client_headers_absent": absent, "client_headers": {"transfer-encoding": (coding or b"").decode()}}
    )


def play_hops_of_a_request(row: Row) -> Verdict:
    with running_pair(read_by_h11=False) as pair, pair.gateway.connect() as client:
        client.ask(get(row))
        names = pair.upstream.requests[0].head.names()
    return compare(row, {"removed": [name for name in row.expected["removed"] if name.encode() not in names]})


def play_protocol_condition(row: Row) -> Verdict:
    """Routes for https only."""
    try:
        for one in row.config["routes"]:
            route("/", hosts=one["hosts"], protocols=one["protocols"])
    except ValidationError:
        return Verdict(row.expected, REFUSED)
    return Verdict(row.expected, "played")


def play_fragment(row: Row) -> Verdict:
    with running_pair() as pair, pair.gateway.connect() as client:
        return compare(
            row, {"status": client.ask(lines(f"GET {row.request['url']} HTTP/1.1", "Host: example.com")).status}
        )


# -- keys --------------------------------------------------------------------------------------------------------------


def play_key(row: Row) -> Verdict:
    """Keys by header: the peer's header is our X-API-Key, and the row's key is one that we issued."""
    issued = key("bob")
    known = next(iter(row.config["keys"]))
    row_request = dict(row.request)
    row_request["headers"] = {
        ("X-API-Key" if name == "apikey" else name): value.replace(known, issued.secret)
        if not known.startswith("$")
        else value
        for name, value in row.request.get("headers", {}).items()
    }
    row_request["path"] = row.request["path"].replace("=" + known, "=" + issued.secret)
    hidden = row.config.get("hide_credentials", True)
    routes = [route("/", auth="required", forward_credentials=not hidden)]
    with running_pair(routes=routes, keys=[issued.entity]) as pair, pair.gateway.connect() as client:
        got = client.ask(get(Row(row.id, row.area, row.config, row_request, row.expected)))
        observed = _observe_key(row, got, pair, known, issued.secret)
    return compare(row, observed, "body", "body_message")


def _observe_key(row: Row, got: Answer, pair: Pair, known: str, secret: str) -> Values:
    observed: Values = {"status": got.status, "allowed": got.status == 200}
    if got.status == 200:
        request = pair.upstream.requests[0]
        observed["consumer"] = "bob"
        observed["upstream_target"] = request.target.decode().replace(secret, known)
        names = {"apikey": "x-api-key"}
        wanted = row.expected.get("upstream_headers", {})
        observed["upstream_headers"] = {
            name: (told(request, names.get(name, name)) or "").replace(secret, known) for name in wanted
        }
        absent = row.expected.get("upstream_headers_absent", [])
        observed["upstream_headers_absent"] = [name for name in absent if told(request, names.get(name, name)) is None]
    return observed


TOKEN_SECRET = "the secret that our tokens are signed with"
TOKEN_TIME = 1_700_000_000  # seconds since the epoch, when these rows are played


def play_token(row: Row) -> Verdict:
    """Tokens: the peer's credential is our secret, its issuer or consumer our key. Ours come in Authorization only."""
    issued = key("bob")
    fields = () if row.request["token"] is None else (f"Authorization: bearer {_token(row)}",)
    with (
        running_upstream() as upstream,
        running_gateway(
            services=[service(upstream.url)],
            routes=[route("/", auth="required")],
            keys=[issued.entity],
            settings=settings(JWT_SECRET=TOKEN_SECRET),
            clock=FakeClock(wall=TOKEN_TIME),
        ) as gateway,
        gateway.connect() as client,
    ):
        got = client.ask(lines("GET / HTTP/1.1", "Host: a.example", *fields))
    challenge = (got.one(b"www-authenticate") or b"").decode()
    observed: Values = {"status": got.status, "headers": {"WWW-Authenticate": challenge}}
    told = row.expected.get("headers", {}).get("WWW-Authenticate", "").replace("test-jwt", "microgateway")
    if all(word in challenge for word in told.split(" ")):  # a challenge may say more than the row asks
        observed["headers"] = row.expected.get("headers")
    return compare(row, observed, "body", "body_message")


def _token(row: Row) -> str:
    """A good token of ours, but for what the row has it say, or how it has it signed."""
    said = row.request["token"]
    wanted = said.get("claims", {})
    claims = {"iss": "microgateway", "sub": "bob", "iat": TOKEN_TIME, "jti": "a", "exp": TOKEN_TIME + 60}
    if "claims_to_verify" in row.config and "exp" not in wanted:
        del claims["exp"]  # that it is missing is what the row is about
    claims |= {name: _date(value) for name, value in wanted.items() if name in ("exp", "nbf")}
    secret = TOKEN_SECRET if "HS secret" in said.get("signed", "HS secret") else "something else that is long enough"
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256"} | said.get("header", {}), claims)
    ]
    signed = b".".join(parts)
    mac = base64.urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).rstrip(b"=")
    return (signed + b"." + mac).decode()


def _date(value: int | str) -> int:
    return value if isinstance(value, int) else TOKEN_TIME + int(value.removeprefix("now"))


def play_limit_fields(row: Row) -> Verdict:
    issued = key(per_minute=row.config["rate"], burst=row.config["rate"])
    with (
        running_pair(routes=[route("/", auth="required")], keys=[issued.entity]) as pair,
        pair.gateway.connect() as client,
    ):
        pair.upstream.script(
            Send(answer(200, *(f"{name}: {value}" for name, value in row.config["upstream_sets"].items())))
        )
        got = client.ask(lines("GET / HTTP/1.1", "Host: a.example", f"X-API-Key: {issued.secret}"))
    reset = (got.one(b"x-ratelimit-reset") or b"").decode()
    observed: Values = {
        "status": got.status,
        "X-RateLimit-Limit": [value.decode() for value in got.all(b"x-ratelimit-limit")],
    }
    observed["X-RateLimit-Remaining"] = (got.one(b"x-ratelimit-remaining") or b"").decode()
    observed["X-RateLimit-Reset"] = (
        "gateway's own" if reset != row.config["upstream_sets"]["X-RateLimit-Reset"] else reset
    )
    return compare(row, observed)


def play_same_configuration_again(row: Row) -> Verdict:
    """Putting the same in force again gives nobody a new limit. The peer refuses with 503, we with 429."""
    issued = key(per_minute=1, burst=row.config["count"])
    statuses: list[int] = []
    with (
        running_pair(routes=[route("/", auth="required")], keys=[issued.entity]) as pair,
        pair.gateway.connect() as client,
    ):
        for step in row.request["sequence"]:
            if step.startswith("PUT"):
                same = Snapshot().with_keys([issued.entity])
                table = same.with_table([service(pair.upstream.url)], [route("/", auth="required")], CircuitPolicy())
                pair.gateway.apply(table)
                statuses.append(200)
            else:
                got = client.ask(lines("GET / HTTP/1.1", "Host: a.example", f"X-API-Key: {issued.secret}"))
                statuses.append(503 if got.status == 429 else got.status)
    return compare(row, {"statuses": statuses})


# -- attempts ----------------------------------------------------------------------------------------------------------


def attempt(
    row: Row,
    *scripts: tuple[Step, ...],
    retries: int,
    request: bytes | None = None,
    usually: tuple[Step, ...] = (Echo(),),
    **overrides: Any,
) -> Values:
    """One request to a service that plays a script an attempt. What came of it, in all the words that rows have for
    it.
    """
    with running_pair(routes=[route("/", retries=retries)], **overrides) as pair, pair.gateway.connect() as client:
        for script in scripts:
            pair.upstream.script(*script)
        pair.upstream.usually(*usually)
        sends = request or lines("GET / HTTP/1.1", "Host: test.test")
        got = client.ask(sends, sends.partition(b" ")[0])
        seen = pair.upstream.requests
        bodies = {sent.body.decode() for sent in seen}
        pair.upstream.violations.clear()
    tries = len(seen)
    return {
        "status": got.status, "tries": tries, "retries": tries - 1, "retry": tries > 1,
        "body_seen_each_try": bodies.pop() if len(bodies) == 1 else bodies,
        "second_time": "no (limit reached)" if tries == retries + 1 else f"{tries} tries", "answer": got, "seen": seen,
    }  # fmt: skip


def says(status: int) -> tuple[Step, ...]:
    return (Send(answer(status)),)


def play_network_failures(row: Row) -> Verdict:
    failures = row.request["network_failures_before_success"]
    return compare(row, attempt(row, *[FAILS] * failures, retries=row.config["attempts"] - 1))


def play_answers(row: Row) -> Verdict:
    """A service that answers with these statuses, one an attempt."""
    body = row.request.get("body", "").encode()
    request = lines(f"{row.request['method']} / HTTP/1.1", "Host: a.example", f"Content-Length: {len(body)}") + body
    scripts = [says(status) for status in row.request["responses"]]
    return compare(row, attempt(row, *scripts, retries=row.config["attempts"] - 1, request=request))


def play_no_server(row: Row) -> Verdict:
    with running_pair(service_fields={"enabled": False}) as pair, pair.gateway.connect() as client:
        status = client.ask(lines("GET / HTTP/1.1", "Host: a.example")).status
        return compare(row, {"status": status, "retries": len(pair.upstream.requests)})


def play_fields_of_failed_tries(row: Row) -> Verdict:
    """Each try says its own field; those of a try that failed are nobody's."""
    tries = [(Send(f"HTTP/1.1 200 OK\r\nX-Foo-Test-{number}: 1\r\n".encode()), Close()) for number in range(2)]
    last = (Send(lines("HTTP/1.1 204 No Content", "X-Foo-Test-2: 1")),)
    observed = attempt(row, *tries, last, retries=row.config["attempts"] - 1)
    names = observed["answer"].head.names()
    for wanted, is_there in (("response_headers_present", True), ("response_headers_absent", False)):
        observed[wanted] = [name for name in row.expected[wanted] if (name.lower().encode() in names) is is_there]
    return compare(row, observed)


def play_websocket(row: Row) -> Verdict:
    handshake = lines("GET / HTTP/1.1", "Host: a.example", "Connection: Upgrade", "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
                      "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")  # fmt: skip
    switch = lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")
    return compare(
        row, attempt(row, (Send(switch), ReadToEnd(), Close()), retries=2, request=handshake, read_by_h11=False)
    )


def play_dead_and_alive(row: Row) -> Verdict:
    """Two targets, one of which refuses. Asked several times, since which is asked first is chance."""
    strips = "/test" if "middlewares" in row.config else "/"
    with running_upstream() as gone:
        dead = gone.url
    with running_upstream() as alive:
        services = [service(alive.url, targets=[{"url": dead}, {"url": alive.url}])]
        routes = [route(strips, strip_prefix=True, retries=int(row.config.get("retries", 2)))]
        with (
            running_gateway(services=services, routes=routes, settings=settings()) as gateway,
            gateway.connect() as client,
        ):
            answers = [client.ask(get(row)) for _ in range(12)]
        sent = alive.requests[-1]
    statuses = {got.status for got in answers}
    observed: Values = {
        "status": statuses.pop() if len(statuses) == 1 else statuses,
        "upstream_request_line": sent.head.start.decode(),
    }
    observed["upstream_headers"] = {name: told(sent, name) for name in row.expected.get("upstream_headers", {})}
    return compare(row, observed, "body", "upstream_statuses")


def play_all_refuse(row: Row) -> Verdict:
    with running_upstream() as gone:
        urls = [{"url": gone.url}] * len(row.config["targets_all_refuse"])
    services = [service(urls[0]["url"], targets=urls)]
    with (
        running_gateway(services=services, routes=[route("/")], settings=settings()) as gateway,
        gateway.connect() as client,
    ):
        return compare(row, {"status": client.ask(get(row)).status}, "tries")


def play_too_slow(row: Row) -> Verdict:
    """A service that is silent the first time, or always."""
    always = "every time" in str(row.request.get("upstream", ""))
    silent = (ReadToEnd(), Close())
    retries = int(row.config.get("retries", 1))
    observed = attempt(
        row,
        silent,
        retries=retries,
        usually=silent if always else (Echo(),),
        upstream_read_timeout=0.2,
        service_fields={"preserve_host": True},
    )
    observed["upstream_host_header"] = told(observed["seen"][-1], "host")
    return compare(row, observed)


def play_read_timeout(row: Row) -> Verdict:
    with running_pair(service_fields={"read_timeout_seconds": row.config["read_timeout_ms"] / 1000}) as pair:
        pair.upstream.usually(ReadToEnd(), Close())
        with pair.gateway.connect() as client:
            return compare(row, {"status": client.ask(get(row)).status})


def play_series(row: Row) -> Verdict:
    """Spring repeats on answers of a series of statuses."""
    return compare(row, attempt(row, says(500), says(500), retries=2))


def play_event(row: Row) -> Verdict:
    """Envoy's events, each with one retry allowed."""
    event = row.request["event"]
    scripts: dict[str, tuple[Step, ...]] = {
        "connection failure": (Reset(),), "409": says(409), "upstream reset": (Reset(),),
        "200 headers received": says(200),
        "grpc-status 14": (Send(answer(200, "grpc-status: 14")),),
    }  # fmt: skip
    return compare(row, attempt(row, retries=1, usually=scripts[event]))


def play_overflow(row: Row) -> Verdict:
    """What the gateway itself sheds, since no connection is left, is not tried again."""
    go_on, begun = threading.Event(), threading.Event()
    with running_pair(routes=[route("/", retries=1)], upstream_max_connections=1) as pair:
        pair.upstream.script(Call(begun.set), WaitFor(go_on), Echo())
        with pair.gateway.connect() as first, pair.gateway.connect() as second:
            first.send(lines("GET /first HTTP/1.1", "Host: a.example"))
            assert begun.wait(PATIENCE)
            shed = second.ask(lines("GET /second HTTP/1.1", "Host: a.example"))
            go_on.set()
            assert first.read_answer().status == 200
        assert shed.status == 503
        return compare(row, {"retry": len(pair.upstream.requests) > 1})


def play_own_answers_and_health(row: Row) -> Verdict:
    """401s of the gateway's own say nothing of the service, whatever its threshold."""
    issued = key()
    with (
        running_pair(routes=[route("/", auth="required")], keys=[issued.entity], circuit_failure_threshold=1) as pair,
        pair.gateway.connect() as client,
    ):
        first = client.ask(lines("GET / HTTP/1.1", "Host: a.example")).status
        rest = {
            client.ask(lines("GET / HTTP/1.1", "Host: a.example", f"X-API-Key: {issued.secret}")).status
            for _ in range(5)
        }
        trips = pair.gateway.call(lambda served: sum(circuit.trips for circuit in served.circuits.snapshot().values()))
    return compare(
        row, {"first": first, "then": "all 200" if rest == {200} else rest, "targets_marked_unhealthy": trips}
    )


def play_ejection(row: Row) -> Verdict:
    """One of two targets begins to fail: how many failures clients see before it is left alone."""
    failures = row.config["passive"]["unhealthy"]["http_failures"]
    with running_upstream() as well, running_upstream() as ill:
        spec = service(
            well.url,
            targets=[{"url": well.url}, {"url": ill.url}],
            passive_health={"consecutive_failures": failures},
        )
        with running_gateway(services=[spec], routes=[route("/")]) as gateway, gateway.connect() as client:
            request = lines("GET / HTTP/1.1", "Host: a.example")
            before = [client.ask(request).status for _ in range(4)]
            ill.usually(Send(answer(500)))
            seen = [client.ask(request).status for _ in range(20)]
            quiet = len(ill.requests) == 2 + failures
    assert before == [200] * 4
    return compare(
        row,
        {"failures_seen_by_clients": seen.count(500), "then": "target 2 gets no more traffic" if quiet else "it does"},
    )


PLAYERS: Players = {
    "kong-fwd-": play_forwarding,
    "apisix-fwd-": play_forwarding,
    "traefik-fwd-": play_forwarding,
    "traefik-fwd-12": play_secure_peer,
    "traefik-xff-": play_forwarding,
    "tyk-realip-": play_direct_peer,
    "kong-hop-": play_hops_of_an_answer,
    "scg-hop-": play_hops_of_a_request,
    "kong-tls-": play_protocol_condition,
    "traefik-fragment-": play_fragment,
    "kong-key-": play_key,
    "apisix-key-": play_key,
    "envoy-key-": play_key,
    "kong-jwt-": play_token,
    "apisix-jwt-": play_token,
    "tyk-rl-": play_limit_fields,
    "apisix-lc-": play_same_configuration_again,
    "traefik-retry-01": play_network_failures,
    "traefik-retry-02": play_network_failures,
    "traefik-retry-03": play_network_failures,
    "traefik-retry-06": play_no_server,
    "traefik-retry-1": play_answers,
    "traefik-retry-19": play_fields_of_failed_tries,
    "traefik-retry-21": play_websocket,
    "traefik-retry-22": play_dead_and_alive,
    "apisix-retry-03": play_all_refuse,
    "apisix-retry-06": play_dead_and_alive,
    "kong-retry-02": play_too_slow,
    "scg-retry-01": play_series,
    "scg-retry-05": play_too_slow,
    "envoy-retry-": play_event,
    "envoy-retry-03": play_overflow,
    "kong-timeout-": play_read_timeout,
    "kong-health-01": play_own_answers_and_health,
    "kong-health-02": play_ejection,
}
