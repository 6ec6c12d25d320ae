"""Fetches a small document by http or https, in a thread of its own, within bounds: size, time, redirects.

Of `urllib`'s handlers those that are needed, so that neither a URL nor a redirect can name a file or another scheme.
"""

import ssl
import time
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError

from microgateway.errors import MicroGatewayError

LARGEST_DOCUMENT = 512 * 1024  # bytes
LONGEST_SILENCE = 5.0  # seconds for a connection, and between two reads
LONGEST_FETCH = 10.0  # seconds for the document
PIECE = 65_536
ACCEPTED = "application/jwk-set+json, application/json"


class FetchError(MicroGatewayError):
    """The document can't be had; the text says why in a few words."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and for how many seconds it says that it is fresh (None where it says nothing)."""

    body: bytes
    max_age: float | None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few, and never from https to http: then anybody on the way could name keys."""

    max_redirections = 3
    max_repeats = 2

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("https:", "http:") if req.type == "http" else "https:"):
            raise FetchError("it redirects to another scheme")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, ca_file: str | None) -> Fetched:
    """Blocks. `ca_file` holds who is trusted, instead of the authorities of the system. Raises `FetchError`."""
    give_up_at = time.monotonic() + LONGEST_FETCH
    request = urllib.request.Request(url, headers={"Accept": ACCEPTED, "User-Agent": "microgateway"})  # noqa: S310
    if request.type not in ("http", "https"):
        raise FetchError("its URL is neither http nor https")
    try:
        with _opener(ca_file).open(request, timeout=LONGEST_SILENCE) as response:
            return Fetched(_read(response, give_up_at), max_age(response.headers))
    except HTTPError as error:
        error.close()
        raise FetchError(f"its server answers {error.code}") from None
    except URLError as error:
        reason = error.reason
        raise FetchError(
            reason if isinstance(reason, str) else getattr(reason, "strerror", "") or str(reason)
        ) from error
    except HTTPException as error:
        raise FetchError("its answer is not HTTP") from error
    except (OSError, ValueError) as error:
        raise FetchError(str(error) or type(error).__name__) from error


def max_age(headers: Message) -> float | None:
    """What Cache-Control says of how long it is fresh (RFC 9111, 5.2.2), in seconds."""
    for part in (headers.get("Cache-Control") or "").lower().split(","):
        name, _, value = part.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return 0.0
        if name == "max-age" and value.strip('"').isdecimal():
            return float(value.strip('"')[:10])
    return None


def _opener(ca_file: str | None) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _read(response: HTTPResponse, give_up_at: float) -> bytes:
    body = bytearray()
    while piece := response.read1(PIECE):
        body += piece
        if len(body) > LARGEST_DOCUMENT:
            raise FetchError(f"it has more than {LARGEST_DOCUMENT} bytes")
        if time.monotonic() > give_up_at:
            raise FetchError("it does not come to an end")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and not response.chunked and len(body) != int(length):  # which `read1` lets pass
        raise FetchError("it was cut off")
    return bytes(body)
