"""API keys: how one looks, how one is recognised, and what of it is kept.

A key is `mgw_live_` + 30 random base62 digits (178 bits) + 6 base62 digits of the CRC32 of all that stands before.
The check digits let a mistyped key be refused without a look-up, and let secret scanners know a real key from noise.
At rest there is only the SHA-256 of the key: with 178 random bits a slow hash would buy nothing.
"""

import hashlib
import zlib
from collections.abc import Callable

PREFIX = "mgw_live_"
RANDOM_DIGITS = 30
CHECK_DIGITS = 6
LENGTH = len(PREFIX) + RANDOM_DIGITS + CHECK_DIGITS
SHOWN_DIGITS = 6
_PREFIX_BYTES = PREFIX.encode()

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
_PAIRS = {(a + b).encode(): _BASE * high + low for high, a in enumerate(_ALPHABET) for low, b in enumerate(_ALPHABET)}
_PAIR_BASE = _BASE * _BASE


def generate(random_below: Callable[[int], int]) -> str:
    """A new key. `random_below(n)` gives an unpredictable integer in [0, n), such as `secrets.randbelow`."""
    body = PREFIX + _digits(random_below(_BASE**RANDOM_DIGITS), RANDOM_DIGITS)
    return body + checksum(body)


def checksum(body: str) -> str:
    """The six check digits of `body`, most significant first (62**6 exceeds 2**32, so they always suffice)."""
    return _digits(zlib.crc32(body.encode()), CHECK_DIGITS)


def _digits(number: int, count: int) -> str:
    """The number in so many base62 digits, most significant first."""
    digits = []
    for _ in range(count):
        number, digit = divmod(number, _BASE)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def is_well_formed(key: str) -> bool:
    """Whether this could be one of our keys: length, prefix and check digits. It says nothing about being known."""
    return key.isascii() and is_well_formed_credential(key.encode("ascii"))


def is_well_formed_credential(key: bytes) -> bool:
    """The same for a key as a request brings it."""
    if len(key) != LENGTH or not key.startswith(_PREFIX_BYTES):
        return False
    high, middle, low = _PAIRS.get(key[-6:-4]), _PAIRS.get(key[-4:-2]), _PAIRS.get(key[-2:])
    if high is None or middle is None or low is None:
        return False
    return (high * _PAIR_BASE + middle) * _PAIR_BASE + low == zlib.crc32(key[:-CHECK_DIGITS])


def digest(key: bytes) -> bytes:
    """What is kept of a key, and what it is looked up by: 32 bytes."""
    return hashlib.sha256(key).digest()


def shown_prefix(key: str) -> str:
    """The part of a key that people may see, to tell one from another."""
    return key[: len(PREFIX) + SHOWN_DIGITS]
