"""Exports of an experiment: the maps before and after, and both answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.charts import draw_bars
from viz.export.drawing import Box, Drawing
from viz.export.export import Export
from viz.export.names import name_head
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import difference_scale, paint_difference, paint_map
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.pictures.lettering import percent


@dataclass(frozen=True)
class Trial:
    """What a model answered before and after something was changed.

    Attributes:
        model, photo_title, changed, asking_name: what is shown, in words.
        photo: what the model saw.
        before, after: every head's map from the asking token, (layers, heads, rows, columns).
        logits: both answers, (classes,) each.
        answer: names of classes with both probabilities; none for a model without classes.
        layers: what the layers are called, from one.
        layer, head: which map is drawn.
        hidden, asking: boxes of patches, as shares of the photo.
        code: the Python that opens everything and makes `before_logits`, `after_logits`,
            `before_maps` and `after_maps`.
    """

    model: str
    photo_title: str
    changed: str
    asking_name: str
    photo: Image.Image
    before: np.ndarray
    after: np.ndarray
    logits: tuple[np.ndarray, np.ndarray]
    answer: Sequence[tuple[str, float, float]]
    layers: Sequence[int]
    layer: int
    head: int | str
    hidden: Sequence[Box]
    asking: Box | None
    code: Sequence[Code]
    style: DrawStyle
    name: str = ""

    def map_of(self, maps: np.ndarray) -> np.ndarray:
        """Return the drawn layer's and head's map of all."""
        heads = maps[self.layer]
        return heads[self.head] if isinstance(self.head, int) else getattr(heads, self.head)(axis=0)


def experiment_exports(trial: Trial) -> list[Export]:
    """Describe what can be saved of an experiment."""
    made = [_maps_export(trial), _sheet_export(trial)]
    return [_answer_export(trial), *made] if trial.answer else made


def _export(trial: Trial, title: str, what: str, kind: str, more: Mapping[str, str]) -> Export:
    facts = {"Model": trial.model, "Photo": trial.photo_title, "Without": trial.changed}
    account = Account(what, {**facts, **more})
    return Export(
        title,
        name_file("what if", trial.photo_title, trial.name or trial.model, kind),
        account,
        lambda: _DRAW[kind](trial, account.lines),
        lambda: _numbers(trial),
        write_program(what, trial.code),
    )


def _answer_export(trial: Trial) -> Export:
    return _export(trial, "The answer", "The answer before and after", "answer", {})


def _maps_export(trial: Trial) -> Export:
    more = {
        "Layer": str(trial.layers[trial.layer]),
        "Head": name_head(trial.head),
        "From": trial.asking_name,
        "Colours": f"{trial.style.colors}, each map up to its own maximum",
    }
    return _export(trial, "One map", "A map before and after", "map", more)


def _sheet_export(trial: Trial) -> Export:
    what = "Every head after the change, less what it was before"
    return _export(trial, "Every head", what, "heads", {"From": trial.asking_name})


def _draw_answer(trial: Trial, caption: Sequence[str]) -> Drawing:
    names, before, after = zip(*trial.answer, strict=True)
    return draw_bars(names, {"Before": before, "After": after}, caption)


def _draw_map(trial: Trial, caption: Sequence[str]) -> Drawing:
    before, after = trial.map_of(trial.before), trial.map_of(trial.after)
    change = after - before
    panels: list[Panel | None] = [
        Panel(trial.photo, paint_map(before, trial.style), "Before", asking=trial.asking),
        Panel(
            trial.photo,
            paint_map(after, trial.style),
            "After",
            outlined=trial.hidden,
            asking=trial.asking,
        ),
        Panel(
            trial.photo.convert("L").convert("RGB"),
            paint_difference(change),
            "The change",
            "orange: more, blue: less",
            asking=trial.asking,
        ),
    ]
    most = percent(float(np.abs(change).max()))
    return draw_grid(Grid([panels], caption=caption, scale=difference_scale(f"−{most}", most)))


def _draw_sheet(trial: Trial, caption: Sequence[str]) -> Drawing:
    grey = trial.photo.convert("L").convert("RGB")
    change = trial.after - trial.before
    panels: list[list[Panel | None]] = [
        [Panel(grey, paint_difference(each), asking=trial.asking) for each in layer]
        for layer in change
    ]
    return draw_grid(
        Grid(
            panels,
            [f"Layer {number}" for number in trial.layers],
            [f"head {head}" for head in count_from_one(change.shape[1])],
            [*caption, "Orange: more, blue: less; each up to its own largest change."],
        )
    )


_DRAW = {"answer": _draw_answer, "map": _draw_map, "heads": _draw_sheet}


def _numbers(trial: Trial) -> Numbers:
    before, after = trial.logits
    _, heads, rows, columns = trial.after.shape
    arrays = {"before_logits": before, "after_logits": after}
    arrays |= {"before_maps": trial.before, "after_maps": trial.after}
    axes = {"layer": list(trial.layers), "head": count_from_one(heads)}
    axes |= {"row": count_from_one(rows), "column": count_from_one(columns)}
    return Numbers(arrays, "after_maps", axes)
