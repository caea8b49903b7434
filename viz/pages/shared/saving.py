"""The button Save of every page with a picture: files, words and the Python behind it.

Nothing is computed until somebody opens it, and no file before it is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import streamlit as st

from viz.export.export import WIDTHS, Export
from viz.pages.shared.browser import take_reports
from viz.pages.shared.html_file import HtmlFile, offer_html, pictures_file
from viz.pages.shared.state import Shared
from viz.server import queue
from viz.server.queue import Cost

MIME = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "npz": "application/octet-stream",
    "csv": "text/csv",
    "webp": "image/webp",
    "gif": "image/gif",
}
HELP = {
    "png": "Pixels, for a slide.",
    "svg": "Vector marks and text, for a paper; the photo is embedded.",
    "npz": "Every array, for numpy.load.",
    "csv": "A table with a line a value, for a spreadsheet.",
}
CAPTIONS = (("Markdown", "md", "markdown"), ("LaTeX", "tex", "latex"), ("Python", "py", "python"))
SMALLER = "Choose a narrower picture."


@dataclass(frozen=True)
class Saved:
    """What a page has to save: its pictures, and the page as one HTML file."""

    exports: Sequence[Export] = field(default=())
    html: HtmlFile | None = None
    missing: str = ""
    """Why there is nothing to save, in a sentence."""

    @property
    def file(self) -> HtmlFile | None:
        """The page as one HTML file; its pictures in one where it has no file of its own."""
        if self.html is not None or not self.exports:
            return self.html
        return pictures_file(self.exports)


@st.fragment
def show_save(gather: Callable[[], Saved]) -> None:
    """Show the button.

    Args:
        gather: says what can be saved, as it is seen when the button is pressed.
    """
    if st.button("Save", icon=":material/download:", key=Shared.save.name):
        take_reports()  # the browser may have gone on since the page ran
        _show_saved(gather())


@st.dialog("Save", width="medium", icon=":material/download:")
def _show_saved(saved: Saved) -> None:
    """Show everything that can be saved, above the page."""
    if saved.missing:
        st.caption(saved.missing)
    if saved.exports:
        _show_export(_choose_export(saved.exports))
    if (file := saved.file) is not None:
        offer_html(file)


def _choose_export(exports: Sequence[Export]) -> Export:
    """Show which pictures there are; return the chosen one."""
    titles = [export.title for export in exports]
    if Shared.save_picture.get() not in titles:
        Shared.save_picture.set(titles[0])
    if len(titles) == 1:
        return exports[0]
    st.pills("Picture", titles, key=Shared.save_picture.name, required=True)
    return exports[titles.index(Shared.save_picture.get())]


def _show_export(export: Export) -> None:
    """Offer the files of one picture, its caption and its program."""
    if not Shared.save_width.is_set:
        Shared.save_width.set(Shared.save_width.default)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Width",
            WIDTHS,
            key=Shared.save_width.name,
            format_func=lambda width: f"{width:,} pixels",
            width=140,
        )
        _offer(export, "png")
        _offer(export, "svg")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Numbers", width="content")
        _offer(export, "npz")
        _offer(export, "csv")
    for frames in export.animations:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Through the {frames.over}", width="content")
            for kind in ("webp", "gif"):
                _show_button(kind, f"{export.name}-{frames.over}", partial(frames.write, kind))
    written = [each for each in CAPTIONS if each[1] in export.kinds]
    tabs = st.tabs([title for title, _, _ in written])
    for tab, (_, kind, language) in zip(tabs, written, strict=True):
        tab.code(export.write(kind).decode(), language=language, wrap_lines=True, height=180)


def _offer(export: Export, kind: str) -> None:
    width = Shared.save_width.get()
    _show_button(kind, export.name, partial(export.write, kind, width))


def _show_button(kind: str, name: str, make: Callable[[], bytes]) -> None:
    """Show a button whose file is made when it is pressed, in the server's queue."""
    cost = Cost(bytes=24 * max(WIDTHS) ** 2, seconds=2, what="A file", cure=SMALLER)
    st.download_button(
        kind.upper(),
        lambda: queue.run(("file", make), make, cost=cost),
        f"{name}.{kind}",
        MIME[kind],
        on_click="ignore",
        help=HELP.get(kind),
        key=Shared.save_file(kind, name),
    )
