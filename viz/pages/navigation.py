"""The navigation: every page, in the group of what one does there. The script of each rerun."""

import streamlit as st

from viz.pages.shared import running_lesson
from viz.pages.shared.browser import begin_run
from viz.pages.shared.screen import show_screen
from viz.pages.shared.state import Lessons
from viz.pictures.icon import eye

Place = tuple[str, str, str]
"""A file beside this one, the page's title and its icon."""

PAGES: dict[str, list[Place]] = {
    "See": [
        ("explore.py", "Explore", ":material/visibility:"),
        ("features.py", "Features", ":material/palette:"),
        ("captions.py", "Captions", ":material/subtitles:"),
        ("video.py", "Video", ":material/movie:"),
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
        ("lessons.py", "Lessons", ":material/school:"),
        ("models.py", "Models", ":material/deployed_code:"),
        ("glossary.py", "Glossary", ":material/dictionary:"),
    ],
}
"""The groups and their pages in the order of the menu; Explore is where everybody begins. See is
for looking, Try for changing something in a running model, Measure for numbers, Learn for reading.
"""

QUESTIONS = {
    "explore.py": "where does this patch look?",
    "features.py": "which patches are alike?",
    "captions.py": "which patches chose each word?",
    "video.py": "where does it look from frame to frame?",
    "compare.py": "what differs between two?",
    "what_if.py": "what happens without this patch?",
    "inside_head.py": "how does a head compute its map?",
    "attribution.py": "which patches speak for this class?",
    "heads.py": "what does each head do?",
    "positions.py": "how does the model know where a patch is?",
    "patches.py": "what does a patch become?",
    "cost.py": "what if something is doubled?",
    "lessons.py": "what would you like to understand?",
    "models.py": "which model is looking?",
    "glossary.py": "what does this word mean?",
}
"""What each page answers."""


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


def _show_next(page: st.Page, pages: dict[str, list[st.Page]]) -> None:
    """Show the way to the next page, at the foot of this one."""
    every = [each for group in pages.values() for each in group]
    files = [file for places in PAGES.values() for file, *_ in places]
    place = [each.url_path for each in every].index(page.url_path) + 1
    if place < len(every):
        label = f"Next: **{every[place].title}**, {QUESTIONS[files[place]]}"
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.page_link(every[place], label=label, icon=":material/arrow_forward:")


st.set_page_config(page_title="Saccade", page_icon=eye(), layout="wide")
pages = _pages()
page = st.navigation(pages, position="top")
_begin_page(page)
show_screen()
running_lesson.follow({each.url_path: each for group in pages.values() for each in group}, page)
page.run()
if not Lessons.running.get():
    _show_next(page, pages)
