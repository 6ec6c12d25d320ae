"""Which rows we decide otherwise, and why."""

# The reasons that several rows share.
PORTS = "a route's host has no port: the port that a client happens to use says nothing of the service that it wants"
HOST_ENDS = "a host's wildcard stands in front (`*.example.com`): `domain.*` would match names that others own"
REGEX = "a rewritten path is a template of params, not a regular expression: it says itself what may come out of it"
ROOT = "a path that leaves the root is an attack or a mistake, and refused (400), not silently another path (http.md)"
SLASHES = (
    "`//` is kept: an upstream may mean something by it, and RFC 3986 has no rule that lets us take it off (http.md)"
)
PREFIX = "X-Forwarded-Prefix is not sent: http.md lists the forwarding fields, and an incoming one is dropped"
HTTPS_ONLY = "routes have no condition on the scheme: a port that must be https only is one that offers nothing else"
QUERY_KEYS = "keys are taken from X-API-Key only: those in a URL end in logs, histories and referrers (RFC 9110, 17.9)"
STATUS_RETRIES = (
    "retries are for lost connections: a status is the service's answer, and asking again is the client's choice"
)

DEVIATIONS: dict[str, str] = {
    **dict.fromkeys(("kong-router-host-01", "kong-router-ipv6-02"), PORTS),
    **dict.fromkeys(("kong-router-wild-03", "kong-router-prio-07"), HOST_ENDS),
    "traefik-replace-02": REGEX,
    "kong-router-header-02": "several lines of a field are one value (RFC 9110, 5.3): a proxy in front may join them",
    **dict.fromkeys(("kong-uri-12", "traefik-sanitize-04", "traefik-sanitize-13", "traefik-pathop-02"), ROOT),
    **dict.fromkeys(("traefik-pathop-03", "envoy-norm-03", "envoy-norm-10"), ROOT),
    **dict.fromkeys(("kong-uri-17", "traefik-sanitize-11", "traefik-sanitize-15", "traefik-pathop-01"), SLASHES),
    **dict.fromkeys(("envoy-merge-01", "envoy-merge-02", "envoy-merge-07"), SLASHES),
    **dict.fromkeys(("kong-fwd-08", "traefik-strip-05", "traefik-retry-22"), PREFIX),
    **dict.fromkeys(("kong-tls-04", "kong-tls-06"), HTTPS_ONLY),
    **dict.fromkeys(("kong-key-05", "kong-key-12", "kong-key-13", "envoy-key-05"), QUERY_KEYS),
    **dict.fromkeys(("traefik-retry-17", "scg-retry-01", "envoy-retry-12"), STATUS_RETRIES),
    "envoy-retry-14": "a route's `retries` always includes lost connections: there is no way to ask for statuses alone",
    "envoy-retry-18": "gRPC needs HTTP/2, which the proxy port does not offer; a grpc-status is a field like any other",
    "envoy-key-08": "there is one ring of keys; which of them a route takes is not a matter of the route",
    "envoy-norm-06": "percent triplets are upper-cased (RFC 3986, 6.2.2.1), so that `%5c` and `%5C` are one path",
    "envoy-route-10": "paths are case-sensitive (RFC 3986, 6.2.2.1), and no route may say otherwise",
    "kong-router-regex-08": "a `{param}` takes one segment that is not empty, so the shorter path has one capture less",
    "kong-int-norm-01": "X-Forwarded-Path is not sent: one normalised path is what everybody sees (http.md)",
    "kong-fwd-15": "a stranger's X-Forwarded-For is overwritten, not passed on with an address appended (http.md)",
    "apisix-fwd-02": "X-Real-IP is the client's address: behind a trusted proxy it is the one that the proxy tells of",
    "traefik-fwd-11": "X-Forwarded-Port is the port that the client reached us on, whatever its Host field says",
    "traefik-fwd-14": "X-Forwarded-Proto is `http` or `https`, or it is overwritten: services compare it with `https`",
    "traefik-xff-03": "X-Forwarded-For is always sent: a service that does not want it does not read it",
    "traefik-stripre-04": "a prefix is bounded by segments: `/b/{any}` takes `/b/api` itself and leaves nothing",
    "traefik-rule-02": "routes have no negation: a more definite route takes out what another one should not get",
    "scg-hop-02": "a WebSocket handshake is tunnelled, so Connection and Upgrade go on; what else they name does not",
}
