"""Pictures one after another, as a file that moves."""

import io
from collections.abc import Sequence

from PIL import Image

KINDS = ("gif", "webp")


def animate(frames: Sequence[Image.Image], kind: str = "gif", milliseconds: int = 700) -> bytes:
    """Animate pictures of one size; it loops.

    Args:
        frames: at least one.
        kind: one of ``KINDS``.
        milliseconds: how long a picture stays; the last one stays three times as long.

    Raises:
        ValueError: if there is no picture, or no such ``kind``.
    """
    if not frames:
        raise ValueError("An animation needs a picture.")
    if kind not in KINDS:
        raise ValueError(f"An animation is one of {', '.join(KINDS)}, not {kind!r}.")
    durations = [milliseconds] * (len(frames) - 1) + [3 * milliseconds]
    buffer = io.BytesIO()
    more = {"disposal": 1} if kind == "gif" else {"quality": 88, "allow_mixed": True}
    frames[0].save(
        buffer,
        kind.upper(),
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **more,
    )
    return buffer.getvalue()
