"""Exports of patch features: which patches are alike, and colours that stand for their vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Box, Drawing
from viz.export.export import Export, Frames
from viz.export.maps import NamedMap, draw_maps, map_numbers
from viz.export.painting import PaintedMap, Scale, paint_colors, paint_map, scale_of
from viz.export.pixels import FRAME, paint
from viz.export.program import Code, write_program


@dataclass(frozen=True)
class Described:
    """What is known of the patches of one photo or two.

    Attributes:
        what: what the colours show; `kind`: that in a file's name.
        facts: model, layer, and what else is to be said.
        photos, titles: of the photos.
        values: (rows, columns) of each photo.
        colors: uint8 (rows, columns, 4) of each photo; None where the values are coloured.
        asking: the patch of the first photo that asks.
        code: the Python that makes the values as `maps`.
        layers: from a layer's title to the first photo's values there, if they can be had.
    """

    what: str
    kind: str
    facts: Mapping[str, str]
    photos: Sequence[Image.Image]
    titles: Sequence[str]
    values: Sequence[np.ndarray]
    colors: Sequence[np.ndarray] | None
    code: Sequence[Code]
    style: DrawStyle
    asking: Box | None = None
    unit: str = ""
    layers: Mapping[str, Callable[[], np.ndarray]] = field(default_factory=dict)
    name: str = ""


def features_export(described: Described) -> Export:
    """Describe what can be saved of the patches' features."""
    account = Account(described.what, described.facts)
    frames = [Frames("layers", lambda: _layer_frames(described))] if described.layers else []
    return Export(
        described.what,
        name_file(described.kind, *described.titles, described.name),
        account,
        lambda: _draw(described, account.lines),
        map_numbers(lambda: _maps(described), "photo"),
        write_program(described.what, described.code),
        frames,
    )


def _maps(described: Described) -> list[NamedMap]:
    low, high = _span(described)
    made = []
    for at, (photo, title, values) in enumerate(
        zip(described.photos, described.titles, described.values, strict=True)
    ):
        painted = (
            paint_span(values, low, high, described.style)
            if described.colors is None
            else paint_colors(described.colors[at], 1.0)
        )
        asking = described.asking if at == 0 else None
        made.append(NamedMap(title, values, photo, "", painted, asking))
    return made


def _span(described: Described) -> tuple[float, float]:
    return (
        min(float(values.min()) for values in described.values),
        max(float(values.max()) for values in described.values),
    )


def paint_span(values: np.ndarray, low: float, high: float, style: DrawStyle) -> PaintedMap:
    """Colour values (rows, columns) from `low` to `high`, which may be below zero."""
    return paint_map((values - low) / ((high - low) or 1.0), style, 1.0)


def _draw(described: Described, caption: Sequence[str]) -> Drawing:
    scale: Scale | None = None
    if described.unit:
        low, high = _span(described)
        ends = f"{high:.2f} {described.unit}", f"{low:.2f}".replace("-", "−")
        scale = scale_of(described.style, *ends)
    return draw_maps(_maps(described), described.style, caption, 2, scale)


def _layer_frames(described: Described) -> list[Image.Image]:
    """Draw the first photo's values at each layer, from the least to the largest there."""
    photo, style, frames = described.photos[0], described.style, []
    for title, compute in described.layers.items():
        values = compute()
        painted = paint_span(values, float(values.min()), float(values.max()), style)
        shown = NamedMap(title, values, photo, "", painted, described.asking)
        frames.append(paint(draw_maps([shown], style), FRAME))
    return frames
