"""Open a clip from outside: a video, an animated picture, or pictures one after another."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from model.errors import ClipRejected, ImageRejected
from model.images import looks_like_a_picture, open_image
from model.images.sentences import cause, quote
from model.video.clip import Clip, every_that_fits, write_ordinal
from model.video.decoder_process import Decoded, Report, decode_clip
from model.video.kinds import clip_kind
from model.video.limits import MAX_CLIP_BYTES, MAX_CLIP_SIDE, MAX_FRAMES, VIDEO_ENDINGS

Source = bytes | str | os.PathLike[str]


def open_clip(
    source: Source,
    every: int = 1,
    *,
    most: int = MAX_FRAMES,
    max_bytes: int = MAX_CLIP_BYTES,
    max_side: int = MAX_CLIP_SIDE,
    report: Report | None = None,
) -> Clip:
    """Open a clip from a file: an animated GIF, WebP or PNG, or a video if PyAV is installed.

        >>> import io
        >>> file = io.BytesIO()
        >>> frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "green", "blue")]
        >>> frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=200)
        >>> clip = open_clip(file.getvalue(), every=2)
        >>> clip.numbers, clip.seconds, clip.frames[1].getpixel((0, 0))
        ((0, 2), (0.0, 0.4), (0, 0, 255))

    The file is decoded in a process of its own, with a deadline and a bound on memory. Frames are
    upright and of mode RGB, transparency laid on white.

    Args:
        source: the file's bytes, or its path.
        every: 1 for each frame, 2 for every other one, and so on.
        most: how many frames may be kept.
        max_bytes: how large the file may be.
        max_side: longest side of a frame in pixels; larger frames are made smaller.
        report: is called with the frames that are done and their number; what it raises ends the
            decoding.

    Raises:
        ClipRejected: for a file that is damaged, is no clip, takes too long or is larger than
            allowed, or has more frames; then the message has both numbers and which n would do.
    """
    _check_every(every)
    data = _read(source, most, max_bytes)
    decoded = decode_clip(data, clip_kind(data), every, most, max_side, report)
    if decoded.too_many:
        raise ClipRejected(_too_many(decoded, every, most, len(data), max_bytes))
    note = ""
    if decoded.broken:
        note = (
            f"The clip is damaged after frame {decoded.numbers[-1] + 1:,}; the frames before it "
            "are shown."
        )
    return Clip(decoded.frames, tuple(decoded.numbers), _seconds(decoded), note)


def open_frames(
    sources: Source | Sequence[Source],
    every: int = 1,
    *,
    most: int = MAX_FRAMES,
    max_bytes: int = MAX_CLIP_BYTES,
    max_side: int = MAX_CLIP_SIDE,
    report: Report | None = None,
) -> Clip:
    """Open pictures as the frames of a clip: a folder's, in the order of their names, or a list.

    Numbers in names count as numbers, so "frame2" comes before "frame10".

    Args:
        sources: a folder, or paths or bytes of pictures, in order.
        every, most, max_bytes, max_side, report: as of `open_clip`.

    Raises:
        ClipRejected: there are fewer than two pictures, or more frames or bytes than allowed.
        ImageRejected: one of the pictures cannot be opened; the message names it.
    """
    _check_every(every)
    found = _list_frames(sources)
    kept = range(0, len(found), every)
    size = sum(map(_size_of, (found[number] for number in kept)))
    if len(kept) > most or size > max_bytes:
        decoded = Decoded(total=len(found))
        raise ClipRejected(_too_many(decoded, every, most, size, max_bytes))
    if len(kept) < 2:
        raise ClipRejected("A clip needs two pictures or more.")
    frames: list[Image.Image] = []
    for number in kept:
        frames.append(_open_frame(found[number], number, max_side))
        if report is not None:
            report(len(frames), len(kept))
    return Clip(frames, tuple(kept))


def looks_like_a_clip(path: Path) -> bool:
    """Whether a file is a video by its ending, or an animated picture.

    >>> looks_like_a_clip(Path("holiday.MP4")), looks_like_a_clip(Path("photo.jpg"))
    (True, False)
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending in VIDEO_ENDINGS:
        return True
    if ending not in ("gif", "webp", "png", "apng") or not path.is_file():
        return False
    try:
        with Image.open(path, formats=["GIF", "WEBP", "PNG"]) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them.

    >>> sorted(["f10.png", "f2.png"], key=natural_order)
    ['f2.png', 'f10.png']
    """
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", name.lower())
    ]


def _check_every(every: int) -> None:
    if every < 1:
        raise ClipRejected("Every n-th frame is taken, with n from 1.")


def _read(source: Source, most: int, max_bytes: int) -> bytes:
    if not isinstance(source, str | os.PathLike):
        size, data = len(source), bytes(source)
    else:
        path = Path(source)
        try:
            size = path.stat().st_size
            data = path.read_bytes() if size <= max_bytes else b""
        except (OSError, ValueError) as error:
            raise ClipRejected(f"“{quote(path.name)}” cannot be read ({cause(error)}).") from error
    if size > max_bytes:
        raise ClipRejected(
            f"The clip has {_megabytes(size)} MB. At most {most:,} frames and "
            f"{_megabytes(max_bytes)} MB are taken: cut it shorter, or export it smaller."
        )
    if not size:
        raise ClipRejected("The file is empty. Export or download it again.")
    return data


def _too_many(decoded: Decoded, every: int, most: int, size: int, max_bytes: int) -> str:
    """Say that a clip has too many frames or bytes, and which n would do."""
    total = decoded.total
    at_least = (decoded.numbers[-1] + 1) if decoded.numbers else 0
    count = f"{total:,}" if total > at_least else f"more than {at_least:,}"
    fits = max(every_that_fits(max(total, at_least), most), math.ceil(every * size / max_bytes))
    better = f"take every {write_ordinal(fits)} frame, or " if fits > every else ""
    return (
        f"The clip has {count} frames and {_megabytes(size)} MB. At most {most:,} frames and "
        f"{_megabytes(max_bytes)} MB are taken: {better}cut it shorter."
    )


def _megabytes(size: int) -> str:
    """Write a number of bytes in MB, with as many digits as it is worth."""
    millions = size / 1e6
    return f"{millions:,.0f}" if millions >= 10 else f"{millions:.2g}"


def _seconds(decoded: Decoded) -> tuple[float, ...] | None:
    times = decoded.milliseconds
    if min(times) < 0 or sorted(times) != times:
        return None
    return tuple(time / 1000 for time in times)


def _list_frames(sources: Source | Sequence[Source]) -> Sequence[Source]:
    if not isinstance(sources, str | os.PathLike):
        return [sources] if isinstance(sources, bytes) else sources
    folder = Path(sources)
    if not folder.is_dir():
        raise ClipRejected(f"There is no folder “{quote(folder.name)}”.")
    pictures = filter(looks_like_a_picture, folder.iterdir())
    return sorted(pictures, key=lambda path: natural_order(path.name))


def _size_of(source: Source) -> int:
    if isinstance(source, str | os.PathLike):
        try:
            return Path(source).stat().st_size
        except OSError:
            return 0  # it is named where it is opened
    return len(source)


def _open_frame(source: Source, number: int, max_side: int) -> Image.Image:
    try:
        return open_image(source, max_side)
    except ImageRejected as problem:
        name = quote(Path(source).name) if isinstance(source, str | os.PathLike) else ""
        raise ImageRejected(f"Frame {number + 1:,} {name}: {problem}".replace(" :", ":")) from None
