"""The ways in which a service's answer can be broken, each by a name.

`WHOLE` are those after which a good answer may still be whole: what is wrong with them comes behind it.
"""

import asyncio
import random

from soak import marks
from soak.stream import GoneError, Stream

ENDLESS = 4_000  # times: far more than anybody should read
LONG_SILENCE = 60.0  # seconds: until the gateway ends it

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<poison>\n"

# One write, then a FIN or a reset (True). `@BODY@` is the right body, `@LENGTH@` its length, `@LONGER@` one more.
_TEXTS: dict[str, tuple[str, bool]] = {
    "silentend": ("", False),
    "silentreset": ("", True),
    "halfhead": ("HTTP/1.1 200 OK\r\nContent-Le", False),
    "halfheadreset": ("HTTP/1.1 200 OK\r\nContent-Le", True),
    "truncated": ("HTTP/1.1 200 OK\r\nContent-Length: @LONGER@\r\n\r\n@BODY@", False),
    "truncatedreset": ("HTTP/1.1 200 OK\r\nContent-Length: @LONGER@\r\n\r\n@BODY@", True),
    "nolastchunk": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n@HEX@\r\n@BODY@\r\n", False),
    "halfchunk": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n@BODY@", False),
    "chunkreset": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n@HEX@\r\n@BODY@\r\n0\r\n", True),
    "badchunksize": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n@HEX@\r\n@BODY@\r\n0x0\r\n\r\n", False),
    "nochunkend": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n@HEX@\r\n@BODY@0\r\n\r\n", False),
    "closereset": ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n@BODY@", True),
    "twolengths": ("HTTP/1.1 200 OK\r\nContent-Length: @LENGTH@\r\nContent-Length: 3\r\n\r\n@BODY@", False),
    "bothframings": (
        "HTTP/1.1 200 OK\r\nContent-Length: @LENGTH@\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@BODY@",
        False,
    ),
    "negative": ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n@BODY@", False),
    "notanumber": ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n@BODY@", False),
    "nothttp": ("220 mail.example ESMTP\r\n@BODY@", False),
    "othercoding": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", False),
    "status99": ("HTTP/1.1 99 Low\r\nContent-Length: @LENGTH@\r\n\r\n@BODY@", False),
    "nul": ("HTTP/1.1 200 OK\r\nX-Name: a\0b\r\nContent-Length: @LENGTH@\r\n\r\n@BODY@", False),
    "folded": ("HTTP/1.1 200 OK\r\nX-Name: a\r\n b\r\nContent-Length: @LENGTH@\r\n\r\n@BODY@", False),
    "barelines": ("HTTP/1.1 200 OK\nContent-Length: @LENGTH@\n\n@BODY@", False),
    "switching": ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n@BODY@", False),
}
_ENDLESS = {
    "interims": b"HTTP/1.1 102 Processing\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    "endlesshead": b"X-More: and more\r\n",
    "endlessline": b"a" * 100,
}
_SILENT = {
    "silence": "",
    "silenthead": "HTTP/1.1 200 OK\r\nContent-Le",
    "silentbody": "HTTP/1.1 200 OK\r\nContent-Length: @LONGER@\r\n\r\n@BODY@",
}

BROKEN = (*_TEXTS, *_ENDLESS, *_SILENT)
WHOLE = ("shorter", "behind", "behindchunks")
SOMETIMES = "sometimes"  # every other time a reset, otherwise good


async def answer(stream: Stream, way: str, request_id: str) -> None:
    """Raises `GoneError` where the connection is over with it."""
    body = marks.body(request_id)
    if way in _TEXTS:
        text, reset = _TEXTS[way]
        await _send(stream, _filled(text, body))
        stream.close(reset=reset)
    elif way in _SILENT:
        await _send(stream, _filled(_SILENT[way], body))
        await asyncio.wait_for(stream.read_to_end(), LONG_SILENCE)
    elif way in _ENDLESS:
        await stream.send(b"" if way in ("interims", "hints") else b"HTTP/1.1 200 OK\r\nX-First: ")
        for _ in range(ENDLESS):
            await stream.send(_ENDLESS[way])
    elif way == SOMETIMES:
        if random.random() < 0.5:  # noqa: S311
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        stream.close(reset=True)
    else:
        await stream.send(_with_more_behind(way, body))
        return
    raise GoneError(way)


async def _send(stream: Stream, data: bytes) -> None:
    if data:
        await stream.send(data)


def _filled(text: str, body: bytes) -> bytes:
    values = {"@LENGTH@": len(body), "@LONGER@": len(body) + 1, "@HEX@": f"{len(body):x}"}
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text.encode("latin-1").replace(b"@BODY@", body)


def _with_more_behind(way: str, body: bytes) -> bytes:
    """A whole answer, and in the same write bytes that nobody asked for."""
    match way:
        case "shorter":
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body) // 2, body)
        case "behind":
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b%b" % (len(body), body, POISON)
        case "behindchunks":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n%b" % (
                len(body),
                body,
                POISON,
            )
    raise ValueError(f"no such way: {way}")
