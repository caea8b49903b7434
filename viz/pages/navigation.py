"""The navigation: every page, in the group of what one does there. The script of each rerun."""

import streamlit as st

from viz.pages.shared.browser import begin_run
from viz.pictures.icon import eye
from viz.server.script_gate import SCRIPTS

Place = tuple[str, str, str]
"""A file beside this one, the page's title and its icon."""

PAGES: dict[str, list[Place]] = {
    "See": [
        ("explore.py", "Explore", ":material/visibility:"),
        ("features.py", "Features", ":material/palette:"),
        ("captions.py", "Captions", ":material/subtitles:"),
        ("compare.py", "Compare", ":material/compare:"),
    ],
    "Try": [
        ("what_if.py", "What if", ":material/experiment:"),
        ("inside_head.py", "Inside a head", ":material/account_tree:"),
    ],
    "Measure": [
        ("attribution.py", "Attribution", ":material/target:"),
        ("heads.py", "Heads", ":material/scatter_plot:"),
        ("positions.py", "Positions", ":material/grid_on:"),
        ("patches.py", "Patches", ":material/view_comfy:"),
        ("cost.py", "Cost", ":material/timer:"),
    ],
    "Learn": [
        ("models.py", "Models", ":material/deployed_code:"),
    ],
}
"""The groups and their pages in the order of the menu; Explore is where everybody begins. See is
for looking, Try for changing something in a running model, Measure for numbers, Learn for reading.
"""


def _begin_page(page: st.Page) -> None:
    """Tell the session which page runs now."""
    file = next(
        file for places in PAGES.values() for file, title, _ in places if title == page.title
    )
    begin_run(file)


def _pages() -> dict[str, list[st.Page]]:
    return {
        group: [
            st.Page(file, title=title, icon=icon, default=file == "explore.py")
            for file, title, icon in places
        ]
        for group, places in PAGES.items()
    }


with SCRIPTS.inside():
    st.set_page_config(page_title="Saccade", page_icon=eye(), layout="wide")
    page = st.navigation(_pages(), position="top")
    _begin_page(page)
    page.run()
