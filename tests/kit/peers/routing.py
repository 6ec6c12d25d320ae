"""Rows about which route takes a request, and what path its service is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from pydantic import ValidationError

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.path_templates import stripped
from microgateway.core.paths import PathError, normalise
from microgateway.core.requests import read_request
from microgateway.core.routing import NotRouted, PathPattern
from microgateway.entities import Route
from microgateway.snapshot import Destination, Snapshot
from tests.kit.configuration import route, service
from tests.kit.peers.rows import REFUSED, Players, Row, Values, Verdict, compare

# Regular expressions in the words of our patterns, where these have some.
PATTERNS = {
    r"~/users/\d+/profile": ["/users/{id}/profile"],
    r"~/users/\d*/profile": ["/users/{id}/profile"],
    r"~/prefix/[0-9]+": ["/prefix/{number}"],
    r"~/reg%65x/\d+": ["/reg%65x/{number}"],
    "~/regex-reserved%2Fabc": ["/regex-reserved%2Fabc"],
    r"~/users/(?P<user_id>\d+)/profile/?(?P<scope>[a-z]*)": [
        "/users/{user_id}/profile",
        "/users/{user_id}/profile/{scope}",
    ],
}
RULES: dict[str, list[Values]] = {
    "Host(`example.com`)": [{"path": "/", "hosts": ["example.com"]}],
    "Host(`*.example.com`)": [{"path": "/", "hosts": ["*.example.com"]}],
    "Path(`/css`)": [{"path": "/css", "match": "exact"}],
    "Path(`css`)": [{"path": "css"}],
    "PathPrefix(`/css`)": [{"path": "/css"}],
    "PathPrefix(`/my`)": [{"path": "/my"}],
    "PathRegexp(`^/(css|js)`)": [{"path": "/css"}, {"path": "/js"}],
    "Method(`get`)": [{"path": "/", "methods": ["get"]}],
    "Query(`q`, `traefik`)": [{"path": "/", "query": [{"name": "q", "value": "traefik"}]}],
    "!(Host(`example.com`) && Path(`/js`))": [{"path": "/", "not": {"hosts": ["example.com"], "path": "/js"}}],
}
LYFT = ["lyft.com", "www.lyft.com", "w.lyft.com", "ww.lyft.com", "wwww.lyft.com"]
VIRTUAL_HOSTS: list[Values] = [
    {"id": "www2", "path": "/new_endpoint", "hosts": LYFT, "rewrite": "/api/new_endpoint/{rest}"},
    {"id": "direct", "path": "/ping", "hosts": LYFT},
    {"id": "root_www2", "path": "/", "match": "exact", "hosts": LYFT},
    {"id": "www2", "path": "/", "hosts": LYFT},
    {"id": "locations", "path": "/api/locations", "match": "exact", "rewrite": "/rewrote"},
    {"id": "ats", "path": "/api/leads/me"},
    {"id": "ats", "path": "/host/rewrite/me"},
    {"id": "ats", "path": "/oldhost/rewrite/me"},
    {"id": "instant-server", "path": "/foo", "match": "exact", "rewrite": "/bar"},
    {"id": "ats", "path": "/FOOD", "match": "exact", "rewrite": "/cAndy"},
    {"id": "instant-server", "path": "/ApplEs", "match": "exact", "rewrite": "/oranGES"},
    {"id": "instant-server", "path": "/"},
]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a request goes: the route's id as the row has it, and the path that the service is asked for."""

    route_id: str | None
    target: str = ""
    captures: tuple[tuple[str, str], ...] = ()


def resolve(
    routes: Sequence[Route],
    *,
    method: str,
    host: str,
    path: str,
    base: str = "http://a.example",
    fields: Sequence[str] = (),
) -> Resolved:
    """As the data plane does it. Raises `PathError` for a path that is refused."""
    snapshot = Snapshot().with_table([service(base)], routes, CircuitPolicy())
    raw, mark, query = path.encode().partition(b"?")
    normal = normalise(raw)
    name = host.lower().partition(":")[0] if not host.startswith("[") else host.partition("]")[0] + "]"
    section = read_section([b"Host: a", *(line.encode() for line in fields)], request_fields(), {})
    asked = read_request(b"GET %b HTTP/1.1" % path.encode(), section)
    match = snapshot.match(method.encode(), name.encode(), normal, asked)
    if isinstance(match, NotRouted):
        return Resolved(None)
    sent = normal if match.alteration is None else match.alteration.path(normal)
    target = match.upstream.targets[0].path + sent + mark + query
    return Resolved(match.id.partition("#")[0], target.decode(), _captures(match, routes, normal))


def _captures(match: Destination, routes: Sequence[Route], path: bytes) -> tuple[tuple[str, str], ...]:
    (taken,) = [one for one in routes if one.id == match.id]
    pattern = PathPattern.parse(taken.path, taken.match)
    segments = [part for wanted, part in zip(pattern.segments, path.split(b"/")[1:], strict=False) if wanted is None]
    return tuple(zip(pattern.params, [segment.decode() for segment in segments], strict=True))


def routes_of(given: Sequence[Values]) -> list[Route]:
    """A peer's routes in our words. What we have no word for stays as it is, and is refused as an unknown field."""
    routes: list[Route] = []
    for one in given:
        fields = dict(one)
        name = fields.pop("id")
        hosts = fields.pop("hosts", None) or ([fields.pop("host")] if "host" in fields else [])
        fields["hosts"] = [_bracketed(host) for host in hosts]
        fields["priority"] = fields.get("priority") or 0
        fields["strip_prefix"] = fields.pop("strip_path", fields.get("strip_prefix", False))
        paths, alternatives = _paths(fields), list(_conditions(fields))
        for path, conditions in product(paths, alternatives):
            routes.append(route(id=f"{name}#{len(routes)}", **{**fields, "path": path, **conditions}))
    return routes


def _conditions(fields: Values) -> Iterator[Values]:
    """Conditions in our words: where a peer gives several values of which one is enough, a route for each."""
    headers, query = fields.pop("headers", {}), fields.pop("query", {}) or {}
    if "query_any" in fields:
        query = fields.pop("query_any")
    if (filters := fields.pop("filter", None)) is not None:
        name, value = filters.removeprefix("query ").split(" == ")
        query = {name: value}
    given = query if isinstance(query, list) else [{"name": name, "value": value} for name, value in query.items()]
    for values in product(*headers.values()):
        yield {
            "headers": [{"name": name, "value": value} for name, value in zip(headers, values, strict=True)],
            "query": given,
        }


def _paths(fields: Values) -> list[str]:
    if "path_exact" in fields:
        fields["match"] = "exact"
        return [fields.pop("path_exact")]
    if "uri" in fields:
        uri = str(fields.pop("uri"))
        parts = ["{" + part[1:] + "}" if part.startswith(":") else part for part in uri.split("/")]
        fields.setdefault("match", None if uri.endswith("*") else "exact")
        return ["/".join(parts)]
    paths = fields.pop("paths", None) or [fields.pop("path", None) or "/"]
    return [pattern for path in paths for pattern in PATTERNS.get(path, [path])]


def _bracketed(host: str) -> str:
    """An IPv6 address that a peer writes without brackets, or with one of them."""
    bare = host.strip("[]")
    return f"[{bare}]" if bare.count(":") > 1 and not host.partition("]")[2] else host


def play_routes(row: Row) -> Verdict:
    """Rows with a table of routes: which one takes the request, and what becomes of the path."""
    try:
        routes = routes_of(row.config["routes"])
    except ValidationError:
        return Verdict(row.expected, REFUSED)
    request = row.request
    fields = [
        f"{name}: {value}"
        for name, given in request.get("headers", {}).items()
        for value in (given if isinstance(given, list) else [given])
    ]
    resolved = resolve(
        routes,
        method=request.get("method", "GET"),
        host=request.get("host", "a.example"),
        path=request["path"],
        fields=fields,
    )
    observed: Values = {"route": resolved.route_id, "status": 404 if resolved.route_id is None else 200}
    observed |= {"upstream_path": resolved.target, "upstream_target": resolved.target, "upstream_headers": {}}
    named = dict(resolved.captures)
    observed |= {"captures": named, "params": {name: named.get(name) for name in row.expected.get("params", {})}}
    return compare(row, observed, "body")


def play_kong_path(row: Row) -> Verdict:
    """How the service's own path, the route's and the request's are joined."""
    config = row.config
    prefix = route(config["route_path"] or "/", strip_prefix=config["strip_path"])
    base = "http://a.example" + config["service_path"]
    resolved = resolve([prefix], method="GET", host="a.example", path=row.request["path"], base=base)
    return compare(row, {"upstream_path": resolved.target})


def play_rule(row: Row) -> Verdict:
    """Traefik's rules, one or several."""
    given = row.config.get("routes") or [{"id": "it", "rule": row.config["rule"]}]
    try:
        routes = routes_of(
            [{"id": one["id"], "priority": one.get("priority"), **ours} for one in given for ours in RULES[one["rule"]]]
        )
    except ValidationError:
        return Verdict(row.expected, {"config_error": True} if row.expected.get("config_error") else REFUSED)
    url = row.request.get("url", "https://a.example" + row.request.get("path", "/"))
    host, _, path = url.partition("://")[2].replace("?", "/?", 1).replace("//?", "/?").partition("/")
    resolved = resolve(routes, method=row.request.get("method", "GET"), host=host, path="/" + path)
    matched = resolved.route_id is not None
    return compare(row, {"matched": matched, "status": 200 if matched else 404, "route": resolved.route_id})


def play_virtual_hosts(row: Row) -> Verdict:
    request = row.request
    resolved = resolve(routes_of(VIRTUAL_HOSTS), method=request["method"], host=request["host"], path=request["path"])
    return compare(row, {"cluster": resolved.route_id, "upstream_path": resolved.target})


def play_pattern(row: Row) -> Verdict:
    """Tyk's patterns: does one take a path, and may it be saved."""
    path = row.config.get("pattern") or row.config["route_path"]
    try:
        routes = [route(path.replace(r"\d+", "{number}"))]
    except ValidationError:
        return Verdict(row.expected, {"accepted": False})
    if row.request.get("action") == "save route":
        return compare(row, {"accepted": True})
    resolved = resolve(routes, method="GET", host="a.example", path=row.request["path"])
    return compare(row, {"matched": resolved.route_id is not None})


def play_stripping(row: Row) -> Verdict:
    """Prefixes, patterns and counted segments that are taken off. What no prefix takes goes on as it is."""
    config, path = row.config, row.request["path"]
    if "strip_segments" in config:
        return compare(row, {"upstream_path": stripped(path.encode(), config["strip_segments"]).decode()})
    in_our_words = {
        "/pre/{_:.*}/": "/pre/{any}/*",
        "/{myPattern:foo|bar}": "/{any}/*",
        "/b/([a-z0-9]+)/": "/b/{any}/*",
        "/c/[a-z0-9]+/[0-9]+/": "/c/{any}/{number}/*",
    }
    given = config.get("strip_prefixes") or [
        one for one in (config.get("strip_regex"), config.get("listen_path")) if one
    ]
    routes = [route(in_our_words.get(one, one), strip_prefix=True) for one in given]
    resolved = resolve([*routes, route("/", id="rest")], method="GET", host="a.example", path=path)
    return compare(row, {"path": resolved.target, "upstream_path": resolved.target, "status": 200})


def play_join(row: Row) -> Verdict:
    """A base URL's path and a request's, of which the row writes neither with its first slash."""
    base = "http://a.example/" + row.request["base"]
    path = "/" + row.request["rest"].removeprefix("/")
    joined = resolve([route("/")], method="GET", host="a.example", path=path, base=base).target
    return compare(row, {"joined": joined.removeprefix("/")})


def play_rewriting(row: Row) -> Verdict:
    """Patterns that are replaced, and paths that are set. What is a regular expression there is a template here."""
    config = row.config
    in_our_words = {
        "^/test/(.*)/(.*)/(.*)": ("/test/{a}/{b}/{c}", "/{a}_{b}_{c}"),
        "/whoami": ("/whoami", "/who-am-i/{rest}"),
    }
    given = config.get("regex", [None])
    name = given if isinstance(given, str) else given[0]
    path, template = in_our_words[name] if name else (config["match"], config["set_uri"])
    resolved = resolve([route(path, rewrite=template)], method="GET", host="a.example", path=row.request["path"])
    return compare(row, {"upstream_path": resolved.target, "upstream_target": resolved.target})


def play_normal_form(row: Row) -> Verdict:
    path, mark, query = row.request["path"].partition("?")
    try:
        normal = normalise(path.encode()).decode() + mark + query
    except PathError:
        return compare(row, {"rejected": True, "status": 400})
    return compare(row, {"normalized_path": normal, "forwarded_path": normal, "status": 200}, "decoded_path")


PLAYERS: Players = {
    "kong-path-": play_kong_path,
    "kong-router-": play_routes,
    "kong-int-": play_routes,
    "kong-enc-": play_routes,
    "kong-uri-": play_normal_form,
    "apisix-router-": play_routes,
    "traefik-match-": play_rule,
    "traefik-prio-": play_rule,
    "traefik-rule-": play_rule,
    "traefik-strip": play_stripping,
    "traefik-sanitize-": play_normal_form,
    "traefik-pathop-": play_normal_form,
    "traefik-badpct-": play_normal_form,
    "tyk-match-": play_pattern,
    "tyk-validate-": play_pattern,
    "tyk-strip-": play_stripping,
    "tyk-join-": play_join,
    "apisix-rewrite-": play_rewriting,
    "traefik-replace-": play_rewriting,
    "scg-strip-": play_stripping,
    "envoy-norm-": play_normal_form,
    "envoy-merge-": play_normal_form,
    "envoy-route-": play_virtual_hosts,
}
