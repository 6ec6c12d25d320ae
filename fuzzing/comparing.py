"""Whether two readings of one message say the same, and whether a head that we write can be read in one way only."""

import re
from urllib.parse import unquote_to_bytes

from fuzzing.reading import Body, Fields, OurAnswer, OurRequest, TheirAnswer, TheirRequest
from microgateway.core.answers import CHUNKED as CHUNKED_ANSWER

# What the gateway takes out of a request, one name a line of http.md. This list is kept by hand: whoever changes what
# is passed on changes it here, too, and has thought of it twice.
TAKEN_OUT = frozenset(
    b"host content-length transfer-encoding connection upgrade expect max-forwards x-api-key authorization "
    b"x-request-id traceparent "
    b"keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer forwarded x-forwarded-for "
    b"x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-forwarded x-forwarded-by x-forwarded-prefix "
    b"x-forwarded-server x-client-ip".split()
)
LOOKED_ALIKE = frozenset(
    b"content-length transfer-encoding x-api-key x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto "
    b"x-real-ip x-forwarded x-forwarded-by x-forwarded-prefix x-forwarded-server x-client-ip".split()
)
TAKEN_OUT_OF_ANSWERS = frozenset(
    b"content-length transfer-encoding connection upgrade keep-alive proxy-connection proxy-authenticate te trailer "
    b"transfer_encoding content_length x-request-id ratelimit ratelimit-policy x-ratelimit-limit x-ratelimit-remaining "
    b"x-ratelimit-reset".split()
)
NOTHING: frozenset[bytes] = frozenset()
NOT_NOMINATED = frozenset((b"close", b"keep-alive", b"upgrade", b"cookie", b"via"))
NOT_NOMINATED_BY_ANSWERS = frozenset((b"close", b"keep-alive", b"upgrade", b"via"))

_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
_FIELDS = rb"(?:" + _NAME + rb": " + _VALUE + rb"\r\n)*"
# One normal form of every part: one space, CR LF, `Name: value` without white space at its ends
REQUEST_HEAD = re.compile(_NAME + rb" (?:/[!$-~]*|\*) HTTP/1\.1\r\n" + _FIELDS + rb"\r\n\Z")
ANSWER_HEAD = re.compile(rb"HTTP/1\.1 [1-9][0-9]{2} [\t\x20-\x7e\x80-\xff]*\r\n" + _FIELDS + rb"\Z")


def request_difference(ours: OurRequest, theirs: TheirRequest) -> str | None:
    """The first thing in which the readings differ."""
    head, section = ours.head, ours.head.section
    host, path, query = _parts_of_target(theirs)
    mine = [*fields_of(section.passed_on), *((field.name, field.value) for field in section.authorization or ())]
    told = [
        *_passed_on(theirs.fields, TAKEN_OUT, NOT_NOMINATED, LOOKED_ALIKE),
        *_named(theirs.fields, b"authorization"),
    ]
    pairs: list[tuple[str, object, object]] = [
        ("method", head.method, theirs.method),
        ("version", b"1.%d" % head.minor_version, theirs.version),
        ("authority", head.authority, host),
        ("path", _meaning(head.path), _meaning(path)),
        ("query", head.query, query),
        ("fields", mine, told),
        ("key", [section.api_key][: section.api_key_lines], [v for _, v in _named(theirs.fields, b"x-api-key")][-1:]),
    ]
    return _first_difference([*pairs, *_body_pairs(ours.body, theirs.body)])


def answer_difference(ours: OurAnswer, theirs: TheirAnswer) -> str | None:
    head = ours.head
    status_line, _, lines = head.passed_on.partition(b"\r\n")
    told = _passed_on(theirs.fields, TAKEN_OUT_OF_ANSWERS, NOT_NOMINATED_BY_ANSWERS, NOTHING)
    pairs: list[tuple[str, object, object]] = [
        ("status", head.status, theirs.status),
        ("status line", status_line, b"HTTP/1.1 %d %b" % (theirs.status, theirs.reason)),
        ("fields", fields_of(lines), [*told, (b"via", theirs.version + b" microgateway")]),
    ]
    return _first_difference([*pairs, *_body_pairs(ours.body, theirs.body)])


def fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Names in lower case, and values, of complete lines."""
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
    return [(name.lower(), value) for name, _, value in pairs]


def doubt_about_head(head: bytes) -> str | None:
    """Why a request head that we wrote could be read in two ways."""
    if REQUEST_HEAD.match(head) is None:
        return f"not in normal form: {head!r}"
    names = [name for name, _ in fields_of(head.partition(b"\r\n")[2][:-2])]
    framing = names.count(b"content-length") + names.count(b"transfer-encoding")
    if names.count(b"host") != 1 or framing > 1:
        return f"not one Host and at most one framing: {head!r}"
    return _look_alike(names, head)


def doubt_about_answer(ours: OurAnswer) -> str | None:
    """Why what we pass on of an answer could be read in two ways."""
    passed_on = ours.head.passed_on
    if ANSWER_HEAD.match(passed_on) is None:
        return f"not in normal form: {passed_on!r}"
    names = {name for name, _ in fields_of(passed_on.partition(b"\r\n")[2])}
    if names & TAKEN_OUT_OF_ANSWERS:
        return f"framing is passed on: {passed_on!r}"
    if ours.head.keep_alive and ours.head.body < CHUNKED_ANSWER:
        return "a connection whose body ends with it is to be kept"
    return None


def _look_alike(names: list[bytes], head: bytes) -> str | None:
    alike = [name for name in names if b"_" in name and name.replace(b"_", b"-") in LOOKED_ALIKE]
    return f"look-alikes are passed on: {head!r}" if alike else None


def _first_difference(pairs: list[tuple[str, object, object]]) -> str | None:
    for what, mine, told in pairs:
        if mine != told:
            return f"{what}: we read {mine!r}, h11 reads {told!r}"
    return None


def _body_pairs(ours: Body, theirs: Body) -> list[tuple[str, object, object]]:
    pairs: list[tuple[str, object, object]] = [
        ("payload", ours.payload, theirs.payload),
        ("completeness", ours.complete, theirs.complete),
    ]
    return [*pairs, ("bytes behind it", ours.left, theirs.left)] if ours.complete else pairs


def _named(fields: Fields, name: bytes) -> list[tuple[bytes, bytes]]:
    return [pair for pair in fields if pair[0] == name]


def _passed_on(
    fields: Fields, taken_out: frozenset[bytes], kept: frozenset[bytes], looked_alike: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """The end-to-end fields among these, by rules of our own that are not the readers'."""
    nominated = {
        option.strip(b" \t").lower() for name, value in fields if name == b"connection" for option in value.split(b",")
    }
    return [
        (name, value)
        for name, value in fields
        if name not in taken_out
        and not (b"_" in name and name.replace(b"_", b"-") in looked_alike)
        and name not in nominated - kept
    ]


def _parts_of_target(theirs: TheirRequest) -> tuple[bytes | None, bytes, bytes]:
    """Authority, path and query: of the target where it is a whole URL (RFC 9112, 3.2.2), else of Host and target."""
    host = next((value for _, value in _named(theirs.fields, b"host")), None)
    target = theirs.target
    match = re.match(rb"https?://([^/?]*)(.*)\Z", target, re.IGNORECASE | re.DOTALL)
    if match is not None:
        host, target = match[1], match[2]
        if not target:
            target = b"*" if theirs.method == b"OPTIONS" else b"/"
        elif target.startswith(b"?"):
            target = b"/" + target
    path, mark, query = target.partition(b"?")
    return host, path, mark + query


def _meaning(path: bytes) -> list[bytes]:
    """The path's decoded segments once dot segments are gone: what any two normal forms must have in common."""
    kept: list[bytes] = []
    segments = [unquote_to_bytes(segment) for segment in path.split(b"/")]
    for segment in segments:
        if segment == b"..":
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    return [*kept, b""] if segments[-1] in (b".", b"..") else kept
