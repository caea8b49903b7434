"""Pare a GIF down to its first frame."""

from __future__ import annotations

from model.errors import ImageRejected
from model.images.limits import MAX_SEGMENTS, MAX_SUB_BLOCKS
from model.images.pared import Pared
from model.images.sentences import damaged, too_many, truncated

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
            at += 10 + _palette_bytes(data[at + 9]) + 1
            at, _ = _after_sub_blocks(data, at, MAX_SUB_BLOCKS - sub_blocks)
            return Pared(b"".join((*kept, control, memoryview(data)[start:at], b";")))
        elif code is None or code == _FRAME:
            raise ImageRejected(truncated("GIF"))
        else:
            raise ImageRejected(damaged("GIF"))
    raise ImageRejected(too_many("GIF", "blocks", MAX_SEGMENTS, MAX_SEGMENTS))


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
