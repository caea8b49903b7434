"""Exports of a clip: one map of its frames side by side, its numbers, and the animation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Box
from viz.export.export import Export, Frames
from viz.export.maps import NamedMap, draw_maps
from viz.export.names import name_head
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import paint_map
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.pixels import FRAME, paint
from viz.export.program import Code, write_program

SIDE_BY_SIDE = 8
"""Frames of the still picture."""

Head = int | str
"""A head from zero, "mean", "max" or "min" of all, or "rollout"."""


@dataclass(frozen=True)
class ClipMap:
    """The chosen map of a clip's frames.

    Attributes:
        model: its title; `name`: the model in a file's name.
        layer: from one; `head`: as `model.video.recording.Head`.
        asking_name: the token that asks; `asking`: its box, as shares of the photo.
        numbers: which of the clip's frames they are, from zero.
        seconds: when each is shown; None where nothing says so.
        milliseconds: how long a frame of the animation stays.
        photos: makes what the model sees of some frames; `maps`: (frames, rows, columns) of them.
        code: the Python that makes every frame's attention as `frames`; none where it cannot.
    """

    model: str
    name: str
    layer: int
    head: Head
    asking_name: str
    asking: Box | None
    numbers: Sequence[int]
    seconds: Sequence[float] | None
    milliseconds: int
    photos: Callable[[Sequence[int]], Sequence[Image.Image]]
    maps: Callable[[Sequence[int]], np.ndarray]
    code: Sequence[Code]
    style: DrawStyle
    place: int = 0
    """Of the layer among those that were recorded, from zero."""

    @property
    def is_rollout(self) -> bool:
        """Whether the map goes through all layers."""
        return self.head == "rollout"

    def name_maps(self, frames: Sequence[int]) -> list[NamedMap]:
        """Compute the maps of some frames, over what the model sees of each."""
        found = zip(frames, self.maps(frames), self.photos(frames), strict=True)
        return [
            NamedMap(
                f"frame {self.numbers[at] + 1}",
                values.astype(np.float32),
                photo,
                "" if self.seconds is None else f"{self.seconds[at]:.1f} s",
                asking=self.asking,
            )
            for at, values, photo in found
        ]


def clip_export(shown: ClipMap) -> Export:
    """Describe what can be saved of one map over time."""
    count, rollout = len(shown.numbers), shown.is_rollout
    account = Account(
        "Rollout over time" if rollout else "Attention over time",
        {
            "Model": shown.model,
            "Layer": "all" if rollout else str(shown.layer),
            "Head": "" if rollout else name_head(shown.head),
            "From": shown.asking_name,
            "Frames": str(count),
        },
        ["Each map is scaled to its own maximum."],
    )
    take = f"frame.map_of({shown.place}, {shown.head!r}).astype(np.float32)"
    code = Code([f"maps = np.stack([{take} for frame in frames])"], ["import numpy as np"])
    what = "rollout" if rollout else f"layer {shown.layer}"
    return Export(
        "Rollout" if rollout else "This map",
        name_file("clip", shown.name, what),
        account,
        lambda: draw_maps(shown.name_maps(_spaced(count)), shown.style, account.lines),
        lambda: _numbers(shown),
        write_program(account.title, [*shown.code, code]) if shown.code else "",
        [Frames("time", lambda: _animate(shown), shown.milliseconds)],
    )


def recording_code(
    query: int, layers: Sequence[int] | None, layer: int = 0, halved: bool = True
) -> Code:
    """Write the Python that records every frame of a `clip` from one token.

    Args:
        layers: which are recorded, from zero; None for all.
        layer: the one among them whose token asks.
        halved: whether maps are kept in float16.
    """
    kept = "" if layers is None else f", layers={tuple(layers)}"
    half = ".halved()" if halved else ""
    return Code(
        [
            "frames = [",
            f"    record_frame(bundle, image, query={query}, layer={layer}{kept}){half}",
            "    for image in clip.frames",
            "]",
        ],
        ["from model.video.recording import record_frame"],
    )


def _spaced(count: int) -> list[int]:
    """Choose frames that lie evenly apart, the first and the last among them.

    >>> _spaced(3), _spaced(24)
    ([0, 1, 2], [0, 3, 7, 10, 13, 16, 20, 23])
    """
    return sorted({round(at) for at in np.linspace(0, count - 1, SIDE_BY_SIDE).tolist()})


def _animate(shown: ClipMap) -> list[Image.Image]:
    """Draw each frame by itself, all in the size of the first."""
    maps = shown.name_maps(range(len(shown.numbers)))
    size = maps[0].photo.size
    pictures = []
    for each in maps:
        panel = Panel(
            each.photo.resize(size),
            paint_map(each.values, shown.style),
            each.title,
            each.note,
            each.asking,
        )
        pictures.append(paint(draw_grid(Grid([[panel]])), FRAME))
    return pictures


def _numbers(shown: ClipMap) -> Numbers:
    values = shown.maps(range(len(shown.numbers))).astype(np.float32)
    _, rows, columns = values.shape
    axes: dict[str, Sequence[object]] = {
        "frame": [number + 1 for number in shown.numbers],
        "row": count_from_one(rows),
        "column": count_from_one(columns),
    }
    return Numbers({"maps": values}, "maps", axes)
