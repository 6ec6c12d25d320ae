"""Pictures with 256 colours at most: half the bytes, and on a screen of text nobody sees the difference.

Reads what a browser writes (PNG, ISO/IEC 15948: eight bits a channel, not interlaced), with the standard library alone.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_COLOURS = 256
OF_KINDS = 208  # of those, one for each kind of colour; the rest are the most frequent ones
CHANNELS = {2: 3, 6: 4}  # by the type of colour: with and without transparency


def few_colours(png: bytes) -> bytes:
    """The same picture. Some colours are kept, and each other one becomes the nearest of them."""
    width, height, rows = _decoded(png)
    pixels = [[row[at : at + 3] for at in range(0, len(row), len(row) // width)] for row in rows]
    counts = Counter(pixel for row in pixels for pixel in row)
    kept = _kept(counts)
    place = {colour: _nearest(colour, kept) for colour in counts}
    body = b"".join(b"\0" + bytes(place[pixel] for pixel in row) for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(kept)), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)


def _kept(counts: Counter[bytes]) -> list[bytes]:
    """The most frequent ones, but first one of each kind: a red number is rare, and stays red."""
    kinds: dict[bytes, bytes] = {}
    weights: Counter[bytes] = Counter()
    for colour, count in counts.most_common():
        kind = bytes(value >> 4 for value in colour)
        weights[kinds.setdefault(kind, colour)] += count
    chosen = [colour for colour, _ in weights.most_common(OF_KINDS)]
    return list(dict.fromkeys([*chosen, *(colour for colour, _ in counts.most_common(MOST_COLOURS))]))[:MOST_COLOURS]


def _nearest(colour: bytes, kept: list[bytes]) -> int:
    """The place of the one that is least different."""
    distances = [sum((one - other) ** 2 for one, other in zip(colour, known, strict=True)) for known in kept]
    return distances.index(min(distances))


def _decoded(png: bytes) -> tuple[int, int, list[bytes]]:
    """Its width and height, and its rows of channels."""
    chunks = list(_chunks(png))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, interlaced) == (8, 0)
    step = CHANNELS[kind]
    data = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    length = width * step
    rows = [bytes(length)]
    for start in range(0, height * (length + 1), length + 1):
        rows.append(_unfiltered(data[start], data[start + 1 : start + 1 + length], rows[-1], step))
    return width, height, rows[1:]


def _unfiltered(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    """A row's own values, of their differences from what is left of them and above (clause 9)."""
    if kind == 0:
        return row
    if kind == 2:
        return bytes((value + up) & 255 for value, up in zip(row, above, strict=True))
    own = bytearray(step) + row
    before = bytes(step) + above
    for at in range(step, len(own)):
        left, up, corner = own[at - step], before[at], before[at - step]
        guess = left if kind == 1 else (left + up) // 2 if kind == 3 else _paeth(left, up, corner)
        own[at] = (own[at] + guess) & 255
    return bytes(own[step:])


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
