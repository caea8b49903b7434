"""Make figures of numbers: what each of them shows, and what the browser needs to draw it.

Each function takes arrays and packed layers, and no model: `viz.notebook` makes them of a net, and
the pages of the app make them of what they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np

from viz.components.caption_payload import CaptionLike, Objects, caption_payload
from viz.components.compare_payload import PaneHeader, compare_payload
from viz.components.draw_style import DrawStyle
from viz.components.features_payload import FeaturesHeader, features_payload
from viz.components.payload import pack
from viz.components.row_payload import Cell, row_payload
from viz.standalone.figure import Figure, FigurePart

Head = int | str
"""A head from zero, or "mean", "max" or "min" of all."""

SHEET = "Every head of every layer"
ROLLOUT = "Through all layers: rollout"
ABOUT_ROLLOUT = (
    "Rollout (Abnar and Zuidema, 2020) counts each map half. The other half is the residual "
    "connection, by which a token keeps what it had. Half in every layer is assumed, not measured. "
    "It fits only where attention adds a vector about as long as the token's own; where it adds "
    "one a tenth as long, rollout overrates what was attended to. The step “residual connection” "
    "of Inside a head measures both lengths."
)
FUSED_BY = "How the heads of a layer become one map: their mean, their largest or smallest value."
FUSED = ("mean", "max", "min")


@dataclass(frozen=True)
class Recorded:
    """One picture through one model, packed for a browser."""

    photo: bytes
    """JPEG of what the model saw."""
    layers: Sequence[bytes]
    """Each as `viz.notebook.layers.pack_layer` packs it."""
    shapes: Sequence[tuple[int, int, int]]
    """Heads, rows and columns of each layer."""
    numbers: Sequence[int]
    """What the layers are called, from one on."""
    prefix: Sequence[str] = ()
    """Names of the tokens before the patches."""
    guesses: Sequence[tuple[str, float]] = ()
    """The likeliest classes with their probabilities."""
    model: str = ""
    rollouts: Mapping[str, bytes] = field(default_factory=dict)
    """Rollout from every token by the question that asks for it; none where there is no rollout."""
    no_rollout: str = ""
    """Why there is none, in a sentence."""

    @property
    def id(self) -> str:
        """A name that tells this recording from others by its content."""
        digest = sha256(self.model.encode())
        for part in (self.photo, *self.layers):
            digest.update(part)
        return digest.hexdigest()[:16]

    @property
    def photo_id(self) -> str:
        """A name that tells the photo from others."""
        return sha256(self.photo).hexdigest()[:16]

    @property
    def answers(self) -> dict[str, bytes]:
        """What a browser asks about this recording, by name."""
        layers = {f"{self.id}/layer/{at}": layer for at, layer in enumerate(self.layers)}
        rollouts = {f"{self.id}/{question}": rows for question, rows in self.rollouts.items()}
        return layers | rollouts | {f"{self.photo_id}/photo": self.photo}


@dataclass(frozen=True)
class Start:
    """Where a figure begins: a layer among those that it has, a head, and the token that asks."""

    layer: int = -1
    head: Head = "mean"
    query: int = 0
    held: bool = False
    style: DrawStyle = field(default_factory=lambda: DrawStyle(lines=True))
    fusion: str = "mean"
    discard: float = 0.0

    def fit(self, recorded: Recorded) -> Start:
        """Find the nearest start that a recording has; a negative layer counts from the last."""
        count = len(recorded.shapes)
        layer = min(max(self.layer + count if self.layer < 0 else self.layer, 0), count - 1)
        heads, rows, columns = recorded.shapes[layer]
        head = min(max(self.head, 0), heads - 1) if isinstance(self.head, int) else self.head
        tokens = len(recorded.prefix) + rows * columns
        return replace(self, layer=layer, head=head, query=min(max(self.query, 0), tokens - 1))

    def as_header(self) -> dict[str, Any]:
        """Return the view as a payload's header carries it."""
        style = self.style
        return {
            "layer": self.layer,
            "head": self.head,
            "query": self.query,
            "held": self.held,
            "opacity": style.opacity,
            "colors": style.colors,
            "scaling": style.scaling,
            "lines": style.lines,
            "smooth": style.smooth,
            "fusion": self.fusion,
            "discard": self.discard,
        }


def explore_figure(
    recorded: Recorded, start: Start, title: str, about: Sequence[str] = (), scope: str = "explore"
) -> Figure:
    """Make the figure of a recorded image: the explorer, the sheet of all heads, and rollout.

    Args:
        recorded: the picture through the model.
        start: where to begin.
        title: the figure's title.
        about: lines that say what is shown.
        scope: tells figures apart that share a page.
    """
    start = start.fit(recorded)
    header = {
        "scope": scope,
        "revision": scope,
        "photo": recorded.photo_id,
        "source": recorded.id,
        "layers": recorded.shapes,
        "numbers": recorded.numbers,
        "prefix": recorded.prefix,
        "view": start.as_header(),
        "style": start.style.as_header(),
    }
    more = {"image": recorded.id, "model": recorded.model, "classes": recorded.guesses, "note": ""}
    sheet, side = pack(header | {"whole": True}), "left" if recorded.rollouts else ""
    parts = [
        FigurePart("explorer", pack(header | more)),
        FigurePart("sheet", sheet, SHEET, recorded.no_rollout, side),
    ]
    if recorded.rollouts:
        fusions = [question.split("/")[1] for question in recorded.rollouts]
        told = {
            "fusions": fusions,
            "aboutRollout": [ABOUT_ROLLOUT],
            "aboutFusion": FUSED_BY,
            "aboutDiscard": "",
            "whole": True,
        }
        parts.append(FigurePart("rollout", pack(header | told), ROLLOUT, side="right"))
    return Figure(title, parts, recorded.answers, about)


def caption_figure(
    caption: CaptionLike,
    photo: bytes,
    grid: tuple[int, int],
    title: str,
    about: Sequence[str] = (),
    prefix: Sequence[str] = (),
    view: Mapping[str, Any] | None = None,
    style: DrawStyle | None = None,
    objects: Objects | None = None,
    memory_of_one: bool = False,
    scope: str = "captions",
) -> Figure:
    """Make the figure of a caption, word by word.

    Args:
        caption: words, probabilities and attention.
        photo: JPEG of what the captioner saw.
        grid: rows and columns of the patches that words look at.
        prefix: names of memory tokens before the patches.
        view: layer, head and word to begin with, from zero.
        style: how maps are drawn.
        objects: the objects of a drawn scene.
        memory_of_one: whether the whole photo is one vector.
        title: as for `explore_figure`, like `about` and `scope`.
    """
    begin = {"layer": len(caption.cross) - 1, "head": "mean", "word": 0, "boxes": False}
    payload = caption_payload(
        caption,
        photo,
        grid,
        begin | dict(view or {}),
        style or DrawStyle(),
        prefix,
        objects=objects,
        memory_of_one=memory_of_one,
        key=scope,
        revision=scope,
        scope=scope,
        fixed=True,
    )
    return Figure(title, (FigurePart("captions", payload),), about=about)


def attribution_figure(
    cells: Sequence[Cell],
    photo: bytes,
    grid: tuple[int, int],
    title: str,
    about: Sequence[str] = (),
    style: DrawStyle | None = None,
    variants: Sequence[str] = ("",),
) -> Figure:
    """Make the figure of several methods' maps over one photo.

    Args:
        cells: the methods with their maps (rows, columns).
        photo: JPEG of what the model saw.
        variants: titles of the maps of one cell, one above the other.
        title: as for `explore_figure`, like `about`.
    """
    hint = "The same patch is marked in every map. Arrow keys move it."
    payload = row_payload(
        cells, photo, grid, "", style or DrawStyle(), variants, hint, choosable=False
    )
    return Figure(title, (FigurePart("row", payload),), about=about)


def features_figure(
    vectors: Sequence[np.ndarray],
    photos: Sequence[bytes],
    titles: Sequence[str],
    grid: tuple[int, int],
    title: str,
    about: Sequence[str] = (),
    prefix: Sequence[str] = (),
    query: int = 0,
    style: DrawStyle | None = None,
) -> Figure:
    """Make the figure of patches that are alike, in one photo or two.

    Args:
        vectors: (N, D) of each photo, prefix first.
        photos: JPEG of what the model saw.
        titles: of the photos.
        prefix: names of the tokens before the patches, as a page writes them.
        query: the token that is held.
        title: as for `explore_figure`, like `about`.
    """
    digest = sha256(b"".join(photos))
    header = FeaturesHeader(
        pictures=digest.hexdigest()[:16],
        vectors=sha256(b"".join(each.tobytes() for each in vectors)).hexdigest()[:16],
        mode="similarity",
        grid=grid,
        prefix=prefix,
        titles=titles,
        query=query,
        style=style or DrawStyle(opacity=0.85),
    )
    named = {f"photo{at}": photo for at, photo in enumerate(photos)}
    payload = features_payload(header, named, vectors)
    return Figure(title, (FigurePart("features", payload),), about=about)


@dataclass(frozen=True)
class AnswerChange:
    """What became of the model's answer: a sentence, and classes with two probabilities each.

    Attributes:
        captions: of a captioner: what each caption is called, and its words, each with whether the
            other caption lacks it.
    """

    words: str
    classes: Sequence[tuple[str, float, float]] = ()
    captions: Sequence[tuple[str, Sequence[tuple[str, bool]]]] = ()


def what_if_figure(
    before: Recorded,
    after: Recorded,
    answer: AnswerChange,
    hidden: Sequence[int],
    start: Start,
    title: str,
    about: Sequence[str] = (),
    scope: str = "what if",
) -> Figure:
    """Make the figure of a finished experiment: the photo, the answers, the maps before and after.

    Args:
        before: the picture through the unchanged model.
        after: the same through the changed one.
        answer: the two answers in words and numbers.
        hidden: the patches that were hidden, row by row from zero.
        start: where the two maps begin.
        title: as for `explore_figure`, like `about` and `scope`.
    """
    maps = compare_part(before, after, start, ("Before", "After"), same_photo=True)
    parts = (
        _answer_part(before.photo_id, before.shapes[-1][1:], answer, hidden, start, scope),
        replace(maps, heading="The maps before and after"),
    )
    return Figure(title, parts, before.answers | after.answers, about)


def caption_trial_figure(
    before: Figure,
    after: Figure,
    photo: bytes,
    grid: tuple[int, int],
    answer: AnswerChange,
    hidden: Sequence[int],
    title: str,
    about: Sequence[str] = (),
    scope: str = "what if",
) -> Figure:
    """Make the figure of a finished experiment with a captioner: the answers, and both captions.

    Args:
        before: the caption as it was, as `caption_figure` makes it; `after`: the changed one. Each
            has a scope of its own.
        photo: JPEG of what the captioner saw.
        grid: rows and columns of the patches that were hidden.
        answer, hidden, title: as for `what_if_figure`, like `about` and `scope`.
    """
    photo_id = sha256(photo).hexdigest()[:16]
    parts = [_answer_part(photo_id, grid, answer, hidden, Start(), scope)]
    for figure, heading in ((before, "The caption before"), (after, "The caption after")):
        parts += [replace(part, heading=heading) for part in figure.parts]
    return Figure(title, parts, {f"{photo_id}/photo": photo}, about)


def _answer_part(
    photo_id: str,
    grid: tuple[int, ...],
    answer: AnswerChange,
    hidden: Sequence[int],
    start: Start,
    scope: str,
) -> FigurePart:
    """Make the component that shows a finished experiment: the hidden patches and both answers."""
    header = {
        "fixed": True,
        "scope": scope,
        "session": scope,
        "serial": 0,
        "image": photo_id,
        "photo": photo_id,
        "grid": grid,
        "style": start.style.as_header(),
        "words": answer.words,
        "classes": answer.classes,
        "captions": answer.captions or None,
        "changed": True,
        "off": [],
        "by": "zero",
        "hidden": list(hidden),
        "hide": "mean",
        "hides": [],
        "undo": False,
        "redo": False,
        "any": True,
        "hint": "The answer before and after.",
        "query": start.query,
    }
    return FigurePart("what_if", pack(header))


def inside_figure(
    header: Mapping[str, Any],
    numbers: Mapping[str, np.ndarray],
    photo: bytes,
    title: str,
    about: Sequence[str] = (),
) -> Figure:
    """Make the figure of one layer's heads, step by step: each head, query, key and step.

    Args:
        header: describes the layer, its block and the view to begin with, for the component.
        numbers: the layer's arrays by name.
        photo: JPEG of what the model saw.
        title: as for `explore_figure`, like `about`.
    """
    answer, photo_id = pack({}, **numbers), sha256(photo).hexdigest()[:16]
    source = sha256(answer).hexdigest()[:16]
    part = FigurePart("inside", pack({**header, "source": source, "photo": photo_id}))
    answers = {f"{source}/numbers": answer, f"{photo_id}/photo": photo}
    return Figure(title, (part,), answers, about)


def compare_figure(
    a: Recorded,
    b: Recorded,
    start: Start,
    title: str,
    about: Sequence[str] = (),
    titles: tuple[str, str] = ("A", "B"),
    same_photo: bool = True,
) -> Figure:
    """Make the figure of two maps and their difference.

    Args:
        a: a picture through a model.
        b: another one; its layers and heads are shown as far as both have them.
        start: where both begin.
        titles: what A and B are.
        same_photo: whether both models see the same part of one photo.
        title: as for `explore_figure`, like `about`.
    """
    part = compare_part(a, b, start, titles, same_photo)
    return Figure(title, (part,), a.answers | b.answers, about)


def compare_part(
    a: Recorded, b: Recorded, start: Start, titles: tuple[str, str], same_photo: bool
) -> FigurePart:
    """Make the component that shows two maps and their difference."""
    count = min(len(a.shapes), len(b.shapes))
    heads = [min(a.shapes[at][0], b.shapes[at][0]) for at in range(count)]
    start = start.fit(a)
    layer = min(start.layer, count - 1)
    head = min(start.head, heads[layer] - 1) if isinstance(start.head, int) else start.head
    name = f"head {head + 1}" if isinstance(head, int) else head
    panes = [
        PaneHeader(
            title,
            f"Layer {a.numbers[layer]}, {name}, from the patch that you point at",
            (side.shapes[layer][1], side.shapes[layer][2]),
            prefix=side.prefix,
            layer=layer,
            head=head,
            answers={"source": side.id, "photo": side.photo_id},
        )
        for side, title in zip((a, b), titles, strict=True)
    ]
    choices = {"numbers": list(a.numbers[:count]), "heads": heads}
    payload = compare_payload(
        panes, (None, None), start.query, same_photo, start.style, choices=choices
    )
    return FigurePart("compare", payload)
