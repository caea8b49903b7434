"""Read from EXIF or XMP how a picture is to be turned, and turn it."""

from __future__ import annotations

import re
import struct

from PIL import Image

_UPRIGHT = {  # EXIF orientation -> the turn that sets the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_LONGEST = 2**16


def turn_upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture by EXIF's number; unknown numbers leave it as it is."""
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def exif_orientation(block: bytes) -> int:
    """Read the orientation from an EXIF block, with or without its heading; 0 if there is none.

    Only the entries of the first directory are looked at, and nothing that they point to.
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 0
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    if at + 2 > len(block):
        return 0
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", block, entry)
        if tag == _ORIENTATION:
            letter = {1: "B", 3: "H", 4: "I"}.get(kind)
            return struct.unpack_from(order + letter, block, entry + 8)[0] if letter else 0
    return 0


def xmp_orientation(packet: bytes) -> int:
    """Read the orientation from an XMP packet; 0 if there is none."""
    found = _XMP.search(packet[:_LONGEST])
    return int(found[1]) if found else 0
