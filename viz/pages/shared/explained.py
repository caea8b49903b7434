"""The beginning of a page, and texts whose terms are explained where they fall."""

from collections.abc import Sequence
from functools import lru_cache

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from viz.components import mounts
from viz.components.payload import pack
from viz.glossary.marking import mark_terms
from viz.glossary.term import glossary
from viz.pages.shared.state import Shared


def show_heading(question: str, lead: str) -> DeltaGenerator:
    """Show the question that a page answers, and what to do first.

    Returns the place beside the question, for a button that opens the page's help.
    """
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.title(question, width="content")
        beside = st.container(width="content", key=Shared.help.name)
    show_explained(lead, Shared.lead.name)
    return beside


def show_explained(text: str, key: str) -> None:
    """Show a text in which each term shows its meaning on hover, tap or focus.

    Args:
        text: with ``**bold**``, ``*italic*`` and ``code``; no links and no formulas. An empty line
            begins a paragraph.
        key: of the component, one for each text of a page.
    """
    _show(text, key, is_note=False)


def show_note(text: str, key: str) -> None:
    """Show a text below a picture, in smaller grey letters, likewise."""
    _show(text, key, is_note=True)


def _show(text: str, key: str, is_note: bool) -> None:
    parts = split_at_terms(text)
    if any(not isinstance(part, str) for part in parts):
        mounts.explained(pack({"parts": parts, "note": is_note}), key=key)
    elif is_note:
        st.caption(text)
    else:
        st.markdown(text)


Part = str | tuple[str, str, str]


@lru_cache(maxsize=256)
def split_at_terms(text: str) -> Sequence[Part]:
    """Split a text for the browser: texts, and words, name and meaning of each term."""
    return [
        part if isinstance(part, str) else (part[0], part[1].name, part[1].sentence)
        for part in mark_terms(text, glossary())
    ]
