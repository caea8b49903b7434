"""The program that `decoder_process` starts: it decodes one clip and writes its frames.

It reads a file from its input and writes lines with bytes after them: "clip TOTAL", TOTAL being 0
where the file does not say how many frames it has, and for each kept frame "frame NUMBER
MILLISECONDS WIDTH HEIGHT" with its RGB, MILLISECONDS being -1 where nothing says when the frame is
shown. It ends with 0 after the last frame, or with one of the numbers below.
"""

from __future__ import annotations

import io
import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from PIL import GifImagePlugin, Image, PngImagePlugin, WebPImagePlugin

from model.images.decoder_program import DAMAGED, NO_PLUG_IN, TOO_LARGE, bound_process
from model.images.limits import MAX_PIXELS

TOO_MANY, SINGLE = 6, 7

Frame = tuple[int, Image.Image]
"""Milliseconds, or -1, and the picture."""

_PLUG_INS: dict[str, Any] = {
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PNG": PngImagePlugin.PngImageFile,
}


class _TooLarge(Exception):
    """A frame has more pixels than are taken."""


def main(kind: str, every: int, most: int, max_side: int, seconds: float) -> int:
    """Decode standard input to standard output."""
    Image.MAX_IMAGE_PIXELS = None
    try:
        read = _read_picture if kind in _PLUG_INS else _video_reader()
    except ImportError:
        return NO_PLUG_IN
    data = sys.stdin.buffer.read()
    bound_process(seconds)
    _open_no_more()
    try:
        total, frames = read(data, kind, every, max_side)
        return _write(total, frames, every, most)
    except _TooLarge:
        return TOO_LARGE
    except Exception:  # decoders raise nearly anything on a damaged file
        return DAMAGED


def _write(total: int, frames: Iterator[tuple[int, Frame]], every: int, most: int) -> int:
    out = sys.stdout.buffer
    out.write(b"clip %d\n" % total)
    out.flush()
    if total == 1:
        return SINGLE
    if -(-total // every) > most:
        return TOO_MANY
    for kept, (number, (milliseconds, picture)) in enumerate(frames):
        if kept == most:
            return TOO_MANY
        out.write(b"frame %d %d %d %d\n" % (number, milliseconds, *picture.size))
        out.write(picture.tobytes())
        out.flush()
    return 0


def _open_no_more() -> None:
    """Let this process open no more files and no connection, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


# -- moving pictures ----------------------------------------------------------------------------


def _read_picture(
    data: bytes, kind: str, every: int, max_side: int
) -> tuple[int, Iterator[tuple[int, Frame]]]:
    image: Any = _PLUG_INS[kind](io.BytesIO(data))
    _check_size(*image.size)
    return image.n_frames, _walk_picture(image, every, max_side)


def _walk_picture(image: Any, every: int, max_side: int) -> Iterator[tuple[int, Frame]]:
    begins = 0.0
    for number in range(image.n_frames):
        image.seek(number)
        image.load()
        if number % every == 0:
            picture = _on_white(image)
            if max(picture.size) > max_side:
                picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
            yield number, (round(begins), picture)
        begins += float(image.info.get("duration") or 100)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    picture = Image.new("RGB", layered.size, "white")
    picture.paste(layered, mask=layered.getchannel("A"))
    return picture


# -- videos -------------------------------------------------------------------------------------


def _video_reader() -> Any:
    """Import PyAV whole: some of its modules it would import only once no file can be opened."""
    import av

    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return _read_video


def _read_video(
    data: bytes, kind: str, every: int, max_side: int
) -> tuple[int, Iterator[tuple[int, Frame]]]:
    import av

    container = av.open(io.BytesIO(data), format=kind, options={"protocol_whitelist": "pipe"})
    if not container.streams.video:
        raise ValueError("no pictures")
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"
    stream.codec_context.thread_count = 1
    _check_size(stream.codec_context.width, stream.codec_context.height)
    return _count_frames(container, stream), _walk_video(container, stream, every, max_side)


def _count_frames(container: Any, stream: Any) -> int:
    """Read the number of frames, or compute it from length and rate; 0 where both are unknown."""
    if stream.frames:
        return int(stream.frames)
    rate = float(stream.average_rate or 0)
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * rate)
    return round((container.duration or 0) / 1e6 * rate)


def _walk_video(
    container: Any, stream: Any, every: int, max_side: int
) -> Iterator[tuple[int, Frame]]:
    first = None
    for number, frame in enumerate(container.decode(stream)):
        if number % every:
            continue
        _check_size(frame.width, frame.height)
        if first is None:
            first = frame.time
        known = frame.time is not None and first is not None
        milliseconds = max(0, round(1000 * (frame.time - first))) if known else -1
        yield number, (milliseconds, _upright(frame, _shown_size(frame, stream, max_side)))


def _shown_size(frame: Any, stream: Any, max_side: int) -> tuple[int, int]:
    """Compute the size of the kept frame: square pixels, and no side longer than `max_side`."""
    aspect = float(stream.sample_aspect_ratio or 1)
    width, height = frame.width * (aspect if 0.1 < aspect < 10 else 1), float(frame.height)
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _upright(frame: Any, size: tuple[int, int]) -> Image.Image:
    small = frame.reformat(*size, format="rgb24", interpolation="AREA")
    picture = Image.fromarray(small.to_ndarray())
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return picture.rotate(90 * turns, expand=True) if turns else picture


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _TooLarge
