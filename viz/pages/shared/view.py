"""The view: what the user is looking at, on every page, in every model, and in a link.

A view lives in the session and is written into the address, so that a link opens the same view
again. Whatever is wrong in a link becomes the nearest valid view and a note.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from model.recorded_image import Layer, default_query, find_same_place
from model.recording.rollout import FUSIONS
from model.tokens import TokenLayout
from viz.components.draw_style import DrawStyle
from viz.pages.shared import address
from viz.pages.shared.address import Head, Param, TokenName
from viz.pictures.colors import COLOR_MAPS

Recorded = tuple[Sequence[Layer], Sequence[int]]
"""The recorded layers, and which of the model's layers they are, from zero."""

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class View:
    """A layer, a head, the token that asks, and how the map is drawn.

    Layer and head count from zero here, from one in the address and on the page.
    """

    layer: int
    query: int  # the token that asks
    head: Head = address.HEAD.default
    held: bool = address.HELD.default
    opacity: float = address.OPACITY.default
    colors: str = address.COLORS.default
    scaling: str = address.SCALING.default
    lines: bool = address.LINES.default
    smooth: bool = address.SMOOTH.default
    fusion: str = address.FUSION.default
    discard: float = address.DISCARD.default

    @property
    def style(self) -> DrawStyle:
        """How maps are drawn in this view."""
        return DrawStyle(self.colors, self.opacity, self.smooth, self.lines, self.scaling)

    @classmethod
    def from_browser(cls, message: Mapping[str, Any], old: "View") -> "View":
        """Take over the view that a browser reports; what is no value of a view stays."""
        return replace(old, **_valid(message, _VIEW_VALUES))


@dataclass(frozen=True)
class LinkedCaptionView:
    """What a link says of a caption's view, counted from zero; None where it says nothing."""

    layer: int | None = None
    head: Head = address.CAPTION_HEAD.default
    word: int | None = None


@dataclass(frozen=True)
class CaptionView:
    """What is shown of a caption: a layer of the decoder, a head, a word; and how it is drawn."""

    layer: int
    head: Head
    word: int
    colors: str = address.COLORS.default
    opacity: float = address.OPACITY.default
    smooth: bool = address.SMOOTH.default
    boxes: bool = False

    @property
    def style(self) -> DrawStyle:
        """How maps are drawn in this view."""
        return DrawStyle(self.colors, self.opacity, self.smooth)

    def as_header(self) -> dict[str, object]:
        """Return the view as a payload's header carries it, the style apart."""
        return {"layer": self.layer, "head": self.head, "word": self.word, "boxes": self.boxes}

    @classmethod
    def from_browser(cls, message: Mapping[str, Any], old: "CaptionView") -> "CaptionView":
        """Take over the view that a browser reports; what is no value of a view stays."""
        return replace(old, **_valid(message, _CAPTION_VALUES))


def _is_place(value: object) -> bool:
    return type(value) is int and 0 <= value < 10**6


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_switch(value: object) -> bool:
    return type(value) is bool


def _one_of(options: Collection[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in options


def _is_head(value: object) -> bool:
    return _is_place(value) or value in address.HEADS_FUSED


Tests = Mapping[str, Callable[[object], bool]]
_STYLE_VALUES: Tests = {
    "opacity": _is_share,
    "colors": _one_of(COLOR_MAPS),
    "smooth": _is_switch,
}
_VIEW_VALUES: Tests = {
    **_STYLE_VALUES,
    "layer": _is_place,
    "query": _is_place,
    "head": _is_head,
    "held": _is_switch,
    "scaling": _one_of(address.SCALINGS),
    "lines": _is_switch,
    "fusion": _one_of(FUSIONS),
    "discard": _is_share,
}
_CAPTION_VALUES: Tests = {
    **_STYLE_VALUES,
    "layer": _is_place,
    "head": _is_head,
    "word": _is_place,
    "boxes": _is_switch,
}


def _valid(message: Mapping[str, Any], tests: Tests) -> dict[str, Any]:
    """Select the entries of a message from outside that are values of a view."""
    return {name: message[name] for name, test in tests.items() if test(message.get(name))}


# -- from layer to layer and from model to model --------------------------------------------------


def fit_view(view: View, layers: Sequence[Layer]) -> View:
    """Find the nearest view that a model with these layers can show."""
    layer = min(max(view.layer, 0), len(layers) - 1)
    heads, tokens = layers[layer][:2]
    head = view.head
    if isinstance(head, int):
        head = min(max(head, 0), heads - 1)
    query = view.query if 0 <= view.query < tokens.tokens else default_query(tokens)
    return replace(view, layer=layer, head=head, query=query)


def go_to_layer(view: View, layer: int, layers: Sequence[Layer]) -> View:
    """Show another layer from the same place of the photo."""
    query = find_same_place(view.query, layers[view.layer].tokens, layers[layer].tokens)
    return replace(view, layer=layer, query=query)


def carry_over(view: View, before: Recorded, now: Recorded) -> View:
    """Find the nearest view of other layers, or of another model.

    It is from the same place of the photo, in the layer of the same number or the nearest one.
    """
    (layers, numbers), (new_layers, new_numbers) = before, now
    view = fit_view(view, layers)
    number = numbers[view.layer]
    layer = min(range(len(new_numbers)), key=lambda i: abs(new_numbers[i] - number))
    query = find_same_place(view.query, layers[view.layer].tokens, new_layers[layer].tokens)
    return fit_view(replace(view, layer=layer, query=query), new_layers)


# -- the address ----------------------------------------------------------------------------------


def view_url_params(
    view: View, layers: Sequence[Layer], numbers: Sequence[int] | None = None
) -> dict[str, str]:
    """Write a view into the parameters of an address; defaults are left out.

    `numbers`: which of the model's layers these are, from zero; None: all. The address has the
    model's own number, so that it means the same where more of them are recorded.
    """
    number = view.layer if numbers is None else numbers[view.layer]
    return (
        address.LAYER.write(number + 1)
        | address.HEAD.write(view.head)
        | address.FROM.write(_name_in_link(view.query, layers[view.layer].tokens))
        | address.OPACITY.write_changed(view.opacity)
        | address.DISCARD.write_changed(view.discard)
        | address.COLORS.write_changed(view.colors)
        | address.SCALING.write_changed(view.scaling)
        | address.FUSION.write_changed(view.fusion)
        | address.HELD.write_changed(view.held)
        | address.LINES.write_changed(view.lines)
        | address.SMOOTH.write_changed(view.smooth)
    )


def view_from_address(
    url_params: Mapping[str, str], layers: Sequence[Layer], numbers: Sequence[int] | None = None
) -> tuple[View, list[str]]:
    """Read a view from an address: the nearest valid one, and a note for each thing that was not.

    `numbers` as of `view_url_params`.
    """
    notes: list[str] = []
    layer = _layer(url_params, numbers or range(len(layers)), notes)
    heads, tokens = layers[layer][:2]
    view = View(
        layer=layer,
        query=default_query(tokens),
        head=_head(url_params, heads, notes),
        opacity=_share(address.OPACITY, url_params, 1.0, notes),
        discard=_share(address.DISCARD, url_params, 0.95, notes),
        colors=address.COLORS.read(url_params, notes),
        scaling=address.SCALING.read(url_params, notes),
        fusion=address.FUSION.read(url_params, notes),
        held=address.HELD.read(url_params, notes),
        lines=address.LINES.read(url_params, notes),
        smooth=address.SMOOTH.read(url_params, notes),
    )
    name = address.FROM.read(url_params)
    if name is None:
        return view, notes
    query = _token(name, tokens)
    if query is None:
        return view, [*notes, "The link names a patch that this model does not have."]
    return replace(view, query=query), notes


def style_from_address(url_params: Mapping[str, str], notes: list[str]) -> DrawStyle:
    """Read how maps are drawn, whatever the model; notes as in `view_from_address` are added."""
    opacity = _share(address.OPACITY, url_params, 1.0, notes)
    colors = address.COLORS.read(url_params, notes)
    return DrawStyle(colors, opacity, address.SMOOTH.read(url_params, notes))


def write_token(token: int, tokens: TokenLayout) -> str:
    """Write a token as an address does: ``cls``, or ``r4c6``."""
    return address.FROM.format(_name_in_link(token, tokens))


def read_token(text: str, tokens: TokenLayout) -> int | None:
    """Find the token that an address names; None where this model has none of this name."""
    name = address.FROM.parse(text)
    return None if name is None else _token(name, tokens)


def _layer(url_params: Mapping[str, str], numbers: Sequence[int], notes: list[str]) -> int:
    """Find the place among `numbers` of the layer that the address names, or of the nearest one."""
    asked = address.LAYER.read(url_params, notes)
    if asked is None:
        return len(numbers) - 1
    asked = _nearest(address.LAYER, asked, 1, numbers[-1] + 1, notes)
    place = min(range(len(numbers)), key=lambda i: abs(numbers[i] + 1 - asked))
    shown = numbers[place] + 1
    if shown != asked:
        notes.append(f"Layer {asked} is not recorded here; showing layer {shown}.")
    return place


def _head(url_params: Mapping[str, str], heads: int, notes: list[str]) -> Head:
    head = address.HEAD.read(url_params, notes)
    if isinstance(head, str):
        return head
    return _nearest(address.HEAD, head + 1, 1, heads, notes) - 1


def _share(
    param: Param[float], url_params: Mapping[str, str], most: float, notes: list[str]
) -> float:
    return _nearest(param, param.read(url_params, notes), 0.0, most, notes)


def _nearest(
    param: Param[Any], number: Number, low: Number, high: Number, notes: list[str]
) -> Number:
    """Bring a number of a link into its range, with a note where it lay outside."""
    if not low <= number <= high:
        notes.append(
            f"The link's {param.name} lies outside {low:g} to {high:g}; showing the nearest."
        )
    return min(max(number, low), high)


def _name_in_link(token: int, tokens: TokenLayout) -> TokenName:
    place = tokens.position_of(token)
    return tokens.prefix[token] if place is None else place


def _token(name: TokenName, tokens: TokenLayout) -> int | None:
    if isinstance(name, str):
        return tokens.prefix.index(name) if name in tokens.prefix else None
    row, column = name
    inside = 0 <= row < tokens.grid[0] and 0 <= column < tokens.grid[1]
    return tokens.index_of(row, column) if inside else None
