"""What Video saves: the chosen map of the frames side by side, its numbers, and the animation."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image

from model.recorded_image import find_same_place
from model.video.recording import Head
from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.attention import patch_box
from viz.export.export import Export, Frames
from viz.export.maps import NamedMap, draw_maps
from viz.export.names import name_head, token_name
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import paint_map
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.pixels import FRAME, paint
from viz.pages.shared import open_models
from viz.pages.shared.browser import shown_view
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pages.video_recorded import ClipSource

SIDE_BY_SIDE = 8
"""Frames of the still picture."""


def saved_clip(session: Session, source: ClipSource) -> Saved:
    """Describe what can be saved of the clip: the map of the view, and rollout."""
    view = shown_view()
    exports = [_export(session, source, view.layer, view.head, "This map")]
    if not session.recorded.no_rollout:
        exports.append(_export(session, source, 0, "rollout", "Rollout"))
    return Saved(exports)


def _export(session: Session, source: ClipSource, layer: int, head: Head, title: str) -> Export:
    number = session.recorded.numbers[layer] + 1
    rollout = head == "rollout"
    tokens = session.recorded.layers[0].tokens
    account = Account(
        "Rollout over time" if rollout else "Attention over time",
        {
            "Model": open_models.model_title(session.bundle.name),
            "Layer": "all" if rollout else str(number),
            "Head": "" if rollout else name_head(head),
            "From": token_name(source.question.query, tokens),
            "Frames": str(source.count),
        },
        ["Each map is scaled to its own maximum."],
    )
    draw = partial(_name_maps, session, source, layer, head)
    style = shown_view().style
    return Export(
        title,
        name_file("clip", session.bundle.name, "rollout" if rollout else f"layer {number}"),
        account,
        lambda: draw_maps(draw(_spaced(source.count)), style, account.lines),
        lambda: _numbers(draw(range(source.count)), source),
        animations=[
            Frames(
                "time",
                lambda: _animate(draw(range(source.count)), style),
                source.clip.clip.milliseconds,
            )
        ],
    )


def _spaced(count: int) -> list[int]:
    """Choose frames that lie evenly apart, the first and the last among them.

    >>> _spaced(3), _spaced(24)
    ([0, 1, 2], [0, 3, 7, 10, 13, 16, 20, 23])
    """
    return sorted({round(at) for at in np.linspace(0, count - 1, SIDE_BY_SIDE).tolist()})


def _name_maps(
    session: Session, source: ClipSource, layer: int, head: Head, frames: Sequence[int]
) -> list[NamedMap]:
    """Compute the maps of some frames, over what the model sees of each."""
    layers, clip = session.recorded.layers, source.clip.clip
    tokens = layers[layer].tokens
    box = patch_box(find_same_place(source.question.query, layers[0].tokens, tokens), tokens)
    recorded = list(source.frames())
    return [
        NamedMap(
            f"frame {clip.numbers[at] + 1}",
            recorded[at].map_of(layer, head).astype(np.float32),
            session.bundle.frame(clip.frames[at]),
            "" if clip.seconds is None else f"{clip.seconds[at]:.1f} s",
            asking=box,
        )
        for at in frames
    ]


def _animate(maps: Sequence[NamedMap], style: DrawStyle) -> list[Image.Image]:
    """Draw each frame by itself, all in the size of the first."""
    size = maps[0].photo.size
    pictures = []
    for each in maps:
        panel = Panel(
            each.photo.resize(size),
            paint_map(each.values, style),
            each.title,
            each.note,
            each.asking,
        )
        pictures.append(paint(draw_grid(Grid([[panel]])), FRAME))
    return pictures


def _numbers(maps: Sequence[NamedMap], source: ClipSource) -> Numbers:
    values = np.stack([each.values for each in maps])
    _, rows, columns = values.shape
    axes: dict[str, Sequence[object]] = {
        "frame": [number + 1 for number in source.clip.clip.numbers[: source.count]],
        "row": count_from_one(rows),
        "column": count_from_one(columns),
    }
    return Numbers({"maps": values}, "maps", axes)
