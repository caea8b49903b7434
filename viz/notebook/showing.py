"""`show` and `compare`: figures of what a notebook has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from model.captioning.caption import Caption, CaptionBundle
from model.recorded_image import RecordedImage, default_query
from model.tokens import TokenLayout
from viz.components.draw_style import DrawStyle
from viz.components.payload import photo_bytes
from viz.notebook.layers import check_figure_size, pack_recorded
from viz.notebook.recordings import CannotShow, Prepare, record_given
from viz.notebook.shown import Shown, make_shown
from viz.pictures.overlay import figure as draw_figure
from viz.standalone.views import Head, Start, caption_figure, compare_figure, explore_figure

_numbers = count(1)


def show(
    subject: Any,
    image: Image.Image | Tensor | None = None,
    tokens: TokenLayout | None = None,
    *,
    prepare: Prepare | None = None,
    classes: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    layer: int = -1,
    head: Head = "mean",
    query: int | None = None,
    title: str = "",
) -> Shown:
    """Show where a model looks in a picture, or for the words of a caption.

    Your own model, with its own preprocessing:

        >>> import torch
        >>> from model import samples
        >>> from model.vit import build
        >>> from viz.notebook import show
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3)
        >>> picture = samples.load("chelsea").resize((32, 32))
        >>> prepare = lambda image: torch.rand(1, 3, 32, 32)
        >>> shown = show(net, picture, prepare=prepare)
        >>> len(shown.figure.parts), shown.layer
        (3, 1)

    Args:
        subject: a bundle of `zoo.load`; any net; the records of an `AttentionRecorder`; or a
            caption of `CaptionBundle.caption`.
        image: the picture; for a net of your own also the prepared tensor (1, C, H, W). A caption
            brings its own.
        tokens: what each token stands for, where neither the bundle nor the net says it.
        prepare: from a picture to the tensor that a net of your own takes.
        classes: names of the classes of a net of your own.
        layers: which layers to record, from zero; None for all.
        layer: where the figure begins, among the layers that are shown; negative from the last.
        head: a head from zero, or "mean", "max" or "min" of all.
        query: the token that asks, or the word of a caption; the class token or the centre if None.
        title: the figure's title.

    Returns:
        A figure with the traits `layer`, `head`, `query` and `row`, the attention that they name.

    Raises:
        CannotShow: with a sentence that says what to pass.
        FigureTooLarge: where a browser would get too much; the message says how to choose layers.
    """
    if isinstance(subject, CaptionBundle):
        if image is None or isinstance(image, Tensor):
            raise CannotShow("A captioner needs a picture, as PIL opens it.")
        subject = subject.caption(image)
    if isinstance(subject, Caption):
        return _show_caption(subject, layer, head, query or 0, title)
    given = record_given(subject, image, tokens, prepare, classes, layers)
    recorded = given.recorded
    check_figure_size(recorded)
    packed = pack_recorded(recorded, given.model, discard=0.0)
    asking = default_query(recorded.layers[-1].tokens) if query is None else query
    start = Start(layer, head, asking, query is not None).fit(packed)
    scope = f"figure {next(_numbers)}"
    made = explore_figure(packed, start, title or f"Where {given.model} looks", given.notes, scope)
    return make_shown(made, start, _RowsOf(recorded), _StillOf(recorded), scope)


def compare(
    a: Any,
    b: Any,
    image: Image.Image | Tensor | None = None,
    tokens: TokenLayout | None = None,
    *,
    prepare: Prepare | None = None,
    layers: Sequence[int] | None = None,
    layer: int = -1,
    head: Head = "mean",
    query: int | None = None,
    titles: tuple[str, str] | None = None,
    title: str = "",
) -> Shown:
    """Show two maps side by side and their difference.

        >>> from model import samples, zoo
        >>> from viz.notebook import compare
        >>> bundle = zoo.load("cs231n-cifar10")
        >>> shown = compare((bundle, samples.load("chelsea")), (bundle, samples.load("coffee")))
        >>> [part.kind for part in shown.figure.parts]
        ['compare']

    Args:
        a: a subject of `show`, or a pair of a subject and its picture.
        b: likewise.
        image: the picture of both, where they are no pairs.
        tokens: as for `show`, like the arguments that are not named here.
        titles: what A and B are called.

    Raises:
        CannotShow: with a sentence that says what to pass.
        FigureTooLarge: as for `show`.
    """
    sides = []
    for subject in (a, b):
        own, picture = subject if isinstance(subject, tuple) else (subject, image)
        sides.append(record_given(own, picture, tokens, prepare, None, layers))
    for side in sides:
        check_figure_size(side.recorded)
    left, right = (pack_recorded(side.recorded, side.model) for side in sides)
    first = sides[0].recorded
    asking = default_query(first.layers[-1].tokens) if query is None else query
    start = Start(layer, head, asking).fit(left)
    start = replace(start, layer=min(start.layer, len(right.shapes) - 1))
    names = titles or (sides[0].model, sides[1].model)
    made = compare_figure(
        left,
        right,
        start,
        title or f"{names[0]} and {names[1]}",
        [note for side in sides for note in side.notes],
        names,
        same_photo=left.photo == right.photo,
    )
    stills = [_StillOf(side.recorded, name) for side, name in zip(sides, names, strict=True)]
    return make_shown(made, start, _RowsOf(first), partial(_side_by_side, stills), "")


def _show_caption(caption: Caption, layer: int, head: Head, word: int, title: str) -> Shown:
    if caption.frame is None or caption.layout is None:
        raise CannotShow("This caption has no picture. Write it with CaptionBundle.caption.")
    if not caption.words:
        raise CannotShow("This caption has no words, so there is no map to show.")
    tokens, depth = caption.layout, len(caption.cross)
    layer = min(max(layer + depth if layer < 0 else layer, 0), depth - 1)
    word = min(word, len(caption.words) - 1)
    view = {"layer": layer, "head": head, "word": word}
    scope = f"figure {next(_numbers)}"
    made = caption_figure(
        caption,
        photo_bytes(caption.frame),
        tokens.grid,
        title or f"“{caption.text}”",
        [caption.note] if caption.note else [],
        tokens.prefix,
        view,
        memory_of_one=tokens.tokens == 1,
        scope=scope,
    )
    start = Start(layer, head, word, style=DrawStyle())
    return make_shown(made, start, _WordsOf(caption), _WordStill(caption), scope)


def fuse_heads(rows: np.ndarray, head: Head) -> np.ndarray:
    """Choose one head's row of (heads, tokens), or fuse all by "mean", "max" or "min"."""
    return rows[head] if isinstance(head, int) else getattr(rows, head)(axis=0)


class _RowsOf:
    """The row of attention that layer, head and query name, (tokens,) float32."""

    def __init__(self, recorded: RecordedImage) -> None:
        self.recorded = recorded

    def __call__(self, layer: int, head: Head, query: int) -> np.ndarray:
        record = self.recorded.records[layer]
        if record.windows:
            rows = self.recorded.layer_maps(layer, query).reshape(record.shape[1], -1)
        else:
            rows = record.weights(queries=[query])[0, :, 0].numpy()
        return fuse_heads(rows, head)


class _StillOf:
    """The map over the photo as a picture; of a layer, head and token that are there."""

    def __init__(self, recorded: RecordedImage, name: str = "") -> None:
        self.recorded, self.name, self.rows = recorded, name, _RowsOf(recorded)

    def __call__(self, layer: int, head: Head, query: int) -> Image.Image:
        layer = min(layer, len(self.recorded.layers) - 1)
        tokens = self.recorded.layers[layer].tokens
        query = min(query, tokens.tokens - 1)
        if isinstance(head, int):
            head = min(head, self.recorded.layers[layer].heads - 1)
        row = self.rows(layer, head, query)[tokens.patch_slice].reshape(tokens.grid)
        name = f"head {head + 1}" if isinstance(head, int) else f"{head} of the heads"
        place = f"Layer {self.recorded.numbers[layer] + 1}, {name}, from token {query}"
        return draw_figure(self.recorded.frame, row, [*filter(None, [self.name]), place])


def _side_by_side(stills: Sequence[_StillOf], layer: int, head: Head, query: int) -> Image.Image:
    """Draw the same layer, head and token of each, from left to right."""
    pictures = [still(layer, head, query) for still in stills]
    size = sum(each.width for each in pictures), max(each.height for each in pictures)
    whole = Image.new("RGB", size, "white")
    left = 0
    for each in pictures:
        whole.paste(each, (left, 0))
        left += each.width
    return whole


class _WordsOf:
    """The row of attention with which a layer and head chose a word."""

    def __init__(self, caption: Caption) -> None:
        self.caption = caption

    def __call__(self, layer: int, head: Head, query: int) -> np.ndarray:
        return fuse_heads(self.caption.cross[layer][:, query], head)


class _WordStill:
    """The map of a word over the photo as a picture."""

    def __init__(self, caption: Caption) -> None:
        self.caption, self.rows = caption, _WordsOf(caption)

    def __call__(self, layer: int, head: Head, query: int) -> Image.Image:
        tokens, frame = self.caption.layout, self.caption.frame
        assert tokens is not None and frame is not None, "checked when it was shown"
        row = self.rows(layer, head, query)[tokens.patch_slice].reshape(tokens.grid)
        return draw_figure(frame, row, [f"“{self.caption.words[query]}”", self.caption.text])
