"""What the user is looking at, and how the address says it.

A view is the same on every page: layer, head, the token that asks, and how the map is
drawn. It lives in ``session_state`` and is written into the address, so that a link
opens the same view again. An address is only text: whatever is wrong in it becomes the
nearest valid view and a note.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from model.recorded_image import Layer, default_query, find_same_place
from model.recording.rollout import FUSIONS
from model.tokens import TokenLayout
from viz.components.draw_style import DrawStyle
from viz.pictures.colors import COLOR_MAPS

SCALINGS = ("map", "layer")
Recorded = tuple[Sequence[Layer], Sequence[int]]
SWITCHES = ("held", "lines", "smooth")


@dataclass(frozen=True)
class View:
    """Layer and head count from zero here, from one in the address and on the page."""

    layer: int | None = None  # None: the last one
    head: int | str = "mean"  # a number, or how the heads are fused
    query: int | None = None  # token; None: CLS, or the centre patch where there is none
    held: bool = False
    opacity: float = 0.75
    colors: str = "viridis"
    scaling: str = "map"
    lines: bool = True
    smooth: bool = False
    fusion: str = "mean"
    discard: float = 0.0

    @property
    def style(self) -> DrawStyle:
        """How maps are drawn in this view."""
        return DrawStyle(self.colors, self.opacity, self.smooth, self.lines, self.scaling)

    @classmethod
    def from_browser(cls, message: Mapping[str, object], old: "View") -> "View":
        """The view that the explorer reports; what it has no control for stays."""
        names = asdict(old).keys() - {"fusion", "discard"}
        return replace(old, **{name: message[name] for name in names & message.keys()})


def fit(view: View, layers: Sequence[Layer]) -> View:
    """The nearest view that a model with these layers can show."""
    last = len(layers) - 1
    layer = last if view.layer is None else min(max(view.layer, 0), last)
    heads, tokens = layers[layer]
    head = view.head
    if isinstance(head, int):
        head = min(max(head, 0), heads - 1)
    query = view.query
    if query is None or not 0 <= query < tokens.tokens:
        query = default_query(tokens)
    return replace(view, layer=layer, head=head, query=query)


def go_to_layer(view: View, layer: int, layers: Sequence[Layer]) -> View:
    """The same view in another layer, from the same place of the photo."""
    if view.query is None or view.layer is None:
        return replace(view, layer=layer)
    query = find_same_place(view.query, layers[view.layer].tokens, layers[layer].tokens)
    return replace(view, layer=layer, query=query)


def carry_over(view: View, before: Recorded, now: Recorded) -> View:
    """The nearest view of other layers, or of another model: the same place, the layer of the
    same number or the nearest to it.

    Each of `before` and `now` is (layers, numbers), the numbers as of `to_address`.
    """
    (layers, numbers), (new_layers, new_numbers) = before, now
    view = fit(view, layers)
    number = numbers[view.layer]
    layer = min(range(len(new_numbers)), key=lambda i: abs(new_numbers[i] - number))
    query = find_same_place(view.query, layers[view.layer].tokens, new_layers[layer].tokens)
    return fit(replace(view, layer=layer, query=query), new_layers)


def to_address(
    view: View, layers: Sequence[Layer], numbers: Sequence[int] | None = None
) -> dict[str, str]:
    """The part of the address that stands for a view; what is as usual is left out.

    `numbers`: which of the model's layers these are, from zero; None: all. The address has the
    model's own number, so that it means the same where more of them are recorded.
    """
    usual, tokens = View(), layers[view.layer].tokens
    number = view.layer if numbers is None else numbers[view.layer]
    words = {"layer": str(number + 1), "head": _head_word(view.head)}
    words["from"] = _token_word(view.query, tokens)
    if view.opacity != usual.opacity:
        words["opacity"] = f"{view.opacity:g}"
    if view.discard != usual.discard:
        words["discard"] = f"{view.discard:g}"
    for name in ("colors", "scaling", "fusion"):
        if getattr(view, name) != getattr(usual, name):
            words[name] = getattr(view, name)
    for name in SWITCHES:
        if getattr(view, name) != getattr(usual, name):
            words[name] = "yes" if getattr(view, name) else "no"
    return words


def from_address(
    words: Mapping[str, str], layers: Sequence[Layer], numbers: Sequence[int] | None = None
) -> tuple[View, list[str]]:
    """Read an address: the nearest valid view, and a note for each thing that was not.

    `numbers` as of `to_address`.
    """
    view, notes = View(), []
    view = replace(view, layer=_layer(words, numbers or range(len(layers)), notes))
    heads, tokens = layers[view.layer]
    if (head := words.get("head", "mean")) in FUSIONS:
        view = replace(view, head=head)
    elif (number := _number(words, "head", 1, heads, notes, whole=True)) is not None:
        view = replace(view, head=int(number) - 1)
    view, of_drawing = drawn_as(words, view)
    notes += of_drawing
    if "from" in words:
        view = replace(view, query=_token(words["from"], tokens))
        if view.query is None:
            notes.append("The link names a patch that this model does not have.")
    return fit(view, layers), notes


def drawn_as(words: Mapping[str, str], view: View | None = None) -> tuple[View, list[str]]:
    """The view with what an address says of drawing, whatever the model; and notes as above."""
    view, notes = view or View(), []
    for name, low, high in (("opacity", 0.0, 1.0), ("discard", 0.0, 0.95)):
        if (number := _number(words, name, low, high, notes)) is not None:
            view = replace(view, **{name: number})
    choices = {"colors": COLOR_MAPS, "scaling": SCALINGS, "fusion": FUSIONS}
    for name, valid in choices.items():
        if name in words and words[name] not in valid:
            notes.append(f"The link names an unknown {name}; showing {getattr(view, name)}.")
        elif name in words:
            view = replace(view, **{name: words[name]})
    for name in SWITCHES:
        if words.get(name) in ("yes", "no"):
            view = replace(view, **{name: words[name] == "yes"})
    return view, notes


def token_name(token: int, tokens: TokenLayout) -> str:
    """How the pages call a token: ``CLS``, or ``row 4, column 6``."""
    place = tokens.position_of(token)
    if place is None:
        return prefix_name(tokens.prefix[token])
    return f"row {place[0] + 1}, column {place[1] + 1}"


def prefix_name(name: str) -> str:
    """How the pages call a token that is no patch."""
    return f"register {name[3:]}" if name.startswith("reg") else name.upper()


def _layer(words: Mapping[str, str], numbers: Sequence[int], notes: list[str]) -> int:
    """The place among `numbers` of the layer that the address names, or of the nearest one."""
    asked = _number(words, "layer", 1, numbers[-1] + 1, notes, whole=True)
    if asked is None:
        return len(numbers) - 1
    place = min(range(len(numbers)), key=lambda i: abs(numbers[i] + 1 - asked))
    if numbers[place] + 1 != asked:
        shown = numbers[place] + 1
        notes.append(f"Layer {int(asked)} is not recorded here; showing layer {shown}.")
    return place


def _head_word(head: int | str) -> str:
    return str(head + 1) if isinstance(head, int) else head


def _token_word(token: int, tokens: TokenLayout) -> str:
    place = tokens.position_of(token)
    return tokens.prefix[token] if place is None else f"r{place[0] + 1}c{place[1] + 1}"


def _token(word: str, tokens: TokenLayout) -> int | None:
    if word in tokens.prefix:
        return tokens.prefix.index(word)
    match = re.fullmatch(r"r(\d{1,4})c(\d{1,4})", word)
    if match is None:
        return None
    row, column = int(match[1]) - 1, int(match[2]) - 1
    inside = 0 <= row < tokens.grid[0] and 0 <= column < tokens.grid[1]
    return tokens.index_of(row, column) if inside else None


def _number(
    words: Mapping[str, str], name: str, low: float, high: float, notes: list[str], whole=False
) -> float | None:
    if name not in words:
        return None
    pattern = r"\d{1,6}" if whole else r"\d{0,6}(\.\d{0,6})?"
    if not re.fullmatch(pattern, words[name]) or not re.search(r"\d", words[name]):
        notes.append(f"The link's {name} is not a number; showing the usual one.")
        return None
    number = float(words[name])
    if not low <= number <= high:
        notes.append(f"The link's {name} lies outside {low:g} to {high:g}; showing the nearest.")
    return min(max(number, low), high)
