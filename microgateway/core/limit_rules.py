"""Rate limit rules: which requests a limit of its own is for, and whose bucket each of them is counted in.

A rule asks of a request what a route asks, in the same words, but all rules that apply count, not the best of them: so
here is a handful of comparisons, not a tree. What a request's subject is (a key's id, an address, a header's value) is
only ever a name of a bucket, and is kept short, since there may be many.
"""

import socket
from collections.abc import Collection
from enum import Enum
from hashlib import blake2b

from microgateway.core.routing import PathPattern
from microgateway.core.token_bucket import Limit

Subject = str | bytes
EVERYBODY = ""  # the subject of a rule that counts all its requests together
LONGEST_SUBJECT = 64  # bytes of a header's value that are kept as they are
_DIGEST = 16
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"


class CountBy(Enum):
    """Who has a bucket of their own."""

    KEY = "key"
    ADDRESS = "address"
    HEADER = "header"
    ALL = "all"


class LimitRule:
    """One rule. `space` names its buckets; an enforced rule refuses, one that is not is only counted.

    `when` is None for a rule for all requests. `before_auth`: it is asked before the credential is looked at.
    `policy_field` are the header lines that tell the limit, as `limit_lines` makes them.
    """

    __slots__ = ("before_auth", "count_by", "enforced", "header", "limit", "name", "policy_field", "space", "when")

    def __init__(
        self,
        *,
        id: str,
        name: str,
        limit: Limit,
        when: "Condition",
        count_by: CountBy,
        header: bytes = b"",
        enforced: bool = True,
        before_auth: bool = False,
    ) -> None:
        self.space = id
        self.name = name
        self.limit = limit
        self.when = None if when.is_open else when
        self.count_by = count_by
        self.header = header
        self.enforced = enforced
        self.before_auth = before_auth
        self.policy_field = limit_lines(policy_name(name, otherwise=id), limit)

    @property
    def id(self) -> str:
        return self.space


class Condition:
    """What a request's path and method must be like. Without a pattern any path will do, without methods any method."""

    __slots__ = ("_below", "_exact", "_pattern", "_text", "is_open", "methods")

    def __init__(self, pattern: PathPattern | None = None, methods: Collection[bytes] = ()) -> None:
        self.methods = frozenset(methods)
        self._pattern = pattern
        self.is_open = not self.methods and (pattern is None or _takes_all(pattern))
        self._text: bytes | None = None  # the path itself, where the pattern has no params
        self._below = b""
        if pattern is not None and None not in pattern.segments:
            self._text = b"/" + b"/".join(segment for segment in pattern.segments if segment is not None)
            self._below = self._text + b"/"
        self._exact = pattern is not None and pattern.match == "exact"

    def takes(self, method: bytes, path: bytes) -> bool:
        """Whether a request with this method and normalised path is meant."""
        if self.is_open:
            return True
        if self.methods and method not in self.methods:
            return False
        pattern = self._pattern
        if pattern is None:
            return True
        if self._text is None:
            return _fits(pattern, path)
        return path == self._text or (not self._exact and (path.startswith(self._below) or not pattern.segments))

    def may_meet(self, pattern: PathPattern, methods: Collection[bytes]) -> bool:
        """Whether any request that a route with this pattern and these methods takes is meant. True may be wrong."""
        if self.methods and methods and self.methods.isdisjoint(methods):
            return False
        own = self._pattern
        if own is None:
            return True
        for mine, theirs in zip(own.segments, pattern.segments, strict=False):
            if mine is not None and theirs is not None and mine != theirs:
                return False
        shorter, longer = sorted((own, pattern), key=lambda each: len(each.segments))
        return shorter.match == "prefix" or len(shorter.segments) == len(longer.segments)


def address_subject(address: str) -> str:
    """Whose address this is: an IPv4 address itself, written within IPv6 or not, or the /64 network of an IPv6 address.

    A network of that size is what one household or one machine gets, so a single address would be no limit at all.
    """
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    if packed.startswith(_MAPPED_IPV4):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8].hex()


def value_subject(value: bytes) -> bytes:
    """A header's value, or, of a long one, its digest: what names a bucket must not be as large as a client likes."""
    return value if len(value) <= LONGEST_SUBJECT else b"\0" + blake2b(value, digest_size=_DIGEST).digest()


def limit_lines(name: bytes, limit: Limit) -> bytes:
    """The header lines that tell a limit, and the beginning of the line that tells what is left of it.

    IETF httpapi, draft-ietf-httpapi-ratelimit-headers-11: the quota and its window in seconds. `name` is an sf-string.
    """
    return b"RateLimit-Policy: %b;q=%d;w=60\r\nX-RateLimit-Limit: %d\r\nRateLimit: %b" % (
        name,
        limit.per_minute,
        limit.per_minute,
        name,
    )


def policy_name(name: str, *, otherwise: str) -> bytes:
    """A name as an sf-string (RFC 9651, 3.3.3), which holds printable ASCII only; `otherwise` where it has more."""
    text = name if name.isascii() and name.isprintable() else otherwise
    return b'"%b"' % text.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")


def _takes_all(pattern: PathPattern) -> bool:
    return not pattern.segments and pattern.match == "prefix"


def _fits(pattern: PathPattern, path: bytes) -> bool:
    segments = path.split(b"/")
    del segments[0]  # what stands before the first slash: nothing
    wanted = pattern.segments
    if len(segments) < len(wanted) or (pattern.match == "exact" and len(segments) > len(wanted)):
        return False
    return all(
        segment != b"" if want is None else segment == want for want, segment in zip(wanted, segments, strict=False)
    )
