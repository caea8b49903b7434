"""Exports of a caption: every word's map side by side, and one after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.captioning.caption import Caption
from model.tokens import TokenLayout
from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.export import Export, Frames
from viz.export.maps import NamedMap, draw_maps, map_numbers
from viz.export.names import name_head
from viz.export.numbers import Numbers
from viz.export.program import Code, write_program
from viz.pictures.caption_strip import word_frames

COLUMNS = 6
SIDE = 560  # pixels of an animation's photo


@dataclass(frozen=True)
class Written:
    """A caption of a photo, and how both came about.

    Attributes:
        caption: with words and attention.
        photo: what the captioner saw, `tokens`: what its words look at.
        captioner, photo_title: how both are called; `name`: the captioner in a file's name.
        how: the settings, in words.
        opening: the Python that opens both as `bundle` and `image`.
        call: the Python that writes the caption, such as `bundle.caption(image)`.
    """

    caption: Caption
    photo: Image.Image
    tokens: TokenLayout
    captioner: str
    photo_title: str
    how: str
    opening: Code
    call: str
    name: str = ""


def caption_export(written: Written, layer: int, head: int | str, style: DrawStyle) -> Export:
    """Describe what can be saved of a caption in one layer and head, or the mean of all heads."""
    caption, one = written.caption, isinstance(head, int)
    shown = name_head(head if one else "mean")
    account = Account(
        f"Where a captioner looks for each word: “{caption.text}”",
        {"Model": written.captioner, "Photo": written.photo_title, "Decoding": written.how}
        | {"Layer": f"{layer + 1} of the decoder", "Head": shown}
        | {"Colours": f"{style.colors}, each map up to its own maximum"},
        ["Cross-attention from each word; below a word its probability."],
    )  # fmt: skip
    code = Code(
        [
            f"caption = {written.call}",
            f"rows = caption.attention({layer}, {head if one else None})  # words, memory tokens",
            "maps = rows[:, bundle.tokens.patch_slice].reshape(-1, *bundle.tokens.grid)",
            "logprobs = caption.logprobs",
        ]
    )
    return Export(
        "Every word",
        name_file(written.photo_title, written.name or written.captioner, f"layer {layer + 1}"),
        account,
        lambda: draw_maps(
            _word_maps(written, layer, head),
            style,
            account.lines,
            COLUMNS,
            photo=written.photo,
        ),
        lambda: _numbers(written, layer, head),
        write_program(account.title, [written.opening, code]),
        [Frames("words", lambda: _frames(written, layer, head, style), 900)],
    )


def maps_of_words(caption: Caption, tokens: TokenLayout, layer: int, head: int | str) -> np.ndarray:
    """Compute the maps of all words in a layer and head: (words, rows, columns)."""
    rows = caption.attention(layer, head if isinstance(head, int) else None)
    return rows[:, tokens.patch_slice].reshape(-1, *tokens.grid)


def _word_maps(written: Written, layer: int, head: int | str) -> list[NamedMap]:
    caption = written.caption
    maps = maps_of_words(caption, written.tokens, layer, head)
    sure = np.exp(caption.logprobs)
    return [
        NamedMap(word, values, written.photo, f"{100 * share:.0f} %")
        for word, values, share in zip(caption.words, maps, sure, strict=True)
    ]


def _numbers(written: Written, layer: int, head: int | str) -> Numbers:
    found = map_numbers(lambda: _word_maps(written, layer, head), "word")()
    arrays = {**found.arrays, "logprobs": written.caption.logprobs}
    return Numbers(arrays, found.main, found.axes)


def _frames(written: Written, layer: int, head: int | str, style: DrawStyle) -> list[Image.Image]:
    maps = maps_of_words(written.caption, written.tokens, layer, head)
    drawn = SIDE, style.colors, style.opacity, style.smooth
    return word_frames(written.photo, maps, written.caption.words, *drawn)
