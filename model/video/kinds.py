"""Recognise what a clip's file is by its first bytes, and so which decoder reads it."""

from __future__ import annotations

from model.errors import ClipRejected
from model.images.kinds import kind_of

MOVING = ("GIF", "WEBP", "PNG")
"""Pictures that may have several frames, in Pillow's words."""

# (offset, bytes found there, the name of the container in FFmpeg's words)
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
    (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"OggS", "ogg"),
    (0, b"FLV\x01", "flv"),
)


def clip_kind(data: bytes) -> str:
    """Name the format of a clip: one of MOVING, or a container in FFmpeg's word.

    A decoder is told the container, and never left to guess it: some kinds that FFmpeg would
    recognise are lists of other files and addresses, which it would then open.

    Raises:
        ClipRejected: for a single picture, and for what is no clip.
    """
    picture = kind_of(data)
    if picture in MOVING:
        return picture
    if picture is not None:
        raise ClipRejected("This is one picture, and a clip has several. Open it on Explore.")
    for offset, mark, container in _CONTAINERS:
        if data.startswith(mark, offset):
            return container
    raise ClipRejected(
        "This is no clip that is read here. Save it as MP4, WebM, or an animated GIF or WebP."
    )
