"""Pare a GIF down to its first frame."""

from __future__ import annotations

import struct

from model.errors import ImageRejected
from model.images.limits import MAX_PIXELS, MAX_SEGMENTS, MAX_SUB_BLOCKS
from model.images.pared import Pared
from model.images.sentences import damaged, too_large, too_many, truncated

_EXTENSION, _FRAME, _GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9


def pare(data: bytes) -> Pared:
    """Keep the palette and the first frame; ImageRejected if the blocks are too many."""
    if len(data) < 13:
        raise ImageRejected(truncated("GIF"))
    at = 13 + _palette_bytes(data[10])
    kept, control, sub_blocks = [data[:at]], b"", 0
    for _ in range(MAX_SEGMENTS):
        start = at
        code = data[at] if at < len(data) else None
        if code == _EXTENSION:
            at, count = _after_sub_blocks(data, at + 2, MAX_SUB_BLOCKS - sub_blocks)
            sub_blocks += count
            if data[start + 1 : start + 2] == bytes((_GRAPHIC_CONTROL,)):
                control = data[start:at] if at - start == 8 else b""
        elif code == _FRAME and at + 10 <= len(data):
            _check_size(data[6:10], data[at + 1 : at + 9])
            at += 10 + _palette_bytes(data[at + 9]) + 1
            at, _ = _after_sub_blocks(data, at, MAX_SUB_BLOCKS - sub_blocks)
            return Pared(b"".join((*kept, control, memoryview(data)[start:at], b";")))
        elif code is None or code == _FRAME:
            raise ImageRejected(truncated("GIF"))
        else:
            raise ImageRejected(damaged("GIF"))
    raise ImageRejected(too_many("GIF", "blocks", MAX_SEGMENTS, MAX_SEGMENTS))


def _check_size(canvas: bytes, frame: bytes) -> None:
    """Refuse what is too large before Pillow takes memory for it."""
    left, top, width, height = struct.unpack("<4H", frame)
    whole = struct.unpack("<2H", canvas)
    size = max(whole[0], left + width), max(whole[1], top + height)
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageRejected(too_large(size, reducible=False))


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Walk over sub-blocks, each a length and so many bytes, to the one of length zero."""
    count, end = 0, len(data)
    while at < end and (length := data[at]):
        at += length + 1
        count += 1
        if count > most:
            raise ImageRejected(too_many("GIF", "blocks", count, MAX_SUB_BLOCKS))
    return at + 1, count
