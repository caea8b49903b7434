"""Glossary: the field's terms, each in one sentence, and where to see it."""

import streamlit as st

from viz.glossary.term import Chapter, Term, glossary
from viz.pages.shared.browser import write_address
from viz.pages.shared.explained import show_heading
from viz.pages.shared.session import begin_session


def page() -> None:
    """Show the whole page, top to bottom."""
    begin_session()
    show_heading(
        "What does this word mean?",
        "One sentence for each term, and where to see it. On every page, point at an underlined "
        "word such as patch, tap it, or reach it with Tab.",
    )
    left, right = st.columns(2, gap="large")
    for number, chapter in enumerate(glossary()):
        with left if number % 2 == 0 else right:
            _show_chapter(chapter)
    write_address({})


def _show_chapter(chapter: Chapter) -> None:
    st.subheader(chapter.title)
    st.markdown("\n\n".join(map(describe, chapter.term)))


def describe(term: Term) -> str:
    """Write a term as a paragraph of Markdown, with the ways to where it is shown."""
    page, _, query = term.open.partition("?")
    place = f"{'.' if page == 'explore' else page}{f'?{query}' if query else ''}"
    ways = [f"[{term.where}]({place})"]
    if term.lesson:
        ways.append(f"[lesson](.?lesson={term.lesson})")
    return f"**{term.name}**: {term.sentence} {' · '.join(ways)}"


page()
