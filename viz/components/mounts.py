"""Put the browser components on a page.

Each is a folder of HTML, CSS and JavaScript beside this file; what several need is in ``shared/``.
Python sends one blob (see ``viz.components.payload``); the photo is in it, so a component draws
alone.
"""

import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from viz.components.bundle import join_script, join_style, read_page
from viz.pictures.colors import COLOR_MAPS, lookup_table


def color_tables() -> str:
    """Write the colour maps as the constant that ``shared/colors.js`` reads."""
    tables = {name: lookup_table(name).tobytes().hex() for name in COLOR_MAPS}
    return f"const COLOR_TABLES = {json.dumps(tables)};\n"


def component(name: str) -> Callable[..., Any]:
    """Register the component of a folder; returns what mounts it."""
    return st.components.v2.component(
        f"saccade_{name}",
        html=read_page(name),
        css=join_style(name),
        js=color_tables() + join_script(name),
    )


_explorer, _sheet, _overlay, _captions, _row, _tiles, _features, _lens = map(
    component,
    ("explorer", "sheet", "overlay", "captions", "row", "tiles", "features", "lens"),
)
_inside = component("inside")


def explorer(payload: bytes, on_view: Callable[[], None], key: str = "explorer") -> None:
    """Mount the explorer; ``on_view`` runs when the user has changed the view.

    The new view is then at ``st.session_state[key]["view"]``.
    """
    _explorer(data=payload, key=key, on_view_change=on_view)


def sheet(payload: bytes, on_choose: Callable[[], None], key: str = "sheet") -> None:
    """Mount the layers x heads sheet; ``on_choose`` runs when a head was clicked.

    The choice is then at ``st.session_state[key]["choose"]``: layer and head, from zero.
    """
    _sheet(data=payload, key=key, on_choose_change=on_choose)


def overlay(payload: bytes, key: str) -> None:
    """Mount one finished map over the photo."""
    _overlay(data=payload, key=key)


def captions(
    payload: bytes,
    on_view: Callable[[], None],
    on_continue: Callable[[], None],
    on_beam: Callable[[], None],
    key: str = "captions",
) -> None:
    """Mount a caption with its maps (see ``viz.components.caption_payload``).

    What the user did is at ``st.session_state[key]``: "view" (layer, head, word, looks),
    "continue" (the words to begin with), "beam" (the number of a beam).
    """
    _captions(
        data=payload,
        key=key,
        on_view_change=on_view,
        on_continue_change=on_continue,
        on_beam_change=on_beam,
    )


def inside(payload: bytes, on_view: Callable[[], None], key: str) -> None:
    """Mount the steps of a head; ``on_view`` runs when layer, head, query, key or step was chosen.

    What was chosen is then at ``st.session_state[key]["view"]``.
    """
    _inside(data=payload, key=key, on_view_change=on_view)


def row(payload: bytes, on_choose: Callable[[], None] = lambda: None, key: str = "row") -> None:
    """Mount the row; ``on_choose`` runs when a cell was clicked.

    Its id is then at ``st.session_state[key]["choose"]``.
    """
    _row(data=payload, key=key, on_choose_change=on_choose)


def tiles(payload: bytes, key: str) -> None:
    """Mount the tiles."""
    _tiles(data=payload, key=key)


def features(
    payload: bytes,
    on_query: Callable[[], None],
    on_lacking: Callable[[], None],
    key: str = "features",
) -> None:
    """Mount the patches that are alike (see ``viz.components.features_payload``).

    ``on_query`` runs when a token was held, which is then at ``st.session_state[key]["query"]``;
    ``on_lacking`` when the browser has not what Python took it to have.
    """
    _features(data=payload, key=key, on_query_change=on_query, on_lacking_change=on_lacking)


def class_lens(payload: bytes, key: str) -> None:
    """Mount the lens (see ``viz.components.lens_payload``)."""
    _lens(data=payload, key=key)
