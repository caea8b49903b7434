"""Decode clips in a process of its own, which has a deadline and a bound on memory.

What a foreign clip costs cannot be told before it is decoded, and decoders of video are large
programs. So nothing of a clip is decoded in this process, and the other one can be ended at any
time: when its time is over, when nobody waits any more, or when its memory is spent.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from PIL import Image

from model.errors import ClipRejected
from model.images.decoder_process import SIGNALS_OF_TIME, search_path
from model.images.decoder_program import NO_PLUG_IN, TOO_LARGE
from model.images.limits import MAX_PIXELS
from model.video.decoder_program import SINGLE, TOO_MANY
from model.video.limits import MAX_CLIP_SECONDS, MAX_CLIP_WAIT

START = """
import os, sys
sys.path[:] = sys.argv[1].split(os.pathsep)
from model.video.decoder_program import main
kind, *numbers, seconds = sys.argv[2:]
sys.exit(main(kind, *map(int, numbers), float(seconds)))
"""
_AGAIN = "Export it again as MP4, or as an animated WebP."
_LONGEST_LINE = 100
_WHOLE = 0.8
"""The share of the stated frames that are there; a number estimated from length and rate is off."""

Report = Callable[[int, int], None]
"""Takes how many frames are done, and of how many; what it raises ends the work."""


@dataclass
class Decoded:
    """What came of a clip.

    Attributes:
        total: frames in the file, as far as it says; 0 for unknown.
        frames: the kept ones.
        numbers: which of the file's frames they are, from zero.
        milliseconds: when each is shown, or -1.
        too_many: whether there are more than were asked for; `frames` is of no use then.
        broken: whether the file is damaged after these frames.
    """

    total: int = 0
    frames: list[Image.Image] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    milliseconds: list[int] = field(default_factory=list)
    too_many: bool = False
    broken: bool = False


def decode_clip(
    data: bytes, kind: str, every: int, most: int, max_side: int, report: Report | None = None
) -> Decoded:
    """Decode every `every`-th frame of a clip, at most `most` of them.

    Args:
        data: the file.
        kind: as `model.video.kinds.clip_kind` names it.
        max_side: longest side of a frame in pixels.
        report: hears how far the work is, and may end it.

    Raises:
        ClipRejected: the clip is damaged before its second frame, has frames that are too large,
            takes too long, or needs a decoder that is not installed.
    """
    numbers = (every, most, max_side, MAX_CLIP_SECONDS)
    command = [sys.executable, "-I", "-c", START, search_path(), kind, *map(str, numbers)]
    # The process reads its whole input before it writes, so neither waits for the other.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None and process.stdout is not None
    deadline = threading.Timer(MAX_CLIP_WAIT, process.kill)
    deadline.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(data)
            process.stdin.close()
        decoded = _read_frames(process.stdout, every, max_side, report)
        code, in_time = process.wait(), deadline.is_alive()
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    return _judge(decoded, every, code, in_time)


def _read_frames(out: IO[bytes], every: int, max_side: int, report: Report | None) -> Decoded:
    decoded = Decoded()
    while line := out.readline(_LONGEST_LINE):
        word, *numbers = line.split()
        if word == b"clip":
            decoded.total = int(numbers[0])
            continue
        number, milliseconds, width, height = map(int, numbers)
        if not (0 < width <= max_side and 0 < height <= max_side):
            raise ClipRejected(f"This clip is damaged. {_AGAIN}")
        pixels = out.read(3 * width * height)
        if len(pixels) < 3 * width * height:
            break
        decoded.frames.append(Image.frombytes("RGB", (width, height), pixels))
        decoded.numbers.append(number)
        decoded.milliseconds.append(milliseconds)
        if report is not None:
            expected = -(-decoded.total // every)
            report(len(decoded.frames), max(expected, len(decoded.frames)))
    return decoded


def _judge(decoded: Decoded, every: int, code: int, in_time: bool) -> Decoded:
    """Say what became of the work, or raise ClipRejected with the reason."""
    if code == NO_PLUG_IN:
        raise ClipRejected(
            'Videos need PyAV: pip install "saccade[video]", or pip install av. Without it, '
            "animated GIFs and WebPs, and folders of pictures, are opened."
        )
    if code == TOO_LARGE:
        raise ClipRejected(
            f"The frames of this clip are too large: at most {MAX_PIXELS // 1_000_000} megapixels "
            "are taken. Export it smaller."
        )
    if code == SINGLE:
        raise ClipRejected("This is one picture, and a clip has several. Open it on Explore.")
    if code in SIGNALS_OF_TIME or not in_time:
        raise ClipRejected(
            f"This clip takes longer than {MAX_CLIP_SECONDS:.0f} seconds to decode. Cut out the "
            "part that matters, or export it smaller."
        )
    decoded.too_many = code == TOO_MANY
    decoded.broken = code not in (0, TOO_MANY) or _ends_early(decoded, every)
    if not decoded.too_many and len(decoded.frames) < 2:
        raise ClipRejected(
            f"This clip is damaged, or of a rare kind that cannot be read here. {_AGAIN}"
            if decoded.broken or not decoded.frames
            else "Only one frame is left of this clip. Choose frames that lie closer together."
        )
    return decoded


def _ends_early(decoded: Decoded, every: int) -> bool:
    """Whether a file has far fewer frames than it says."""
    there = decoded.numbers[-1] + every if decoded.numbers else 0
    return not decoded.too_many and there < _WHOLE * decoded.total
