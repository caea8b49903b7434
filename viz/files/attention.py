"""The files of a picture through a model: every head, each layer, rollout, and the numbers."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.bundle import Bundle
from model.recorded_image import RecordedImage, record_image
from viz.export.attention import Chosen, Seen, attention_exports, rollout_row
from viz.files.wanted import Wanted, write_beside, write_export
from viz.pictures.overlay import overlay
from viz.pictures.sheet import sheet

NUMBERS = "attention.npz"
"""Written last: its presence says that the picture is done."""

DRAWN = {"map": (), "heads": ("png", "npz"), "rollout": ("png",)}
"""The exports by the names of their files, and which kinds are written in another way."""


def record(bundle: Bundle, image: Image.Image, wanted: Wanted) -> RecordedImage:
    """Record a picture in the layers that are asked for."""
    return record_image(bundle, image, wanted.layers)


def see(bundle: Bundle, recorded: RecordedImage, wanted: Wanted, path: Path) -> tuple[Seen, Chosen]:
    """Describe a recorded picture, and what is looked at: the last layer, the mean of the heads."""
    opening = wanted.opening(path)
    query = wanted.query_among(recorded.layers[-1].tokens)
    last = len(recorded.layers) - 1
    chosen = Chosen(last, query, "mean", wanted.style, wanted.fusion, wanted.discard)
    return Seen(recorded, bundle.name, path.stem, opening, wanted.layers), chosen


def write_attention(
    bundle: Bundle, recorded: RecordedImage, wanted: Wanted, path: Path, out: Path, made: str
) -> None:
    """Write the files of one recorded picture.

    Args:
        path: of the picture.
        out: the folder to write into.
        made: all that the files depend on, kept with the numbers.

    Raises:
        ValueError: with a sentence, where the model has no such token.
    """
    seen, chosen = see(bundle, recorded, wanted, path)
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    maps = recorded.maps(-1, chosen.query)
    _draw(recorded, maps, wanted, out)
    arrays: dict[str, Any] = {"maps": maps, "query": chosen.query, "made": made}
    arrays["prefix"] = np.array(recorded.layers[-1].tokens.prefix, str)
    if not recorded.windowed:
        arrays["weights"] = recorded.rows(chosen.query)
    if not recorded.no_rollout:
        arrays["rollout"] = rollout_row(seen, chosen)
        tokens = recorded.layers[-1].tokens
        weights = arrays["rollout"][tokens.patch_slice].reshape(tokens.grid)
        _save(_overlay(recorded, wanted, weights), out / "rollout.png")
    if wanted.all and not wanted.changes:
        exports = attention_exports(seen, chosen)
        for export, (name, but) in zip(exports, DRAWN.items(), strict=False):
            write_export(export, out, name, wanted.width, but)
    write_numbers(out / NUMBERS, arrays)


def _overlay(recorded: RecordedImage, wanted: Wanted, weights: np.ndarray) -> Image.Image:
    paint = partial(overlay, recorded.frame, color_map=wanted.colors, opacity=wanted.opacity)
    return paint(weights=weights)


def _draw(recorded: RecordedImage, maps: np.ndarray, wanted: Wanted, out: Path) -> None:
    """Draw the sheet of all heads, and the mean of every layer."""
    flat = maps.reshape(*maps.shape[:2], -1)
    numbers = [number + 1 for number in recorded.numbers]
    drawn = sheet(
        recorded.frame,
        flat,
        maps.shape[2:],
        recorded.head_counts,
        color_map=wanted.colors,
        opacity=wanted.opacity,
        numbers=numbers,
    )
    _save(drawn, out / "heads.png")
    for number, heads in zip(numbers, maps, strict=True):
        name = f"layer-{number:02d}-mean.png"
        _save(_overlay(recorded, wanted, heads.mean(0)), out / name)


def _save(picture: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_beside(path, buffer.getvalue())


def _clear(out: Path) -> None:
    """Remove the files of a model that was drawn before, which may have more layers."""
    if not (out / NUMBERS).exists():
        return
    (out / NUMBERS).unlink()
    for pattern in ("layer-[0-9]*-mean.png", *(f"{name}[.-]*" for name in DRAWN)):
        for left in out.glob(pattern):
            left.unlink(missing_ok=True)


def write_numbers(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays as NPZ, compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_beside(path, buffer.getvalue())
