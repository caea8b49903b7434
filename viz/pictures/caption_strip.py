"""A caption to keep: every word's map side by side, or one after another as an animation."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from viz.pictures.animation import animate
from viz.pictures.lettering import font
from viz.pictures.overlay import overlay

WHITE = (255, 255, 255)
INK, MUTED, ACCENT = (31, 35, 40), (110, 116, 122), (59, 91, 189)


def strip(
    photo: Image.Image,
    maps: np.ndarray,
    words: Sequence[str],
    probabilities: Sequence[float] | None = None,
    columns: int = 8,
    cell: int = 160,
    gap: int = 8,
    color_map: str = "viridis",
    opacity: float = 0.75,
    smooth: bool = False,
) -> Image.Image:
    """Draw the photo, then the map of each word over it, each scaled to its own maximum.

    Args:
        maps: (words, rows, columns), non-negative.
        probabilities: written beside each word, if given.
        columns: pictures in a line.
        cell: width of a picture in pixels; the height follows the photo.

    Raises:
        ValueError: if there is not one map for each word.
    """
    _check(maps, words)
    size = (cell, max(1, round(cell * photo.height / photo.width)))
    small = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    draw_map = partial(overlay, small, color_map=color_map, opacity=opacity, smooth=smooth)
    pictures = [small, *map(draw_map, maps)]
    titles = ["", *words]
    notes = ["", *(f"{100 * p:.0f} %" for p in (() if probabilities is None else probabilities))]
    label = 40 if probabilities is not None else 24
    across = min(columns, len(pictures))
    down = -(-len(pictures) // across)
    height = size[1] + label
    canvas = Image.new(
        "RGB", (across * (cell + gap) + gap, down * (height + gap) + gap), color=WHITE
    )
    draw = ImageDraw.Draw(canvas)
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        x = gap + i % across * (cell + gap)
        y = gap + i // across * (height + gap)
        canvas.paste(picture, (x, y))
        middle = x + cell / 2
        draw.text((middle, y + size[1] + 13), _cut(title, 15, cell), INK, font(15), anchor="mm")
        if i < len(notes):
            draw.text((middle, y + size[1] + 31), notes[i], MUTED, font(11), anchor="mm")
    return canvas


def animation(
    photo: Image.Image,
    maps: np.ndarray,
    words: Sequence[str],
    kind: str = "gif",
    side: int = 480,
    milliseconds: int = 900,
    color_map: str = "viridis",
    opacity: float = 0.75,
    smooth: bool = False,
) -> bytes:
    """Animate a caption: one frame a word, as `word_frames` draws it; it loops.

    Args:
        kind: one of ``viz.pictures.animation.KINDS``.
        milliseconds: how long a word stays; the last one stays three times as long.

    Raises:
        ValueError: if there is not one map for each word, no word, or no such ``kind``.
    """
    frames = word_frames(photo, maps, words, side, color_map, opacity, smooth)
    return animate(frames, kind, milliseconds)


def word_frames(
    photo: Image.Image,
    maps: np.ndarray,
    words: Sequence[str],
    side: int = 480,
    color_map: str = "viridis",
    opacity: float = 0.75,
    smooth: bool = False,
) -> list[Image.Image]:
    """Draw each word's map over the photo, the caption below with that word marked.

    Args:
        maps: (words, rows, columns), non-negative.
        side: the longer side of the photo in pixels.

    Raises:
        ValueError: if there is not one map for each word, or no word.
    """
    _check(maps, words)
    if not len(words):
        raise ValueError("A caption without words has nothing to move.")
    scale = side / max(photo.size)
    size = max(1, round(scale * photo.width)), max(1, round(scale * photo.height))
    base = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    draw_map = partial(overlay, base, color_map=color_map, opacity=opacity, smooth=smooth)
    return [_with_words(draw_map(weights), words, now) for now, weights in enumerate(maps)]


def _with_words(picture: Image.Image, words: Sequence[str], now: int) -> Image.Image:
    """Put the caption below the picture, with word number ``now`` marked."""
    letters, line, margin = font(18), 28, 10
    space = letters.getlength(" ")
    places: list[tuple[str, float, int, float]] = []
    x, y = float(margin), 0
    for word in words:
        word = _cut(word, 18, picture.width - 2 * margin)
        width = letters.getlength(word)
        if x > margin and x + width > picture.width - margin:
            x, y = float(margin), y + line
        places.append((word, x, y, width))
        x += width + space
    canvas = Image.new("RGB", (picture.width, picture.height + y + line + margin), WHITE)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    top = picture.height + margin // 2
    for i, (word, left, down, width) in enumerate(places):
        color = MUTED
        if i == now:
            box = (left - 3, top + down + 1, left + width + 3, top + down + line - 2)
            draw.rounded_rectangle(box, 4, fill=ACCENT)
            color = WHITE
        draw.text((left, top + down + line / 2), word, color, letters, anchor="lm")
    return canvas


def _check(maps: np.ndarray, words: Sequence[str]) -> None:
    if len(maps) != len(words):
        raise ValueError(f"There are {len(words)} words, but maps for {len(maps)}.")


def _cut(text: str, size: int, width: float) -> str:
    """Shorten the text to a width in pixels."""
    letters = font(size)
    text = " ".join(text.split())[:80]  # a line break would need a place of its own
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
