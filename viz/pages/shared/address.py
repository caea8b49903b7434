"""The address: each parameter that a link may have, how it is read and how it is written.

No other file touches ``st.query_params``; `viz.pages.shared.browser` writes the address. An address
is text that anybody may have typed, so a parameter that cannot be read has its default, and a
sentence for the page to show. The parameters that one widget sets are listed as `Setting` in
`viz.pages.shared.state`; all others stand here.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

from model.recording.rollout import FUSIONS
from viz.pictures.colors import COLOR_MAPS

T = TypeVar("T")

LONGEST = 200  # characters of one parameter; names of models on a hub are long
LONGEST_LINK = 8000  # characters of all parameters
SCALINGS = ("map", "layer")
NOT_A_NUMBER = "The link's {name} is not a number; showing the usual one."
UNKNOWN = "The link names an unknown {name}; showing {default}."
NOT_OF_THIS_PAGE = "The link's {name} is not one of this page; showing the usual one."


@dataclass(frozen=True)
class Param(Generic[T]):
    """One parameter of the address.

    ``parse`` turns text into a value, and raises ValueError for text that it cannot read; ``wrong``
    is the sentence to show then, if any, with places for ``{name}`` and ``{default}``.
    """

    name: str
    default: T
    parse: Callable[[str], T]
    format: Callable[[T], str] = str
    wrong: str = ""

    def read(self, url_params: Mapping[str, str], notes: list[str] | None = None) -> T:
        """Read the value from an address; a note is added for text that cannot be read."""
        text = url_params.get(self.name)
        if text is None:
            return self.default
        try:
            return self.parse(text)
        except ValueError:
            if notes is not None and self.wrong:
                notes.append(self.wrong.format(name=self.name, default=self.default))
            return self.default

    def write(self, value: T) -> dict[str, str]:
        """Write the value as the entry of an address."""
        return {self.name: self.format(value)}

    def write_changed(self, value: T | None, default: T | None = None) -> dict[str, str]:
        """Write the value as the entry of an address, or no entry for None and for the default.

        Args:
            default: stands in for the parameter's own default, say with another model.
        """
        default = self.default if default is None else default
        return {} if value is None or value == default else self.write(value)


def read_address() -> dict[str, str]:
    """Read every parameter of the address with which the session began, as text."""
    return st.query_params.to_dict()


# -- readers and writers ------------------------------------------------------------------------


def reader_of(default: T) -> Callable[[str], T]:
    """Choose the reader for values of the default's type: bool, int, float or str."""
    read = _READERS[type(default)]

    def parse(text: str) -> Any:
        if len(text) > LONGEST:
            raise ValueError(f"{len(text)} characters")
        return read(text)

    return parse


def parse_switch(text: str) -> bool:
    """Read yes or no."""
    if text not in _SWITCHES:
        raise ValueError(text)
    return _SWITCHES[text]


_SWITCHES = {"yes": True, "True": True, "no": False, "False": False}
_READERS: dict[type, Callable[[str], Any]] = {
    bool: parse_switch,
    int: int,
    float: float,
    str: str,
}


def format_switch(value: bool) -> str:
    """Write yes or no."""
    return "yes" if value else "no"


def parse_count(text: str) -> int:
    """Read a whole number of at most six digits."""
    if not re.fullmatch(r"\d{1,6}", text):
        raise ValueError(text)
    return int(text)


def parse_decimal(text: str) -> float:
    """Read a number such as 0.75, without a sign or an exponent."""
    if not re.fullmatch(r"\d{0,6}(\.\d{0,6})?", text):
        raise ValueError(text)
    return float(text)


def format_decimal(value: float) -> str:
    """Write a number as short as it can be."""
    return f"{value:g}"


def parse_choice(options: Collection[str]) -> Callable[[str], str]:
    """Make a reader that takes one of the options."""

    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(text)
        return text

    return parse


def parse_index(text: str) -> int:
    """Read a place that is counted from one in the address and from zero in the code."""
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) == 0:
        raise ValueError(text)
    return int(text) - 1


def format_index(index: int | None) -> str:
    """Write a place, counted from one."""
    return "" if index is None else str(index + 1)


Head = int | str
"""One head, counted from zero, or how the heads are fused."""


HEADS_FUSED = ("mean", "max", "min")
"""What the explorer draws besides one head: `fusedRow` in attention.js knows these, whatever other
fusions rollout has."""


def _parse_head(text: str) -> Head:
    return text if text in HEADS_FUSED else parse_count(text) - 1


def _parse_head_or_mean(text: str) -> Head:
    return text if text == "mean" else parse_index(text)


def format_head(head: Head) -> str:
    """Write a head, counted from one, or how the heads are fused."""
    return str(head + 1) if isinstance(head, int) else head


TokenName = tuple[int, int] | str
"""Row and column of a patch, from zero, or the name of a token that is no patch."""


def _parse_token(text: str) -> TokenName:
    match = re.fullmatch(r"r(\d{1,4})c(\d{1,4})", text)
    return (int(match[1]) - 1, int(match[2]) - 1) if match else text


def _format_token(token: TokenName | None) -> str:
    if token is None or isinstance(token, str):
        return token or ""
    row, column = token
    return f"r{row + 1}c{column + 1}"


Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in percent of what the model sees."""


def _parse_box(text: str) -> Box:
    if not re.fullmatch(r"[0-9]{1,3}(-[0-9]{1,3}){3}", text):
        raise ValueError(text)
    left, top, right, bottom = map(int, text.split("-"))
    if not (left < right <= 100 and top < bottom <= 100):
        raise ValueError(text)
    return left, top, right, bottom


def _format_box(box: Box | None) -> str:
    return "-".join(map(str, box or ()))


# -- the parameters -----------------------------------------------------------------------------

PHOTO = Param[str | None]("photo", None, str)
"""A sample, or "own" for a photo that no link can carry."""
MODEL = Param[str | None]("model", None, str)
PROJECTOR = Param[bool | None]("projector", None, parse_switch, lambda on: format_switch(bool(on)))
"""Whether the page is shown on a projector; None: as this browser was last used."""

# How attention is looked at, on every page that shows a classifier.
LAYER = Param[int | None]("layer", None, parse_count, wrong=NOT_A_NUMBER)
"""The model's own number of the layer, from one; None: the last one."""
HEAD = Param[Head]("head", "mean", _parse_head, format_head, NOT_A_NUMBER)
FROM = Param[TokenName | None]("from", None, _parse_token, _format_token)
OPACITY = Param("opacity", 0.75, parse_decimal, format_decimal, NOT_A_NUMBER)
DISCARD = Param("discard", 0.0, parse_decimal, format_decimal, NOT_A_NUMBER)
COLORS = Param("colors", "viridis", parse_choice(COLOR_MAPS), wrong=UNKNOWN)
SCALING = Param("scaling", "map", parse_choice(SCALINGS), wrong=UNKNOWN)
FUSION = Param("fusion", "mean", parse_choice(FUSIONS), wrong=UNKNOWN)
HELD = Param("held", False, parse_switch, format_switch)
LINES = Param("lines", True, parse_switch, format_switch)
SMOOTH = Param("smooth", False, parse_switch, format_switch)

# Captions. A caption's layers are the decoder's, so they have readers of their own.
CAPTION_LAYER = Param[int | None]("layer", None, parse_index, format_index, NOT_OF_THIS_PAGE)
CAPTION_HEAD = Param[Head]("head", "mean", _parse_head_or_mean, format_head, NOT_OF_THIS_PAGE)
WORD = Param[int | None]("word", None, parse_index, format_index, NOT_OF_THIS_PAGE)
GIVEN = Param("given", "", lambda text: text[:LONGEST])
"""Words with which the caption begins."""
TEXT = Param("text", "", lambda text: text[:LONGEST])
"""A caption that somebody typed."""

# Attribution and Patches.
CLASS = Param[str | None]("class", None, str)
BOX = Param[Box | None]("box", None, _parse_box, _format_box)
PATCH = Param[int | None]("patch", None, parse_count)
"""A patch's place in the sequence, from zero."""
