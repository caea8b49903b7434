"""Unpack a BMP whose pixels are stored as runs, into one whose pixels are stored one by one."""

from __future__ import annotations

import struct

from model.errors import ImageRejected
from model.images.limits import MAX_PIXELS, MAX_RUNS
from model.images.pared import Pared
from model.images.sentences import damaged, too_large, too_many

_RUNS_OF_8_BITS, _RUNS_OF_4_BITS = 1, 2
_SINGLES = [bytes((value,)) for value in range(256)]
_PAIRS = [bytes((value >> 4, value & 15)) for value in range(256)]
_UPPER, _LOWER = (bytes(pair[i] for pair in _PAIRS) for i in (0, 1))


def pare(data: bytes) -> Pared:
    """Unpack runs; other files are as they were. ImageRejected if the runs are too many."""
    size = stated_size(data)
    if size is None or len(data) < 54:
        return Pared(data)
    bits, packing = struct.unpack_from("<HI", data, 28)
    if (bits, packing) not in ((8, _RUNS_OF_8_BITS), (4, _RUNS_OF_4_BITS)):
        return Pared(data)
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageRejected(too_large(size, reducible=False))
    if not width * height:
        return Pared(data)
    (start,) = struct.unpack_from("<I", data, 10)
    if not 54 <= start <= len(data):
        raise ImageRejected(damaged("BMP"))
    rows = _unpack(data, start, width, height, four=bits == 4)
    header = bytearray(data[:start])
    struct.pack_into("<HI", header, 28, 8, 0)
    if bits == 4 and struct.unpack_from("<I", data, 46)[0] == 0:
        struct.pack_into("<I", header, 46, 16)
    return Pared(bytes(header) + rows)


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the header, unless it is of the oldest kind."""
    if len(data) < 26 or data[14] < 40:
        return None
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _unpack(data: bytes, at: int, width: int, height: int, four: bool) -> bytes:
    """Write the runs into rows of bytes, each row padded to a multiple of four."""
    stride = (width + 3) // 4 * 4
    rows, x, y = bytearray(stride * height), 0, 0
    for _ in range(MAX_RUNS):
        if at + 1 >= len(data):
            raise ImageRejected(damaged("BMP", ValueError("truncated")))
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = _PAIRS[value] * (count + 1 >> 1) if four else _SINGLES[value] * count
        elif value == 0:
            x, y = 0, y + 1
            if y >= height:
                return bytes(rows)
            continue
        elif value == 1:
            return bytes(rows)
        elif value == 2:
            right, up = data[at : at + 2].ljust(2, b"\0")
            x, y, at = x + right, y + up, at + 2
            if y >= height:
                return bytes(rows)
            continue
        else:
            count, length = value, (value + 1 >> 1) if four else value
            run = data[at : at + length]
            run = _nibbles(run) if four else run
            at += length + (length & 1)
        room = min(count, len(run), width - x)
        if room > 0:
            place = y * stride + x
            rows[place : place + room] = run[:room]
        x += count
        if y == height - 1 and x >= width:
            return bytes(rows)
    raise ImageRejected(too_many("BMP", "runs", MAX_RUNS, MAX_RUNS))


def _nibbles(packed: bytes) -> bytes:
    """Take two pixels from each byte."""
    out = bytearray(2 * len(packed))
    out[::2], out[1::2] = packed.translate(_UPPER), packed.translate(_LOWER)
    return bytes(out)
