"""A token in its parts, strictly and within bounds (RFC 7515, 3.1; RFC 7519, 7.2). Nothing in them is believed yet.

Whoever reads what a stranger signed, or has not signed, must not be made to work for it: the size comes first, then the
alphabet, then what has to be decoded.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from microgateway.tokens.faults import MALFORMED, TOO_LARGE, Fault

LARGEST_TOKEN = 8_192  # bytes
LONGEST_TEXT = 256  # characters of `iss`, `sub` and `kid`: they become names of buckets, and stand in logs
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NOT_PARSED = (ValueError, RecursionError)  # RecursionError: thousands of brackets, one in the other

Claims = dict[str, Any]


class ParsedToken:
    """`algorithm`, `key_id` and `issuer` are what the token says of itself. `signed` is what its signature is for."""

    __slots__ = ("algorithm", "claims", "issuer", "key_id", "signature", "signed")

    def __init__(self, header: dict[str, Any], claims: Claims, signed: bytes, signature: bytes) -> None:
        self.algorithm = text_of(header.get("alg"))
        self.key_id = text_of(header.get("kid"))
        self.issuer = text_of(claims.get("iss"))
        self.claims = claims
        self.signed = signed
        self.signature = signature


def parse(token: bytes) -> ParsedToken | Fault:
    """The parts of a token in compact form, or what keeps it from having any."""
    if len(token) > LARGEST_TOKEN:
        return TOO_LARGE
    segments = token.split(b".")
    if len(segments) != 3:
        return MALFORMED
    try:
        header, claims = (json.loads(_decode(segment)) for segment in segments[:2])
        signature = _decode(segments[2])
    except _NOT_PARSED:
        return MALFORMED
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return MALFORMED
    if "crit" in header or header.get("b64", True) is not True or not isinstance(header.get("kid", ""), str):
        return MALFORMED  # RFC 7515, 4.1.11: what must be understood, and is not
    return ParsedToken(header, claims, token.rpartition(b".")[0], signature)


def text_of(value: object) -> str:
    """A name of a sane length, or none."""
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT else ""


def _decode(segment: bytes) -> bytes:
    """Base64url without padding, in its one canonical form (RFC 7515, 2). Raises `ValueError`."""
    if segment.translate(None, _ALPHABET):
        raise ValueError("a character that does not belong here")
    try:
        data = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if urlsafe_b64encode(data).rstrip(b"=") != segment:
        raise ValueError("bits that mean nothing are set")
    return data
