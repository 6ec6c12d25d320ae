"""One mutation after another: of octets, of lines, of line ends, of numbers.

Everything is decided by the `Random` that is handed in, so a seed tells the whole run, and Hypothesis can shrink it.
"""

import re
from collections.abc import Callable
from random import Random

from fuzzing.corpus import LINES, OCTETS

_NUMBER = re.compile(rb"[0-9]+")
_LINE_ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n ", b"\r\n\t", b" \r\n", b"\r\n\r\n", b"\x0b\r\n", b"", b"\x85")
_NUMBERS = (
    b"0",
    b"1",
    b"00",
    b"05",
    b"+1",
    b"-1",
    b"1_0",
    b"0x1",
    b"1e1",
    b"9223372036854775807",
    b"9223372036854775808",
)
_SPACES = (b" ", b"\t", b"  ", b"\x0b", b"\x0c", b"\xa0", b"\x00")
MOST_MUTATIONS = 4

Mutation = Callable[[bytes, Random], bytes]


def mutate(message: bytes, random: Random) -> bytes:
    """The message after one to four mutations."""
    for _ in range(1 + int(random.random() * random.random() * MOST_MUTATIONS)):  # mostly one: the rest stays valid
        message = random.choice(MUTATIONS)(message, random)
    return message


def pieces(message: bytes, random: Random, most: int = 6) -> list[bytes]:
    """The message in one to `most` pieces that are not empty."""
    if not message:
        return []
    places = sorted({random.randrange(len(message)) for _ in range(random.randrange(most))} - {0})
    return [message[start:end] for start, end in zip([0, *places], [*places, len(message)], strict=True)]


def _replace_octet(message: bytes, random: Random) -> bytes:
    place = random.randrange(len(message) + 1)
    return b"%b%c%b" % (message[:place], random.choice(OCTETS), message[place + 1 :])


def _insert_octet(message: bytes, random: Random) -> bytes:
    place = random.randrange(len(message) + 1)
    return b"%b%c%b" % (message[:place], random.choice(OCTETS), message[place:])


def _flip_bit(message: bytes, random: Random) -> bytes:
    if not message:
        return message
    place = random.randrange(len(message))
    return b"%b%c%b" % (message[:place], message[place] ^ (1 << random.randrange(8)), message[place + 1 :])


def _remove_slice(message: bytes, random: Random) -> bytes:
    place = random.randrange(len(message) + 1)
    return message[:place] + message[place + 1 + random.randrange(8) :]


def _repeat_slice(message: bytes, random: Random) -> bytes:
    place = random.randrange(len(message) + 1)
    end = place + 1 + random.randrange(16)
    return message[:end] + message[place:]


def _insert_line(message: bytes, random: Random) -> bytes:
    lines = message.split(b"\r\n")
    lines.insert(random.randrange(1, len(lines) + 1), random.choice(LINES))
    return b"\r\n".join(lines)


def _remove_line(message: bytes, random: Random) -> bytes:
    lines = message.split(b"\r\n")
    del lines[random.randrange(len(lines))]
    return b"\r\n".join(lines)


def _repeat_line(message: bytes, random: Random) -> bytes:
    lines = message.split(b"\r\n")
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    return b"\r\n".join(lines)


def _exchange_lines(message: bytes, random: Random) -> bytes:
    lines = message.split(b"\r\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _odd_line_end(message: bytes, random: Random) -> bytes:
    lines = message.split(b"\r\n")
    place = random.randrange(len(lines))
    return b"\r\n".join(lines[: place + 1]) + random.choice(_LINE_ENDS) + b"\r\n".join(lines[place + 1 :])


def _odd_space(message: bytes, random: Random) -> bytes:
    """Around a colon, a space, a semicolon or a line end: where readers trim, and differ."""
    places = [place for place, octet in enumerate(message) if octet in b": ;\r"]
    if not places:
        return message
    place = random.choice(places) + random.randrange(2)
    return message[:place] + random.choice(_SPACES) + message[place:]


def _change_case(message: bytes, random: Random) -> bytes:
    place = random.randrange(len(message) + 1)
    return message[:place] + message[place : place + 12].swapcase() + message[place + 12 :]


def _change_number(message: bytes, random: Random) -> bytes:
    numbers = list(_NUMBER.finditer(message))
    if not numbers:
        return message
    number = random.choice(numbers)
    return message[: number.start()] + random.choice(_NUMBERS) + message[number.end() :]


def _cut_off(message: bytes, random: Random) -> bytes:
    return message[: random.randrange(len(message) + 1)]


MUTATIONS: tuple[Mutation, ...] = (
    _replace_octet,
    _replace_octet,
    _insert_octet,
    _flip_bit,
    _remove_slice,
    _repeat_slice,
    _insert_line,
    _insert_line,
    _insert_line,
    _remove_line,
    _repeat_line,
    _exchange_lines,
    _odd_line_end,
    _odd_space,
    _odd_space,
    _change_case,
    _change_number,
    _cut_off,
)
