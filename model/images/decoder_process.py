"""Decode AVIF and HEIC in a process of its own, with a deadline and a bound on memory.

What these files cost cannot be told before they are decoded: the size in the header need not be
the size of the film frame inside. Starting the process costs about a tenth of a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from model.errors import ImageRejected
from model.images.limits import MAX_PHONE_PIXELS, MAX_PIXELS, MAX_SECONDS
from model.images.sentences import damaged, too_large, too_slow

_PROGRAM = Path(__file__).with_name("decoder_program.py")
_SECONDS = 30
"""Time on the clock, where the system knows no bound on processor time."""
_NO_PLUG_IN, _TOO_LARGE, _DAMAGED = 3, 4, 5
SIGNALS_OF_TIME = (-24, -27)
"""SIGXCPU and SIGPROF, as subprocess writes them."""


def decode(data: bytes, kind: str, max_side: int | None) -> Image.Image:
    """Decode a file to an upright RGB picture with sides of at most `max_side`."""
    numbers = (MAX_PHONE_PIXELS, MAX_PIXELS, max_side or 0, MAX_SECONDS)
    command = [sys.executable, "-I", str(_PROGRAM), kind, *map(str, numbers), search_path()]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ImageRejected(too_slow(kind)) from error
    if done.returncode == 0:
        heading, _, pixels = done.stdout.partition(b"\n")
        width, height = map(int, heading.split())
        return Image.frombytes("RGB", (width, height), pixels)
    if done.returncode == _NO_PLUG_IN:
        name = "HEIC" if kind == "HEIF" else kind
        cure = "Install pillow-heif, or export it as JPEG." if kind == "HEIF" else ""
        raise ImageRejected(f"This is a {name} picture. {cure or 'Export it as JPEG or PNG.'}")
    if done.returncode == _TOO_LARGE:
        width, height = map(int, done.stdout.split())
        raise ImageRejected(too_large((width, height), reducible=False, most=MAX_PHONE_PIXELS))
    if done.returncode in SIGNALS_OF_TIME:
        raise ImageRejected(too_slow(kind))
    raise ImageRejected(damaged(kind))


def search_path() -> str:
    """Where this process finds Pillow and its plug-ins, for a process that it starts."""
    return os.pathsep.join(filter(None, sys.path))
