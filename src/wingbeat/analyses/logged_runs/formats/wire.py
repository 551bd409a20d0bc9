"""Protocol buffers on the wire, as far as logs of trackers need them: fields by number.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
_WIDTH: Final = {EIGHT: 8, FOUR: 4}


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of a message: a whole number, or the bytes of anything else.

    Raises:
        ValueError: the bytes are no message.

    >>> list(fields(bytes([8, 150, 1, 18, 2, 104, 105])))
    [(1, 150), (2, b'hi')]
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        length, place = (_WIDTH[kind], place) if kind in _WIDTH else _length(message, place, kind)
        if place + length > len(message):
            raise ValueError("a message ends within a field")
        yield number, message[place : place + length]
        place += length


def _length(message: bytes, place: int, kind: int) -> tuple[int, int]:
    if kind != LENGTH:
        raise ValueError(f"wire type {kind} is in no message of today")
    return _varint(message, place)


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("a message ends within a number")


def signed(number: int) -> int:
    """Return a number that was written as an int64.

    >>> signed(2**64 - 1), signed(7)
    (-1, 7)
    """
    return number - 2**64 if number >= 2**63 else number


def floats(raw: bytes) -> float:
    """Return one float of 4 bytes, or of 8.

    >>> floats(struct.pack("<f", 0.5)), floats(struct.pack("<d", 0.5))
    (0.5, 0.5)
    """
    found: float = struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]
    return found
