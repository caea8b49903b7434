"""Pare a WebP down to its first frame."""

from __future__ import annotations

from model.errors import ImageRejected
from model.images.limits import MAX_PIXELS, MAX_SEGMENTS
from model.images.orientation import exif_orientation, xmp_orientation
from model.images.pared import Pared
from model.images.sentences import too_large, too_many

_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM"}
_METADATA_FLAGS = 0x20 | 0x08 | 0x04  # colour profile, EXIF, XMP


def pare(data: bytes) -> Pared:
    """Keep header and first frame; ImageRejected if the chunks are too many."""
    size = stated_size(data)
    if size and size[0] * size[1] > MAX_PIXELS:
        raise ImageRejected(too_large(size, reducible=False))
    kept: list[bytes | memoryview] = []
    at, count, frames, exif, xmp = 12, 0, 0, 0, 0
    while at + 8 <= len(data):
        count += 1
        if count > MAX_SEGMENTS:
            raise ImageRejected(too_many("WEBP", "chunks", count, MAX_SEGMENTS))
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body, end = at + 8, at + 8 + length + (length & 1)
        if name == b"VP8X" and length:
            flags = bytes((data[body] & ~_METADATA_FLAGS,)) if body < len(data) else b""
            kept += [data[at:body], flags, data[body + 1 : end]]
        elif name in _PIXELS or (name == b"ANMF" and not frames):
            frames += name == b"ANMF"
            kept.append(memoryview(data)[at:end])
        elif name == b"EXIF":
            exif = exif or exif_orientation(data[body : body + length])
        elif name == b"XMP ":
            xmp = xmp or xmp_orientation(data[body : body + length])
        at = end
    length = 4 + sum(map(len, kept))
    stated = int.from_bytes(data[4:8], "little")
    if len(data) < 8 + stated:  # cut off: the decoder shall see it too
        length += 8 + stated - len(data)
    return Pared(
        b"".join((b"RIFF", length.to_bytes(4, "little"), b"WEBP", *kept)), exif or xmp or 1
    )


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the first chunk: the decoder takes memory before it is asked."""
    name = data[12:16]
    if len(data) < 30:
        return None
    if name == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if name == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return width, height
