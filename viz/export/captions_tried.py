"""Exports of an experiment with a captioner: how likely its words are, and every head's change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import paint_difference
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.export.tables import bars_export
from viz.pictures.lettering import percent


@dataclass(frozen=True)
class DecoderMaps:
    """Every head of the decoder's layers of one kind, before and after a change.

    Attributes:
        title: what these heads look at, such as "Words to photo".
        photo: what the maps lie over; None for maps of words.
        before, after: (layers, heads, rows, columns).
        code: the Python that makes them as `before_maps` and `after_maps`.
    """

    title: str
    photo: Image.Image | None
    before: np.ndarray
    after: np.ndarray
    code: Code


@dataclass(frozen=True)
class TriedWords:
    """What a captioner writes before and after something was changed.

    Attributes:
        model, photo_title, changed: what is shown, in words.
        before, after: both captions.
        shares: (2, words), how likely the words of the first are, before and after.
        opening: the Python that opens everything, and makes `before` and `after`.
        shares_code: the Python that makes the shares as `values`.
        name: the captioner in a file's name.
    """

    model: str
    photo_title: str
    changed: str
    before: Sequence[str]
    after: Sequence[str]
    shares: np.ndarray
    opening: Sequence[Code]
    shares_code: Code
    maps: Sequence[DecoderMaps] = ()
    name: str = ""
    style: DrawStyle = field(default_factory=DrawStyle)

    @property
    def facts(self) -> dict[str, str]:
        """Say what is shown, by name."""
        return {"Model": self.model, "Photo": self.photo_title, "Without": self.changed}

    @property
    def notes(self) -> list[str]:
        """Say both captions."""
        return [f"Before: “{' '.join(self.before)}”.", f"After: “{' '.join(self.after)}”."]


def tried_words_exports(tried: TriedWords) -> list[Export]:
    """Describe what can be saved: the words, and the heads of each kind."""
    account = Account("How likely each word is, before and after", tried.facts, tried.notes)
    words = bars_export(
        "The caption",
        account,
        number_repeated(tried.before),
        dict(zip(("Before", "After"), tried.shares.tolist(), strict=True)),
        [*tried.opening, tried.shares_code],
        percent,
        f"what if {tried.photo_title} {tried.name}",
    )
    return [words, *(_heads_export(tried, maps) for maps in tried.maps)]


def number_repeated(words: Sequence[str]) -> list[str]:
    """Number the words that come more than once.

    >>> number_repeated(["a", "dog", "and", "a", "cat"])
    ['a', 'dog', 'and', 'a (2)', 'cat']
    """
    seen: dict[str, int] = {}
    named = []
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        named.append(word if seen[word] == 1 else f"{word} ({seen[word]})")
    return named


def _heads_export(tried: TriedWords, maps: DecoderMaps) -> Export:
    what = f"{maps.title}: every head of the decoder after the change, less what it was before"
    account = Account(what, tried.facts, tried.notes)
    return Export(
        maps.title,
        name_file("what if", tried.photo_title, tried.name, maps.title),
        account,
        lambda: _draw_heads(maps, account.lines),
        lambda: _numbers(maps),
        write_program(what, [*tried.opening, maps.code]),
    )


def _draw_heads(maps: DecoderMaps, caption: Sequence[str]) -> Drawing:
    grey = None if maps.photo is None else maps.photo.convert("L").convert("RGB")
    change = maps.after - maps.before
    panels: list[list[Panel | None]] = [
        [Panel(grey, paint_difference(head)) for head in layer] for layer in change
    ]
    layers, heads = change.shape[:2]
    return draw_grid(
        Grid(
            panels,
            [f"Layer {number}" for number in count_from_one(layers)],
            [f"head {head}" for head in count_from_one(heads)],
            [*caption, "Orange: more, blue: less; each up to its own largest change."],
            largest=160,
        )
    )


def _numbers(maps: DecoderMaps) -> Numbers:
    names = zip(("layer", "head", "row", "column"), maps.after.shape, strict=True)
    axes = {name: count_from_one(count) for name, count in names}
    arrays = {"before_maps": maps.before, "after_maps": maps.after}
    return Numbers(arrays, "after_maps", axes)
