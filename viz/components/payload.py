"""Pack what a component receives: one blob of bytes.

A length (uint32, little endian), a JSON header, then the arrays, back to back, each
beginning at a multiple of four bytes. The header's ``arrays`` lists name, type, shape
and offset. Streamlit hands a top-level ``bytes`` to a component as it is; the same
bytes inside a dict would become text.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

TYPES = {"float16", "float32", "uint8", "uint32"}


def pack(header: dict[str, Any], **arrays: np.ndarray | bytes) -> bytes:
    """Pack a JSON-able header and arrays (of one of ``TYPES``) into one blob.

    Raises:
        TypeError: for an array of another type.
    """
    entries, body, offset = [], [], 0
    for name, value in arrays.items():
        array = np.frombuffer(value, dtype=np.uint8) if isinstance(value, bytes) else value
        if array.dtype.name not in TYPES:
            raise TypeError(f"Array {name!r} is {array.dtype}; send one of {sorted(TYPES)}.")
        data = np.ascontiguousarray(array).tobytes()
        entries.append(
            {"name": name, "type": array.dtype.name, "shape": array.shape, "offset": offset}
        )
        data += bytes(-len(data) % 4)
        body.append(data)
        offset += len(data)
    head = json.dumps({**header, "arrays": entries}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    return b"".join([len(head).to_bytes(4, "little"), head, *body])


def unpack(blob: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a blob back, as the browser does: (header, arrays by name)."""
    start = 4 + int.from_bytes(blob[:4], "little")
    header = json.loads(blob[4:start])
    arrays = {}
    for entry in header.pop("arrays"):
        dtype, count = np.dtype(entry["type"]), int(np.prod(entry["shape"]))
        array = np.frombuffer(blob, dtype, count, start + entry["offset"])
        arrays[entry["name"]] = array.reshape(entry["shape"])
    return header, arrays


def with_photo(
    header: Mapping[str, Any], photo: bytes | Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Add a photo to a payload: as bytes, or as the entries with which the browser asks for it.

    Returns:
        The header, and the arrays to pack with it.
    """
    if isinstance(photo, bytes):
        return dict(header), {"photo": photo}
    return {**header, **photo}, {}


def photo_bytes(photo: Image.Image, max_side: int = 720) -> bytes:
    """Encode a photo as JPEG for the browser, no side longer than ``max_side`` pixels."""
    small = photo.convert("RGB")
    small.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
