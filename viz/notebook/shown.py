"""What `show` returns: a widget where anywidget is installed, and a still picture elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from viz.components.bundle import color_tables, join_kinds, join_script, join_style
from viz.components.payload import pack
from viz.standalone.figure import Figure
from viz.standalone.views import Head, Start

KINDS = ("explorer", "sheet", "rollout", "captions", "row", "features", "compare", "what_if")
STILL_BYTES = 200_000
"""A saved notebook has the still picture of each figure, so it is kept small."""

WITHOUT = (
    "The figure follows the mouse where anywidget is installed: pip install anywidget. "
    "Here it is a still picture; viz.standalone.export_html(figure, path) writes it as a file with "
    "everything alive."
)

Rows = Callable[[int, Head, int], np.ndarray]
Still = Callable[[int, Head, int], Image.Image]


class Shown:
    """A figure with what was chosen in it; `make_shown` makes one.

    Attributes:
        figure: what `viz.standalone.export_html` writes.
        layer: the layer, from zero, among those that are shown.
        head: a head from zero, or "mean", "max" or "min".
        query: the token that asks, or the word.
    """

    figure: Figure
    layer: int
    head: Head
    query: int
    _rows: Rows
    _still: Still

    @property
    def row(self) -> np.ndarray:
        """The attention that layer, head and query name, (tokens,) float32."""
        return self._rows(self.layer, self.head, self.query)

    def still(self) -> bytes:
        """Draw what is chosen as a PNG of at most `STILL_BYTES` bytes."""
        return small_png(self._still(self.layer, self.head, self.query))


class StillShown(Shown):
    """A figure where anywidget is not installed."""

    def __init__(self, figure: Figure, start: Start, rows: Rows, still: Still) -> None:
        self.figure, self._rows, self._still = figure, rows, still
        self.layer, self.head, self.query = start.layer, start.head, start.query

    def _repr_mimebundle_(self, **given: Any) -> dict[str, Any]:
        return {"text/plain": f"{self.figure.title}. {WITHOUT}", "image/png": self.still()}


def make_shown(figure: Figure, start: Start, rows: Rows, still: Still, scope: str) -> Shown:
    """Make what a notebook shows.

    Args:
        figure: the figure.
        start: where it begins.
        rows: from layer, head and query to the row of attention.
        still: likewise to a picture.
        scope: the name of the figure's view among those of the notebook; none for `compare`.
    """
    figure.check_size()
    try:
        widget = _widget_class()
    except ImportError:
        return StillShown(figure, start, rows, still)
    return widget(figure, start, rows, still, scope)


def small_png(picture: Image.Image) -> bytes:
    """Encode a picture as PNG of at most `STILL_BYTES` bytes, smaller and with fewer colours."""
    for side in (640, 480, 360, 240):
        small = picture.convert("RGB")
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.quantize(192, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= STILL_BYTES:
            break
    return buffer.getvalue()


def pack_figure(figure: Figure, scope: str) -> bytes:
    """Pack a whole figure for `viz/components/widget`."""
    header = {
        "title": figure.title,
        "about": list(figure.about),
        "scope": scope,
        "parts": [{"kind": part.kind, "heading": part.heading} for part in figure.parts],
        "names": list(figure.answers),
    }
    arrays = {f"part{at}": part.payload for at, part in enumerate(figure.parts)}
    arrays |= {f"answer{at}": answer for at, answer in enumerate(figure.answers.values())}
    return pack(header, **arrays)


@cache
def _widget_class() -> Any:
    """Define the widget. Raises ImportError where anywidget is not installed."""
    import anywidget
    import traitlets

    class Widget(anywidget.AnyWidget, Shown):
        """A figure in a cell, whose choices are traits."""

        _esm = color_tables() + join_kinds(KINDS) + join_script("widget")
        _css = join_style("widget")
        _data = traitlets.Bytes().tag(sync=True)
        layer = traitlets.Int().tag(sync=True)
        head = traitlets.Union([traitlets.Int(), traitlets.Unicode()]).tag(sync=True)
        query = traitlets.Int().tag(sync=True)
        row = traitlets.Any(read_only=True)

        def __init__(
            self, figure: Figure, start: Start, rows: Rows, still: Still, scope: str
        ) -> None:
            self.figure, self._rows, self._still = figure, rows, still
            chosen = {"layer": start.layer, "head": start.head, "query": start.query}
            super().__init__(_data=pack_figure(figure, scope), **chosen)
            self._choose()
            self.observe(self._choose, ["layer", "head", "query"])

        def _choose(self, change: Any = None) -> None:
            self.set_trait("row", self._rows(self.layer, self.head, self.query))

        def _repr_mimebundle_(self, **given: Any) -> Any:
            made = super()._repr_mimebundle_(**given)
            data, *more = made if isinstance(made, tuple) else (made,)
            if data is None:
                return made
            data = {"text/plain": self.figure.title, **data, "image/png": _as_text(self.still())}
            return (data, *more) if more else data

    return Widget


def _as_text(png: bytes) -> str:
    """Write bytes as a notebook's file has them."""
    from base64 import b64encode

    return b64encode(png).decode()
