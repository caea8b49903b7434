"""Exports of attribution: one method's map, and the maps of all methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from model.captioning.words import Word
from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Box, Drawing
from viz.export.export import Export
from viz.export.maps import NamedMap, draw_maps, map_numbers
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import paint_map, scale_of
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.pictures.lettering import percent

VARIANTS = ("trained", "random weights")


@dataclass(frozen=True)
class ExplainedAnswer:
    """The maps of several methods for one answer.

    Attributes:
        maps: (rows, columns) by the registry's name of the method; likewise `titles`, `settings`
            as the registry takes them, and `in_words` as the page has them.
        photo: what the model saw.
        model, photo_title, target: how they are called.
        opening: the Python that opens model and photo, and makes the `trace`.
        box: of the object, as shares of the photo, where one is known.
    """

    maps: Mapping[str, np.ndarray]
    titles: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]]
    photo: Image.Image
    model: str
    photo_title: str
    target: str
    opening: Code
    in_words: Mapping[str, Sequence[str]]
    style: DrawStyle = field(default_factory=DrawStyle)
    box: Box | None = None
    name: str = ""
    twin: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The maps of the same model with random weights, where they are shown."""
    twin_opening: Code = field(default_factory=lambda: Code([]))


def attribution_exports(explained: ExplainedAnswer, method: str) -> list[Export]:
    """Describe what can be saved: every method's map, and the chosen one's where it has one."""
    if not explained.maps:
        return []
    made = [_export(explained, list(explained.maps), "Every method")]
    if explained.twin:
        made.append(_twin_export(explained, list(explained.twin)))
    if method not in explained.maps:
        return made
    return [_export(explained, [method], "This method"), *made]


def trace_class_code(target: int, name: str) -> Code:
    """Write the lines that trace the score of a class."""
    return Code(
        [
            f"target = {target}  # {' '.join(name.split())}",
            "trace = trace_class(bundle.net, bundle.prepare(image), bundle.tokens, target)",
        ],
        ["from model.attribution.trace import trace_class"],
    )


def trace_word_code(word: Word) -> Code:
    """Write the lines that trace a word of a caption, by the captioner's numbers."""
    return Code(
        [
            f"word = {word!r}",
            "trace = trace_word(bundle.net, bundle.prepare(image), bundle.net.patch_layout, word)",
        ],
        [
            "from model.attribution.word_trace import trace_word",
            "from model.captioning.words import Word",
        ],
    )


def _export(explained: ExplainedAnswer, methods: Sequence[str], title: str) -> Export:
    one = len(methods) == 1
    chosen = methods[0]
    what = explained.titles[chosen] if one else "What several methods find important"
    settings = "; ".join(filter(None, (_in_words(explained, m, not one) for m in methods)))
    account = Account(
        what,
        {"Model": explained.model, "Photo": explained.photo_title, "For": explained.target}
        | {"Settings": settings, "Colours": f"{explained.style.colors}, up to each map's maximum"},
    )  # fmt: skip

    def maps() -> list[NamedMap]:
        outlined = [explained.box] if explained.box else []
        return [
            NamedMap(explained.titles[m], explained.maps[m], explained.photo, outlined=outlined)
            for m in methods
        ]

    top = explained.maps[chosen]
    total = float(top.sum())
    share = f"{percent(float(top.max()) / total)} of the map" if total else "0"
    scale = scale_of(explained.style, share if one else "the map's maximum")
    kind = chosen if one else "methods"
    return Export(
        title,
        name_file(explained.photo_title, explained.name or explained.model, kind, explained.target),
        account,
        lambda: draw_maps(maps(), explained.style, account.lines, scale=scale),
        map_numbers(maps, "method"),
        write_program(account.title, [explained.opening, _code(explained, methods)]),
    )


def _twin_export(explained: ExplainedAnswer, methods: Sequence[str]) -> Export:
    """Describe every method's map of the trained model beside that of random weights."""
    account = Account(
        "What several methods find important, before training too",
        {"Model": explained.model, "Photo": explained.photo_title, "For": explained.target},
        ["A map that is the same for random weights says nothing about what the model learned."],
    )
    rows = [(explained.maps[method], explained.twin[method]) for method in methods]
    names = [explained.titles[method] for method in methods]
    opening = Code(["trained = maps"]) + explained.twin_opening
    again = _code(explained, methods)
    parts = [explained.opening, again, opening, again, Code(["maps = np.stack([trained, maps])"])]

    def draw() -> Drawing:
        outlined = [explained.box] if explained.box else []
        panels: list[list[Panel | None]] = [
            [
                Panel(explained.photo, paint_map(each, explained.style), outlined=outlined)
                for each in row
            ]
            for row in rows
        ]
        return draw_grid(Grid(panels, names, VARIANTS, account.lines, largest=200))

    def count() -> Numbers:
        maps = np.stack([[row[at] for row in rows] for at in range(len(VARIANTS))])
        _, _, down, across = maps.shape
        axes: dict[str, Sequence[object]] = {"weights": VARIANTS, "method": names}
        axes |= {"row": count_from_one(down), "column": count_from_one(across)}
        return Numbers({"maps": maps, "methods": np.array(names, str)}, "maps", axes)

    what = explained.name or explained.model
    return Export(
        "Beside random weights",
        name_file(explained.photo_title, what, "methods and random weights", explained.target),
        account,
        draw,
        count,
        write_program(account.title, parts),
    )


def _in_words(explained: ExplainedAnswer, method: str, named: bool) -> str:
    given = ", ".join(explained.in_words[method])
    return f"{explained.titles[method]}: {given}" if named and given else given


def _code(explained: ExplainedAnswer, methods: Sequence[str]) -> Code:
    given = {method: dict(explained.settings[method]) for method in methods}
    rows = [f"    {method!r}: {settings!r}," for method, settings in given.items()]
    return Code(
        [
            "methods = {",
            *rows,
            "}",
            "maps = np.stack(",
            "    [explain(trace, name, **given)[0].numpy() for name, given in methods.items()]",
            ")",
        ],
        ["import numpy as np", "from model.attribution.registry import explain"],
    )
