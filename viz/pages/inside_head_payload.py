"""What the browser gets of a layer: its numbers, its block in words, and the view to begin with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from model.intervention.layer_numbers import LayerNumbers
from model.tokens import TokenLayout
from viz.components import mounts
from viz.components.draw_style import DrawStyle
from viz.components.payload import pack
from viz.pages.inside_head_numbers import HALVED_ABOVE, MOST, SentLayer, norms_of
from viz.pages.inside_head_steps import DescribedBlock, describe_block, divisor_of
from viz.pages.shared.browser import browser_pass
from viz.pages.shared.photos import grant_photo
from viz.pages.shared.state import InsideHead, Shared
from viz.pages.shared.view import read_token, write_token
from viz.server.passes import Source

HALVED = (
    "This layer is large, so its numbers came in half precision: differences of a few thousandths "
    "are rounding."
)
TOO_LARGE = (
    "This layer has {:.0f} MB of numbers for this photo, more than a browser takes at once. Choose "
    "a smaller model, or one that cuts the photo into fewer patches."
)
NO_MASK = (
    "There is no mask here. A mask hides what is not written yet, such as the later words of a "
    "caption. A photo is there all at once, so every token may look at every other."
)

InsideView = dict[str, int | str | None]
"""Head, query, key and step, counted from zero; a key of None is the one with most weight."""


@dataclass(frozen=True)
class Looked:
    """What is looked into: a layer's numbers, and what its tokens stand for."""

    model: str
    picture: str
    sent: SentLayer
    photo: bytes
    style: DrawStyle
    layer: int
    layers: Sequence[str]
    chips: Sequence[str]
    """The names of the layers, and what their buttons say."""
    tokens: TokenLayout
    """The tokens on the photo."""
    words: Sequence[str] | None = None
    """The words that ask, in a captioner."""
    source: Source | None = None
    """Of which the browser asks the numbers."""

    @property
    def numbers(self) -> LayerNumbers:
        """The layer's numbers."""
        return self.sent.numbers

    @property
    def id(self) -> str:
        """A text that tells these numbers from others."""
        return f"{self.model} {self.picture} {self.layer}"

    @property
    def block(self) -> DescribedBlock:
        """The steps and the diagram."""
        return describe_block(self.numbers, self.tokens if self.words is None else None)

    @property
    def words_are_asked(self) -> bool:
        """Whether the keys are words, and not on the photo."""
        return self.words is not None and self.numbers.record.kind == "self"

    @property
    def queries(self) -> int:
        """How many tokens can ask."""
        return self.tokens.tokens if self.words is None else len(self.words)

    @property
    def keys(self) -> int:
        """How many tokens can be asked."""
        return self.queries if self.words_are_asked else self.tokens.tokens

    def read_key(self, text: str) -> int | None:
        """Find the key that a link names; None where there is none of this name."""
        if not self.words_are_asked:
            return read_token(text, self.tokens) if text else None
        number = int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 4 else -1
        return number if 0 <= number < self.keys else None

    def write_key(self, key: int) -> str:
        """Name a key as a link does."""
        return str(key + 1) if self.words_are_asked else write_token(key, self.tokens)


def show_inside(
    looked: Looked, head: int, query: int, take: Callable[[dict[str, Any]], None]
) -> None:
    """Mount the component; the browser asks for numbers that it does not have yet.

    Args:
        looked: what is shown.
        head: the head to begin with.
        query: the token that asks first.
        take: is given what the browser reports: layer, head and query, counted from zero.
    """
    if (size := sum(array.nbytes for array in looked.sent.arrays.values())) > MOST:
        st.info(TOO_LARGE.format(size / 2**20), icon=":material/info:")
        return
    block = looked.block
    step = InsideHead.step.begin([each.id for each in block.steps], default=block.steps[0].id)
    now: InsideView = {
        "head": min(head, looked.numbers.heads - 1),
        "query": query,
        "key": looked.read_key(InsideHead.key.begin()),
        "step": step,
    }
    sent, opened = InsideHead.sent.get(), (looked.id, Shared.opened_links.get())
    if sent is None or sent[0] != opened or not InsideHead.component.is_set:
        sent = opened, now
        InsideHead.sent.set(sent)
    header = header_of(looked) | {"view": sent[1], "opened": opened[1]} | grant_photo(looked.photo)
    if looked.source is not None:
        header |= {"source": looked.source.id, "key": browser_pass().grant(looked.source)}
    mounts.inside(
        pack(header), on_view=partial(_take_choice, looked, take), key=InsideHead.component.name
    )


def _take_choice(looked: Looked, take: Callable[[dict[str, Any]], None]) -> None:
    """Take over what the browser reports, unless it speaks of other numbers."""
    message = InsideHead.component.get().get("view")
    if not message or message.get("id") != looked.id:
        return
    InsideHead.step.set(str(message["step"]))
    if 0 <= message["key"] < looked.keys and 0 <= message["query"] < looked.queries:
        InsideHead.key.set(looked.write_key(int(message["key"])))
        take(message)


def own_url_params() -> dict[str, str]:
    """Write what this page alone lets one choose into the parameters of an address."""
    own = (InsideHead.subject, InsideHead.step, InsideHead.key)
    decoder = (InsideHead.layer, InsideHead.head, InsideHead.word)
    written = [setting.url_params() for setting in own]
    if InsideHead.subject.get() != "model":
        # What they begin with depends on the captioner and its words, so a link always names them.
        written += [each.param.write(each.get()) for each in decoder if each.is_set]
    return {name: text for each in written for name, text in each.items()}


def header_of(looked: Looked) -> dict[str, object]:
    """Describe a layer for the browser: what its arrays are, and its block in words."""
    numbers = looked.numbers
    batch, heads, rows, keys = numbers.record.shape
    mlp = numbers.mlp
    missing = [*numbers.missing]
    if sum(array.nbytes for array in looked.sent.arrays.values()) > HALVED_ABOVE // 2:
        missing.append(HALVED)
    return looked.block.as_header() | {
        "id": looked.id,
        "model": looked.model,
        "picture": looked.picture,
        "layer": looked.layer,
        "layers": list(looked.layers),
        "layerChips": list(looked.chips),
        "kind": numbers.record.kind,
        "heads": heads,
        "queries": batch * rows,
        "keys": keys,
        "width": 0 if numbers.query is None else numbers.query.shape[-1],
        "valueWidth": 0 if numbers.value is None else numbers.value.shape[-1],
        "dim": 0 if numbers.projected is None else numbers.projected.shape[-1],
        "hiddenWidth": 0 if mlp is None else mlp.hidden.shape[-1],
        "scale": numbers.scale,
        "divisor": divisor_of(numbers.scale),
        "gain": numbers.gain,
        "between": numbers.between,
        "biasShape": None if numbers.bias is None else numbers.bias.shape[:2],
        "norms": {
            name: {"kind": norm.kind, "eps": norm.eps} for name, norm in norms_of(numbers).items()
        },
        "grid": looked.tokens.grid,
        "prefix": list(looked.tokens.prefix),
        "queryWords": looked.words,
        "keyWords": looked.words if looked.words_are_asked else None,
        "queriesOnPhoto": looked.words is None,
        "keysOnPhoto": not looked.words_are_asked,
        "switches": {
            "positions": looked.sent.without_positions,
            "mask": "" if numbers.bias is not None else NO_MASK,
        },
        "missing": missing,
        "style": looked.style.as_header(),
    }
