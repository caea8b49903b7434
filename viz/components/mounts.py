"""Put the browser components on a page.

Each is a folder of HTML, CSS and JavaScript beside this file; what several need is in ``shared/``.
Python sends one blob (see ``viz.components.payload``). What is not in it, the browser asks for: see
``shared/answers.js`` and ``viz.server.routes``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from viz.components.bundle import color_tables, join_script, join_style, read_page
from viz.components.payload import pack


def component(name: str, isolate_styles: bool = True) -> Callable[..., Any]:
    """Register the component of a folder; returns what mounts it.

    Args:
        isolate_styles: whether its style sheet is its own; the page's otherwise.
    """
    return st.components.v2.component(
        f"saccade_{name}",
        html=read_page(name),
        css=join_style(name),
        js=color_tables() + join_script(name),
        isolate_styles=isolate_styles,
    )


_address, _explorer, _sheet, _rollout, _overlay = map(
    component, ("address", "explorer", "sheet", "rollout", "overlay")
)
_captions, _row, _tiles, _features, _lens = map(
    component, ("captions", "row", "tiles", "features", "lens")
)
_inside, _compare = map(component, ("inside", "compare"))
_lesson, _lesson_list, _welcome = map(component, ("lesson", "lesson_list", "welcome"))
_explained = component("explained")
_screen = component("screen", isolate_styles=False)


def _run_again() -> None:
    """Let the page run again: the browser lacks what the server has let go of."""


def address(header: Mapping[str, Any], key: str) -> None:
    """Hand the browser's history the address of what is shown.

    Where Back or Forward ask for another address, its query is at
    ``st.session_state[key]["open"]`` in the next run.
    """
    _address(data=pack(dict(header)), key=key, on_open_change=_run_again)


def screen(projector: bool | None, key: str) -> None:
    """Mount the switch for a projector, and the style sheet of the page around the components.

    The choice is at ``st.session_state[key]["projector"]``.

    Args:
        projector: the choice as far as it is known; with None the browser remembers it.
    """
    _screen(data=pack({"projector": projector}), key=key, on_projector_change=_run_again)


def explorer(payload: bytes, key: str = "explorer") -> None:
    """Mount the explorer.

    Where somebody asks what happens without a head or a patch, these are at
    ``st.session_state[key]["without"]`` in the next run: "off" or "hidden".
    """
    _explorer(data=payload, key=key, on_lost_change=_run_again, on_without_change=_run_again)


def explained(payload: bytes, key: str) -> None:
    """Mount a text whose terms show what they mean; nothing comes back."""
    _explained(data=payload, key=key)


def sheet(payload: bytes, key: str = "sheet") -> None:
    """Mount the layers x heads sheet."""
    _sheet(data=payload, key=key, on_lost_change=_run_again)


def rollout(payload: bytes, key: str) -> None:
    """Mount attention rollout from the token of the view."""
    _rollout(data=payload, key=key, on_lost_change=_run_again)


def overlay(payload: bytes, key: str) -> None:
    """Mount one finished map over the photo."""
    _overlay(data=payload, key=key, on_lost_change=_run_again)


def captions(
    payload: bytes,
    on_continue: Callable[[], None],
    on_beam: Callable[[], None],
    key: str = "captions",
) -> None:
    """Mount a caption with its maps (see ``viz.components.caption_payload``).

    What the user did is at ``st.session_state[key]``: "continue"
    (the words to begin with), "beam" (the number of a beam), "without" as of `explorer`.
    """
    _captions(
        data=payload,
        key=key,
        on_lost_change=_run_again,
        on_continue_change=on_continue,
        on_beam_change=on_beam,
        on_without_change=_run_again,
    )


def inside(payload: bytes, on_view: Callable[[], None], key: str) -> None:
    """Mount the steps of a head; ``on_view`` runs when layer, head, query, key or step was chosen.

    What was chosen is then at ``st.session_state[key]["view"]``.
    """
    _inside(data=payload, key=key, on_view_change=on_view, on_lost_change=_run_again)


def row(payload: bytes, on_choose: Callable[[], None] = lambda: None, key: str = "row") -> None:
    """Mount the row; ``on_choose`` runs when a cell was clicked.

    Its id is then at ``st.session_state[key]["choose"]``.
    """
    _row(data=payload, key=key, on_choose_change=on_choose, on_lost_change=_run_again)


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
    _features(
        data=payload,
        key=key,
        on_query_change=on_query,
        on_lacking_change=on_lacking,
        on_lost_change=_run_again,
    )


def compare(payload: bytes, on_query: Callable[[], None], key: str) -> None:
    """Mount two maps and their difference (see ``viz.components.compare_payload``).

    ``on_query`` runs when a patch was held: the token of A there is at
    ``st.session_state[key]["query"]``.
    """
    _compare(data=payload, key=key, on_query_change=on_query, on_lost_change=_run_again)


def class_lens(payload: bytes, key: str) -> None:
    """Mount the lens (see ``viz.components.lens_payload``)."""
    _lens(data=payload, key=key, on_lost_change=_run_again)


_what_if, _switches, _spread = map(component, ("what_if", "switches", "spread"))


def what_if(payload: bytes, on_act: Callable[[], None], key: str) -> None:
    """Mount the photo on which patches are hidden, with the answer before and after.

    ``on_act`` runs when somebody did something; it is at ``st.session_state[key]["act"]``: "do",
    which is "hidden" (then "hidden" lists the patches), "hide", "undo", "redo" or "restore", and
    "serial", a count.
    """
    _what_if(data=payload, key=key, on_act_change=on_act, on_lost_change=_run_again)


def switches(payload: bytes, on_act: Callable[[], None], key: str) -> None:
    """Mount the sheet on which heads are switched off.

    ``on_act`` as for `what_if`; "do" is "off", and "off" lists layer and head.
    """
    _switches(data=payload, key=key, on_act_change=on_act, on_lost_change=_run_again)


def spread(payload: bytes, key: str) -> None:
    """Mount a probability before and after, beside those of random draws."""
    _spread(data=payload, key=key)


def lesson(payload: bytes, key: str) -> None:
    """Mount the lesson that runs. The place that somebody goes to is its value ``go``."""
    _lesson(data=payload, key=key, on_go_change=_run_again)


def lesson_list(payload: bytes, key: str) -> None:
    """Mount the list of lessons. The place that somebody goes to is its value ``go``."""
    _lesson_list(data=payload, key=key, on_go_change=_run_again)


def welcome(payload: bytes, key: str) -> None:
    """Mount the offer of a tour, which a first visit sees. Its value is ``go`` as well."""
    _welcome(data=payload, key=key, on_go_change=_run_again)


_video = component("video")


def video(payload: bytes, on_query: Callable[[], None], key: str) -> None:
    """Mount a clip with its maps, and its timeline.

    ``on_query`` runs when another token was chosen to ask; it is at
    ``st.session_state[key]["query"]``: "token" of "layer", and the "frame" and "map" shown.
    """
    _video(data=payload, key=key, on_query_change=on_query, on_lost_change=_run_again)
