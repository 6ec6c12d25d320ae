"""A request's head: what is refused and why, and what is understood of the rest."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing.corpus import OCTETS
from microgateway.core.field_sections import (
    CHUNKED,
    MOST_HOPS,
    NO_BODY,
    WITHHELD_FIELDS,
    FieldSection,
    parse_authority,
    read_section,
    request_fields,
)
from microgateway.core.fields import MOST_MEMBERS, Field, HeadError, content_length
from microgateway.core.paths import normalise
from microgateway.core.requests import RequestHead, read_request

HOST = b"Host: a.example"


def section(*lines: bytes) -> FieldSection:
    return read_section(list(lines), request_fields(), {})


def head(line: bytes, *lines: bytes) -> RequestHead:
    return read_request(line, section(*(lines or (HOST,))))


def refusal(line: bytes, *lines: bytes) -> tuple[int, str]:
    with pytest.raises(HeadError) as refused:
        head(line, *lines)
    assert str(refused.value)
    return refused.value.status, refused.value.code


UNDERSTOOD = [
    (b"GET / HTTP/1.1", b"/", b""),
    (b"GET /a/b?c=d&e HTTP/1.1", b"/a/b", b"?c=d&e"),
    (b"GET /a? HTTP/1.1", b"/a", b"?"),
    (b"GET /a??b HTTP/1.1", b"/a", b"??b"),
    (b"GET /?/../%00%zz HTTP/1.1", b"/", b"?/../%00%zz"),
    (b"GET //a//b HTTP/1.1", b"//a//b", b""),
    (b"GET /%61/./b/../%2f HTTP/1.1", b"/a/%2F", b""),
    (b"GET /a|b HTTP/1.1", b"/a%7Cb", b""),
    (b"GET /*?* HTTP/1.1", b"/*", b"?*"),
    (b"OPTIONS * HTTP/1.1", b"*", b""),
    (b"PROPFIND /a HTTP/1.1", b"/a", b""),
    (b"get /a HTTP/1.1", b"/a", b""),
    (b"GET http://b.example HTTP/1.1", b"/", b""),
    (b"GET http://b.example?q HTTP/1.1", b"/", b"?q"),
    (b"GET HTTPS://b.example:8443/a/../b?q HTTP/1.1", b"/b", b"?q"),
    (b"OPTIONS http://b.example HTTP/1.1", b"*", b""),
    (b"OPTIONS http://b.example/ HTTP/1.1", b"/", b""),
    (b"OPTIONS http://b.example?q HTTP/1.1", b"/", b"?q"),
]


@pytest.mark.parametrize(("line", "path", "query"), UNDERSTOOD)
def test_a_target_is_a_path_and_a_query(line: bytes, path: bytes, query: bytes) -> None:
    read = head(line)
    assert (read.method, read.path, read.query) == (line.split(b" ")[0], path, query)


REFUSED_LINES = [
    (b"", 400, "bad_request"),
    (b"GET", 400, "bad_request"),
    (b"GET /", 400, "bad_request"),
    (b"GET  / HTTP/1.1", 400, "bad_request"),
    (b"GET /  HTTP/1.1", 400, "bad_request"),
    (b" GET / HTTP/1.1", 400, "bad_request"),
    (b"GET / HTTP/1.1 ", 400, "bad_request"),
    (b"GET\t/\tHTTP/1.1", 400, "bad_request"),
    (b"GET /a b HTTP/1.1", 400, "bad_request"),
    (b"GET  HTTP/1.1", 400, "bad_request"),
    (b"G@T / HTTP/1.1", 400, "bad_request"),
    (b"G\x00T / HTTP/1.1", 400, "bad_request"),
    (b"G\xc9T / HTTP/1.1", 400, "bad_request"),
    (b"CONNECT a:80 HTTP/1.1", 405, "connect_refused"),
    (b"CONNECT / HTTP/1.1", 405, "connect_refused"),
    (b"GET / HTTP/2.0", 505, "http_version_not_supported"),
    (b"GET / HTTP/1.2", 505, "http_version_not_supported"),
    (b"GET / HTTP/0.9", 505, "http_version_not_supported"),
    (b"GET / HTTP/1.10", 400, "bad_request"),
    (b"GET / HTTP/1,1", 400, "bad_request"),
    (b"GET / http/1.1", 400, "bad_request"),
    (b"GET / HTTP/1.1\r", 400, "bad_request"),
    (b"GET / HTTP/1.1\nX:", 400, "bad_request"),
    (b"GET / XHTTP/1.1", 400, "bad_request"),
    (b"GET /#f HTTP/1.1", 400, "bad_request"),
    (b"GET /?q#f HTTP/1.1", 400, "bad_request"),
    (b'GET /" HTTP/1.1', 400, "bad_request"),
    (b'GET /?" HTTP/1.1', 400, "bad_request"),
    (b"GET /\x7f HTTP/1.1", 400, "bad_request"),
    (b"GET /?\x01 HTTP/1.1", 400, "bad_request"),
    (b"GET /caf\xc3\xa9 HTTP/1.1", 400, "bad_request"),
    (b"GET * HTTP/1.1", 400, "bad_request"),
    (b"OPTIONS *? HTTP/1.1", 400, "bad_request"),
    (b"GET a HTTP/1.1", 400, "bad_request"),
    (b"GET ?q HTTP/1.1", 400, "bad_request"),
    (b"GET ftp://a/ HTTP/1.1", 400, "bad_request"),
    (b"GET http:/a HTTP/1.1", 400, "bad_request"),
    (b"GET http HTTP/1.1", 400, "bad_request"),
    (b"GET http:///a HTTP/1.1", 400, "bad_host"),
    (b"GET http://u@a/ HTTP/1.1", 400, "bad_host"),
    (b"GET http://a:b/ HTTP/1.1", 400, "bad_host"),
    (b"GET http://a\\b/ HTTP/1.1", 400, "bad_host"),
    (b"GET /%zz HTTP/1.1", 400, "bad_path"),
    (b"GET /% HTTP/1.1", 400, "bad_path"),
    (b"GET /%00 HTTP/1.1", 400, "bad_path"),
    (b"GET /.. HTTP/1.1", 400, "bad_path"),
    (b"GET /a/%2e%2e/.%2E HTTP/1.1", 400, "bad_path"),
    (b"GET /a/..%2fb HTTP/1.1", 400, "bad_path"),
    (b"GET /a/..\\b HTTP/1.1", 400, "bad_path"),
    (b"GET http://b.example/../a HTTP/1.1", 400, "bad_path"),
]


@pytest.mark.parametrize(("line", "status", "code"), REFUSED_LINES)
def test_a_request_line_that_is_refused(line: bytes, status: int, code: str) -> None:
    assert refusal(line, HOST) == (status, code)


HOSTS = [
    (b"a.example", b"a.example"),
    (b"A.Example", b"a.example"),
    (b"a.example.", b"a.example"),
    (b".", b"."),
    (b"a.example:80", b"a.example"),
    (b"a.example:", b"a.example"),
    (b".", b"."),
    (b"a.example:65535", b"a.example"),
    (b"192.0.2.1:1", b"192.0.2.1"),
    (b"[::1]", b"[::1]"),
    (b"[2001:DB8::1]:443", b"[2001:db8::1]"),
    (b"a_b-c~d", b"a_b-c~d"),
    (b"%61", b"%61"),
]
NO_HOSTS = [
    b"",
    b":80",
    b"a:b",
    b"a:65536",
    b"a:123456",
    b"a:80:80",
    b"a b",
    b"a/b",
    b"a?b",
    b"a#b",
    b"u@a",
    b"a\\b",
    b"a%2",
    b"a%zz",
    b"a\xe9",
    b"[::1",
    b"::1",
    b"[]",
    b"[g]",
    b"[::1]x",
    b"[1.2.3.4]",
    b"[::1%25eth0]",
    b"[:::]",
    b"<a>",
    b'"a"',
]


@pytest.mark.parametrize(("authority", "host"), HOSTS)
def test_a_host_is_a_name_or_an_address(authority: bytes, host: bytes) -> None:
    read = head(b"GET / HTTP/1.1", b"Host: " + authority)
    assert (read.host, read.authority) == (host, authority)
    absolute = head(b"GET http://" + authority + b"/ HTTP/1.1", b"Host: other")
    assert (absolute.host, absolute.authority) == (host, authority)


@pytest.mark.parametrize("authority", NO_HOSTS)
def test_what_is_no_host_is_refused(authority: bytes) -> None:
    assert refusal(b"GET / HTTP/1.1", b"Host: " + authority) == (400, "bad_host")
    with pytest.raises(HeadError):
        parse_authority(authority)


@pytest.mark.parametrize(
    "lines",
    [(), (b"Accept: */*",), (HOST, HOST), (HOST, b"host: b"), (b"Host:",)],
    ids=["none", "other", "two", "two", "empty"],
)
def test_http_1_1_has_exactly_one_host(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(HeadError) as refused:
        read_request(b"GET / HTTP/1.1", section(*lines))
    assert refused.value.code == "bad_host"


def test_http_1_0_may_have_none() -> None:
    read = read_request(b"GET / HTTP/1.0", section())
    assert (read.host, read.authority, read.minor_version) == (b"", None, 0)


def test_a_whole_url_does_not_do_without_host() -> None:
    with pytest.raises(HeadError):
        read_request(b"GET http://a.example/ HTTP/1.1", section())


TE, CL = b"Transfer-Encoding: chunked", b"Content-Length: 5"
FRAMINGS = [
    ((), NO_BODY),
    ((b"Content-Length: 0",), NO_BODY),
    ((CL,), 5),
    ((b"content-length:\t005 ",), 5),
    ((b"Content-Length: %d" % (2**63 - 1),), 2**63 - 1),
    ((TE,), CHUNKED),
    ((b"TRANSFER-ENCODING:CHUNKED",), CHUNKED),
]
NO_FRAMINGS = [
    ((CL, CL), "bad_content_length"),
    ((CL, b"Content-Length: 6"), "bad_content_length"),
    ((b"Content-Length: 5, 5",), "bad_content_length"),
    ((b"Content-Length:",), "bad_content_length"),
    ((b"Content-Length: 9223372036854775808",), "bad_content_length"),
    ((TE, CL), "ambiguous_framing"),
    ((CL, TE), "ambiguous_framing"),
    ((b"Content-Length: 0", TE), "ambiguous_framing"),
    ((TE, b"Content-Length: x"), "ambiguous_framing"),
    ((TE, TE), "bad_transfer_encoding"),
    ((b"Transfer-Encoding:",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: identity",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: chunked, identity",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: gzip",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: chunked, chunked",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: chunked, gzip, chunked",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: , chunked",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: g zip, chunked",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: chunked;q=1",), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: chunked,",), "bad_transfer_encoding"),
    ((b'Transfer-Encoding: "chunked"',), "bad_transfer_encoding"),
    ((b"Transfer-Encoding: xchunked",), "bad_transfer_encoding"),
]


@pytest.mark.parametrize(("lines", "body"), FRAMINGS)
def test_a_body_has_one_framing(lines: tuple[bytes, ...], body: int) -> None:
    assert head(b"POST / HTTP/1.1", HOST, *lines).section.body == body


@pytest.mark.parametrize(("lines", "code"), NO_FRAMINGS)
@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"POST / HTTP/1.0"])
def test_a_doubtful_framing_is_refused(line: bytes, lines: tuple[bytes, ...], code: str) -> None:
    assert refusal(line, HOST, *lines) == (400, code)


@pytest.mark.parametrize("value", [b"gzip, chunked", b"identity,Chunked", b"x;q=1, y ,\tchunked"])
def test_a_coding_that_is_none_of_ours_is_told_so(value: bytes) -> None:
    """RFC 9112, 6.1: 501, where `chunked` is the last one; where it is not, the end is unknown, and 6.3 wants 400."""
    line = b"Transfer-Encoding: " + value
    assert refusal(b"POST / HTTP/1.1", HOST, line) == (501, "transfer_coding_unknown")
    assert refusal(b"POST / HTTP/1.1", HOST, line, CL) == (400, "ambiguous_framing")


def test_http_1_0_has_no_chunks() -> None:
    assert refusal(b"POST / HTTP/1.0", HOST, TE) == (400, "bad_transfer_encoding")


KEEPING = [
    (b"1.1", (), True),
    (b"1.1", (b"Connection: close",), False),
    (b"1.1", (b"Connection: keep-alive, CLOSE",), False),
    (b"1.1", (b"Connection: keep-alive", b"Connection: x, close"), False),
    (b"1.0", (), False),
    (b"1.0", (b"Connection: Keep-Alive",), True),
    (b"1.0", (b"Connection: keep-alive, close",), False),
]


@pytest.mark.parametrize(("version", "lines", "keeps"), KEEPING)
def test_a_connection_is_kept_as_both_sides_say(version: bytes, lines: tuple[bytes, ...], keeps: bool) -> None:
    assert head(b"GET / HTTP/" + version, HOST, *lines).keep_alive is keeps


def test_end_to_end_fields_are_passed_on_in_order_and_in_normal_form() -> None:
    lines = [HOST, b"X-B:2", b"Accept: a", b"X-A: \t1 ", b"Accept: b", b"Cookie: c", b"Via: 1.0 fred", b"Empty:"]
    assert section(*lines).passed_on == (
        b"X-B: 2\r\nAccept: a\r\nX-A: 1\r\nAccept: b\r\nCookie: c\r\nVia: 1.0 fred\r\nEmpty: \r\n"
    )


NOT_PASSED_ON = [
    b"Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"Proxy-Authorization: Basic eA==",
    b"Proxy-Authenticate: Basic",
    b"TE: trailers",
    b"Trailer: X",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X-API-Key: k",
    b"Authorization: Bearer t",
    b"Forwarded: for=1.2.3.4",
    b"X-Forwarded-For: 1.2.3.4",
    b"X-Forwarded-Host: b",
    b"X-Forwarded-Port: 1",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Server: s",
    b"X-Forwarded-Prefix: /p",
    b"X-Real-IP: 1.2.3.4",
    b"X-Client-IP: 1.2.3.4",
    b"X-Request-Id: r",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    *(
        name + b": 1"
        for name in b"transfer_encoding content_length x_forwarded_for X_Forwarded-For x-forwarded_for X_REAL_IP "
        b"x_real-ip x_api_key x-api_key x_forwarded_proto x_forwarded-host x_client_ip".split()
    ),
]


@pytest.mark.parametrize("line", NOT_PASSED_ON)
def test_what_is_ours_to_say_is_not_passed_on(line: bytes) -> None:
    assert section(HOST, b"X-A: 1", line, b"X-B: 2").passed_on == b"X-A: 1\r\nX-B: 2\r\n"


@pytest.mark.parametrize(
    "line", [b"Connection: X-Hop, x-other", b"Connection:X-HOP ,, X-Other", b"connection: close, X-Hop,X-Other"]
)
def test_what_connection_names_is_not_passed_on(line: bytes) -> None:
    for lines in ([b"X-Hop: 1", line, b"X-Other:2"], [line, b"x-hop: 1", b"X-Other: 2"]):
        assert section(HOST, b"X-A: 1", *lines).passed_on == b"X-A: 1\r\n"


def test_connection_cannot_take_off_what_is_not_the_clients_to_take_off() -> None:
    """Else a client could make us forget who it is, or the upstream who it was told."""
    names = b"Host, Content-Length, X-API-Key, Authorization, Cookie, Via, X-Forwarded-For, X-Request-Id"
    lines = [
        b"Content-Length: 5",
        b"X-API-Key: k",
        b"Authorization: t",
        b"Cookie: c",
        b"Via: 1.0 v",
        b"X-Forwarded-For: f",
    ]
    read = section(HOST, b"Connection: " + names, b"X-Request-Id: r", *lines)
    assert read.passed_on == b"Cookie: c\r\nVia: 1.0 v\r\n"
    assert (read.host, read.body, read.api_key, read.request_id) == (b"a.example", 5, b"k", b"r")
    assert [field.value for field in read.authorization or ()] == [b"t"]
    assert [field.value for field in read.forwarding or ()] == [b"f"]


def test_a_field_is_found_by_its_name() -> None:
    asked = head(b"GET / HTTP/1.1", b"Host: a", b"X-Tenant:  red ", b"x-tenant: blue", b"X-Empty:", b"Accept: a, b")
    assert asked.header(b"x-tenant") == b"red, blue"
    assert asked.header(b"accept") == b"a, b"
    assert asked.header(b"x-empty") == b""
    assert asked.header(b"x-other") is None


@pytest.mark.parametrize("name", sorted(WITHHELD_FIELDS - {b"content-length", b"transfer-encoding", b"expect"}))
def test_what_the_gateway_reads_itself_is_not_found_by_name(name: bytes) -> None:
    values = {b"host": b"a", b"upgrade": b"websocket", b"connection": b"close"}
    lines = {b"host": b"Host: a", name: b"%b: %b" % (name, values.get(name, b"1"))}
    assert head(b"GET / HTTP/1.1", *lines.values()).header(name) is None


def test_what_connection_names_is_not_found_either() -> None:
    assert head(b"GET / HTTP/1.1", b"Host: a", b"Connection: X-Tenant", b"X-Tenant: red").header(b"x-tenant") is None


def test_credentials_are_counted() -> None:
    assert section(HOST).api_key_lines == 0
    read = section(HOST, b"X-API-Key: a", b"x-api-key: b", b"Authorization: c", b"authorization: d")
    assert (read.api_key, read.api_key_lines) == (b"b", 2)
    assert [field.value for field in read.authorization or ()] == [b"c", b"d"]


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        ((b"Upgrade: WebSocket", b"Connection: upgrade"), b"websocket"),
        ((b"Connection: keep-alive, Upgrade", b"Upgrade: a", b"Upgrade: B"), b"a,b"),
        ((b"Upgrade: websocket",), None),
        ((b"Upgrade: websocket", b"Connection: close"), None),
        ((b"Connection: upgrade",), None),
    ],
)
def test_an_upgrade_counts_when_connection_names_it(lines: tuple[bytes, ...], upgrade: bytes | None) -> None:
    assert section(HOST, *lines).upgrade == upgrade


def test_one_expectation_is_met() -> None:
    assert section(HOST, b"Expect: 100-Continue").expects_continue
    assert section(HOST, b"Expect: 100-continue, 100-continue").expects_continue
    assert section(HOST, b"Expect: 100-continue", b"Expect:").expects_continue
    assert not section(HOST, b"Expect: ,").expects_continue, "a list may be empty (RFC 9110, 5.6.1)"
    assert refusal(b"GET / HTTP/1.1", HOST, b"Expect: 200-ok") == (417, "expectation_failed")
    assert refusal(b"GET / HTTP/1.1", HOST, b"Expect: 100-continue, x") == (417, "expectation_failed")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Connection: " + b"a," * MOST_MEMBERS,),
        (b"Connection: " + b"," * MOST_MEMBERS,),
        tuple(b"Connection: %b" % b",".join(b"x%d" % (10 * line + place) for place in range(10)) for line in range(11)),
        (b"Expect: " + b"," * MOST_MEMBERS,),
        (b"Transfer-Encoding: " + b"a," * MOST_MEMBERS + b"chunked",),
    ],
    ids=("many", "empty ones", "over many lines", "expectations", "codings"),
)
def test_a_list_without_end_is_refused(lines: tuple[bytes, ...]) -> None:
    """RFC 9110, 5.6.1.2: empty members are ignored, but not so many that taking them apart harms."""
    assert refusal(b"GET / HTTP/1.1", HOST, *lines) == (400, "bad_request")


def test_a_list_at_the_limit_is_read() -> None:
    options = b",".join(b"x%d" % number for number in range(MOST_MEMBERS))
    assert len(section(HOST, b"Connection: " + options).connection) == MOST_MEMBERS


@pytest.mark.parametrize(
    ("values", "hops"),
    [
        ((b"0",), 0),
        ((b"000000000000",), 0),
        ((b"07",), 7),
        ((b"999999999",), 999_999_999),
        ((b"99999999999",), MOST_HOPS),
        ((b"9" * 5_000,), MOST_HOPS),
        ((b"3", b"1", b"2"), 1),
        ((b"-1",), None),
        ((b"1, 2",), None),
        ((b"",), None),
    ],
)
def test_the_fewest_hops_count_and_no_number_is_too_large(values: tuple[bytes, ...], hops: int | None) -> None:
    """RFC 9110, 7.6.2. Of what is no number nothing goes on."""
    assert section(HOST, *(b"Max-Forwards: " + value for value in values)).max_forwards == hops


@pytest.mark.parametrize("value", [b"r", b"0a-B._~+/=:@", b"x" * 128])
def test_a_sane_request_id_is_kept(value: bytes) -> None:
    assert section(HOST, b"X-Request-Id: " + value).request_id == value


@pytest.mark.parametrize("value", [b"", b"a b", b"<x>", b'"', b"x" * 129, b"caf\xe9", b"a,b", b"{}", b"$(x)"])
def test_another_is_replaced(value: bytes) -> None:
    assert section(HOST, b"X-Request-Id: " + value).request_id is None


TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (b"00-%b-%b-01" % (TRACE, SPAN), True),
        (b"01-%b-%b-01-more" % (TRACE, SPAN), True),
        (b"01-%b-%b-01" % (TRACE, SPAN), True),
        (b"00-%b-%b-01-more" % (TRACE, SPAN), False),
        (b"00-%b-%b-01-" % (TRACE, SPAN), False),
        (b"01-%b-%b-01more" % (TRACE, SPAN), False),
        (b"01-%b-%b-01-caf\xe9" % (TRACE, SPAN), False),
        (b"ff-%b-%b-01" % (TRACE, SPAN), False),
        (b"00-%b-%b-01" % (b"0" * 32, SPAN), False),
        (b"00-%b-%b-01" % (TRACE, b"0" * 16), False),
        (b"00-%b-%b-01" % (TRACE.upper(), SPAN), False),
        (b"00-%b-%b" % (TRACE, SPAN), False),
        (b"", False),
    ],
)
def test_a_trace_is_continued_where_it_is_one(value: bytes, taken: bool) -> None:
    assert section(HOST, b"traceparent: " + value).traceparent == (value if taken else None)


octets = st.lists(st.sampled_from(OCTETS), max_size=20).map(bytes)
request_lines = st.one_of(
    octets,
    st.builds(lambda target: b"GET " + target + b" HTTP/1.1", st.one_of(octets, octets.map(lambda path: b"/" + path))),
    st.builds(lambda authority: b"GET http://" + authority + b"/ HTTP/1.1", octets),
)


@settings(max_examples=500)
@given(request_lines, st.lists(st.one_of(octets, octets.map(lambda value: b"Host: " + value)), max_size=4))
def test_a_head_is_understood_or_refused(line: bytes, lines: list[bytes]) -> None:
    """Nothing else is raised, and what is understood has its normal form."""
    try:
        read = head(line, HOST, *lines)
    except HeadError:
        return
    assert read.path == b"*" or normalise(read.path) == read.path
    assert read.host == parse_authority(read.authority or b"")


@given(
    st.lists(st.sampled_from([HOST, TE, CL, b"X-A: 1", b"X-API-Key: k", b"Connection: X-A", b"Cookie: c"]), max_size=6)
)
def test_a_section_read_again_says_the_same(lines: list[bytes]) -> None:
    """The second reading asks the memory that the first one left."""
    table, private = request_fields(), dict[bytes, Field]()

    def said() -> object:
        try:
            read = read_section(lines, table, private)
        except HeadError as error:
            return error.code
        return read.passed_on, read.host, read.body, read.api_key, read.connection

    assert said() == said()


def test_a_length_of_any_size_is_a_number_or_refused() -> None:
    for digits in range(1, 25):
        value = b"9" * digits
        if digits < 19:
            assert content_length(value) == int(value)
        else:
            with pytest.raises(HeadError):
                content_length(value)
