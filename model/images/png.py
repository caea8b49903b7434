"""Pare a PNG down to the chunks that its pixels need."""

from __future__ import annotations

from model.errors import ImageRejected
from model.images.limits import MAX_CHUNKS
from model.images.orientation import exif_orientation, xmp_orientation
from model.images.pared import Pared
from model.images.sentences import too_many

_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_XMP = b"XML:com.adobe.xmp"


def pare(data: bytes) -> Pared:
    """Keep header, palette, transparency and pixels; ImageRejected if the chunks are too many."""
    kept, at, count = [memoryview(data)[:8]], 8, 0
    exif = xmp = bits = 0
    while at + 8 <= len(data):
        count += 1
        if count > MAX_CHUNKS:
            raise ImageRejected(too_many("PNG", "chunks", count, MAX_CHUNKS))
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, end = at + 8, at + 12 + length
        if name in _NEEDED:
            kept.append(memoryview(data)[at:end])
        elif name == b"eXIf":
            exif = exif or exif_orientation(data[body : body + length])
        elif name == b"iTXt" and data.startswith(_XMP, body):
            xmp = xmp or xmp_orientation(data[body : body + length])
        elif name == b"sBIT" and length:
            bits = max(data[body : body + min(length, 3)], default=0)
        at = end
        if name == b"IEND":
            break
    return Pared(b"".join(kept), exif or xmp or 1, bits)


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the header."""
    if len(data) < 24:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
