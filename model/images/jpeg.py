"""Pare a JPEG down to its first picture: tables, frame and scans, without metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from model.errors import ImageRejected
from model.images.limits import (
    MAX_COEFFICIENTS,
    MAX_SCANNED_BLOCKS,
    MAX_SCANS,
    MAX_SEGMENTS,
    MAX_TABLE_BYTES,
)
from model.images.orientation import exif_orientation, xmp_orientation
from model.images.pared import Pared
from model.images.sentences import damaged, pixels, too_many, truncated

_START, _END, _SCAN, _ADOBE = 0xD8, 0xD9, 0xDA, 0xEE
_ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}
"""Markers without a length: escaped bytes, restarts and starts."""
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PADDING = re.compile(rb"\xff+")
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")


@dataclass
class _Header:
    """What stands before the first scan."""

    scan: int = 0
    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    headings: set[bytes] = field(default_factory=set)
    frame: tuple[int, bytes] = (0, b"")
    table_bytes: int = 0
    exif: int = 0
    xmp: int = 0


def pare(data: bytes) -> Pared:
    """Keep what the pixels of the first picture need; ImageRejected if its parts are too many."""
    header = _read_header(data)
    end = _count_scans(data, header)
    body = b"".join((*header.kept, memoryview(data)[header.scan : end]))
    return Pared(body, header.exif or header.xmp or 1)


def _read_header(data: bytes) -> _Header:
    header, at, count = _Header(), 2, 0
    while padding := _PADDING.search(data, at):
        at = padding.end()
        if at + 3 > len(data):
            break
        count += 1
        if count > MAX_SEGMENTS:
            raise ImageRejected(too_many("JPEG", "segments", count, MAX_SEGMENTS))
        code = data[at]
        if code == _SCAN:
            header.scan = at - 1
            return header
        if code == _END:
            raise ImageRejected(damaged("JPEG"))
        if code in _ALONE:
            at += 1
            continue
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        _keep(header, code, data[at + 3 : at + 1 + length])
        at += 1 + max(2, length)
    raise ImageRejected(truncated("JPEG"))


def _keep(header: _Header, code: int, body: bytes) -> None:
    """Keep a segment if the pixels need it, and note the orientation."""
    if code == 0xE1 and body.startswith(b"Exif\0\0"):
        header.exif = header.exif or exif_orientation(body)
    elif code == 0xE1 and body.startswith(_XMP):
        header.xmp = header.xmp or xmp_orientation(body)
    if code in _FRAMES:
        if header.frame[1] or len(body) < 6:
            raise ImageRejected(damaged("JPEG"))
        header.frame = (code, body)
    elif code in (0xE0, _ADOBE):
        heading = body[:5]
        if heading not in (b"JFIF\0", b"Adobe") or heading in header.headings:
            return
        header.headings.add(heading)
        body = body[:14]
    elif code not in _TABLES:
        return
    header.table_bytes += len(body)
    if header.table_bytes > MAX_TABLE_BYTES:
        raise ImageRejected(
            too_many("JPEG", "bytes of tables", header.table_bytes, MAX_TABLE_BYTES)
        )
    header.kept.append(bytes((0xFF, code)) + (len(body) + 2).to_bytes(2, "big") + body)


def _count_scans(data: bytes, header: _Header) -> int:
    """Find where the first picture ends; refuse one whose scans cost too much."""
    code, frame = header.frame
    samples = _samples(frame)
    buffered = code in _PROGRESSIVE or data[header.scan + 4 : header.scan + 5] != frame[5:6]
    if buffered and samples > MAX_COEFFICIENTS:
        width, height = (int.from_bytes(frame[i : i + 2], "big") for i in (3, 1))
        raise ImageRejected(
            f"This progressive JPEG is too large: {pixels((width, height))}. "
            f"At most {MAX_COEFFICIENTS / 1e6:,.0f} million samples are taken: "
            "save it as an ordinary (baseline) JPEG."
        )
    most = min(MAX_SCANS, max(12, MAX_SCANNED_BLOCKS * 64 // max(1, samples)))
    at, scans, count = header.scan, 0, 0
    while marker := _MARKER.search(data, at):
        code = data[marker.start() + 1]
        if code == _END:
            return marker.end()
        count += 1
        scans += code == _SCAN
        if scans > most:
            raise ImageRejected(too_many("JPEG", "scans", scans, most))
        if count > MAX_SEGMENTS:
            raise ImageRejected(too_many("JPEG", "segments", count, MAX_SEGMENTS))
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        at = marker.end() + (0 if code == _START else length)
    return len(data)


def _samples(frame: bytes) -> int:
    """Count the samples of all components of a frame, at their own resolutions."""
    if len(frame) < 6:
        raise ImageRejected(damaged("JPEG"))
    height, width, count = *(int.from_bytes(frame[i : i + 2], "big") for i in (1, 3)), frame[5]
    factors = [(byte >> 4, byte & 15) for byte in frame[7 : 6 + 3 * count : 3]]
    if len(factors) < count or not all(h and v for h, v in factors):
        raise ImageRejected(damaged("JPEG"))
    widest, tallest = max(h for h, _ in factors), max(v for _, v in factors)
    return sum(width * height * h * v // (widest * tallest) for h, v in factors)
