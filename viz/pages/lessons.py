"""Lessons: the way into the subject, step by step on the real pages."""

import streamlit as st

from viz.components import mounts
from viz.components.payload import pack
from viz.lessons.lesson import Lesson
from viz.lessons.reading import Mistake
from viz.lessons.sheet import write_sheet
from viz.pages.shared.browser import write_address
from viz.pages.shared.explained import show_heading
from viz.pages.shared.running_lesson import shipped_and_own
from viz.pages.shared.session import begin_session
from viz.pages.shared.state import Lessons
from viz.pages.shared.text import plain


def page() -> None:
    """Show the whole page, top to bottom."""
    begin_session()
    show_heading(
        "What would you like to understand?",
        "Each lesson takes you through the pages of this app: it shows something, lets you try or "
        "guess, and then explains.",
    )
    library = shipped_and_own()
    lessons = [each for each in library.lessons.values() if each.kind == "lesson"]
    for mistake in library.mistakes:
        _show_mistake(mistake)
    if not lessons:
        st.info("This server has no lessons.", icon=":material/info:")
    else:
        _show_list(lessons)
        _show_teachers_part(lessons)
    write_address(Lessons.about.url_params())


def _show_mistake(mistake: Mistake) -> None:
    st.warning(plain(str(mistake)), icon=":material/edit_note:")


def _show_list(lessons: list[Lesson]) -> None:
    header = {
        "lessons": [
            each.model_dump(include={"name", "title", "question", "minutes"})
            | {"places": each.places, "asked": each.asked}
            for each in lessons
        ]
    }
    mounts.lesson_list(pack(header), key=Lessons.list.name)


def _show_teachers_part(lessons: list[Lesson]) -> None:
    st.subheader("For teachers")
    by_name = {each.name: each for each in lessons}
    Lessons.about.begin(by_name, default=lessons[0].name)
    name = st.selectbox(
        "Lesson",
        list(by_name),
        key=Lessons.about.name,
        format_func=lambda name: by_name[name].title,
        label_visibility="collapsed",
        width=360,
    )
    lesson = by_name[name]
    if lesson.teacher:
        _show_notes(lesson)
    with st.container(horizontal=True):
        st.download_button(
            "Sheet for the class",
            write_sheet(lesson),
            f"saccade-{lesson.name}.html",
            "text/html",
            icon=":material/print:",
            help="One page to print: what to do at each step, with space for answers, and the "
            "questions. The answers stand on a page of their own.",
        )
    st.caption(f"A link to this lesson ends in `/?lesson={lesson.name}`. {OWN_LESSONS}")


OWN_LESSONS = (
    "You can write lessons of your own: docs/lessons.md says how, and the server reads them from "
    "the folder that `streamlit run app.py -- --lessons FOLDER` names."
)


def _show_notes(lesson: Lesson) -> None:
    assert lesson.teacher is not None
    show, wrong = st.columns(2, gap="large")
    with show:
        st.markdown(f"**What to show** ({lesson.minutes} minutes)")
        st.markdown("\n".join(f"{i}. {each}" for i, each in enumerate(lesson.teacher.show, 1)))
    with wrong:
        st.markdown("**What students often get wrong**")
        st.markdown("\n".join(f"- {each}" for each in lesson.teacher.misconceptions))


page()
