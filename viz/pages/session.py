"""What every page begins with: its question, the photo, the model, and the view.

The choices are the same on every page, and in every page's address.
"""

from dataclasses import dataclass, replace

import streamlit as st

from model import zoo
from model.recorder import NothingRecorded
from viz.pages import picture
from viz.pages.look import Look, NothingToShow, load, look_at
from viz.pages.picture import Picture
from viz.pages.view import View, fit, from_address, to_address


@dataclass(frozen=True)
class Session:
    """What is on the table: a picture, a model, what it did with it, and the view of that."""

    picture: Picture
    bundle: zoo.Bundle
    look: Look
    view: View


def begin(question: str, lead: str) -> Session:
    """Show a page's heading and the row of choices; what was chosen.

    Args:
        question: the question that the page answers.
        lead: what to do first, in one or two sentences of Markdown.
    """
    words = dict(st.query_params)
    fresh = "view" not in st.session_state
    notes = _start(words) if fresh else []
    st.title(question)
    st.markdown(lead)
    bundle = load(_choose())
    shown = picture.current()
    look = _look(bundle, shown)
    if fresh:
        st.session_state.view, more = from_address(words, look.layers)
        notes += more
    if notes:
        st.caption(" ".join(notes))
    st.session_state.view = fit(st.session_state.view, look.layers)
    return Session(shown, bundle, look, st.session_state.view)


def _look(bundle: zoo.Bundle, shown: Picture) -> Look:
    try:
        return look_at(bundle, shown.key, shown.image)
    except (NothingRecorded, NothingToShow) as problem:
        st.error(str(problem), icon=":material/error:")
        st.stop()


def change_view(**changes: object) -> None:
    """Change the view from Python: the explorer takes it over from its next payload."""
    st.session_state.view = replace(st.session_state.view, **changes)
    st.session_state.revision += 1


def write_address(session: Session) -> None:
    """Let the address say what is shown; the last thing that a page does."""
    words = {"photo": session.picture.sample or "own", "model": session.bundle.name}
    st.query_params.from_dict(words | to_address(st.session_state.view, session.look.layers))


def _start(words: dict[str, str]) -> list[str]:
    """Begin a session from the address; notes for what could not be had."""
    st.session_state.revision = 0
    notes = [note] if (note := picture.start(words.get("photo"))) else []
    names = zoo.names()
    st.session_state.model = words.get("model", names[0])
    if st.session_state.model not in names:
        notes.append(f"There is no model of the name in the link; showing {names[0]}.")
        st.session_state.model = names[0]
    return notes


def _choose() -> str:
    """The row of choices; the name of the model."""
    sample_column, model_column, upload_column = st.columns([4, 3, 4], gap="medium")
    with sample_column:
        picture.sample_choice()
    with upload_column:
        picture.upload()
    with model_column:
        return st.selectbox("Model", zoo.names(), key="model", format_func=_model_title)


def _model_title(name: str) -> str:
    return load(name).card.get("title", name)
