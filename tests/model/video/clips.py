"""Clips for tests: frames that differ, as files of several kinds."""

import io

import numpy as np
import pytest
from PIL import Image


def moving_frames(count: int = 6, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    """A bright square that goes from left to right over grey, a step a frame."""
    width, height = size
    frames = []
    for number in range(count):
        pixels = np.full((height, width, 3), 60, np.uint8)
        left = number * (width - height // 3) // max(1, count - 1)
        pixels[height // 3 : 2 * height // 3, left : left + height // 3] = (250, 200, 40)
        frames.append(Image.fromarray(pixels))
    return frames


def animated(frames: list[Image.Image], kind: str = "GIF", milliseconds: int = 100) -> bytes:
    """An animated picture."""
    file = io.BytesIO()
    more = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(
        file,
        kind,
        save_all=True,
        append_images=frames[1:],
        duration=milliseconds,
        **more,
    )
    return file.getvalue()


def video(
    frames: list[Image.Image],
    rate: int = 10,
    codec: str = "libx264",
    kind: str = "mp4",
    turned: int | None = None,
) -> bytes:
    """A video; the test is skipped without PyAV, or without the codec."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV was built without {codec}")
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        if turned is not None:
            stream.set_display_rotation(turned)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode(None))
    return file.getvalue()
