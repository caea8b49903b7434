"""What every page begins with: its question, the photo, the model, and the view.

The choices are the same on every page, and in every page's address.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from model import zoo
from model.errors import NothingRecorded, NothingToShow
from viz.pages.shared import open_models, picture
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import ShownImage, recorded_image
from viz.pages.shared.text import plain
from viz.pages.shared.view import View, carry_over, fit, from_address, to_address


@dataclass(frozen=True)
class Session:
    """What is on the table: a picture, a model, what it did with it, and the view of that."""

    picture: Picture
    bundle: zoo.Bundle
    look: ShownImage
    view: View


def begin(question: str, lead: str, paste: bool = False) -> Session:
    """Show a page's heading and the row of choices; what was chosen.

    Args:
        question: the question that the page answers.
        lead: what to do first, in one or two sentences of Markdown.
        paste: whether the page has an explorer, which takes a picture that is pasted.
    """
    words = dict(st.query_params)
    notes = start()
    st.title(question)
    st.markdown(lead)
    bundle = open_model(_choose(paste))
    return see(bundle, picture.current(), words, notes)


def see(
    bundle: zoo.Bundle, shown: Picture, words: Mapping[str, str], notes: Sequence[str]
) -> Session:
    """A model's look at a picture, and the view of it.

    Args:
        words: of the address, from which the view begins.
        notes: what could not be had, in sentences to show.
    """
    look = _look(bundle, shown)
    if "view" not in st.session_state:
        st.session_state.view, more = from_address(words, look.layers, look.numbers)
        notes = [*notes, *more]
    if notes:
        st.caption(" ".join(notes))
    _carry_over(look)
    return Session(shown, bundle, look, st.session_state.view)


def _carry_over(look: ShownImage) -> None:
    """Take the view along where the model is another one, or records other layers.

    The explorer has its own copy of the view, so it must hear of a change.
    """
    state, now = st.session_state, (look.layers, look.numbers)
    before = state.get("recorded", now)
    view = fit(state.view, look.layers) if before == now else carry_over(state.view, before, now)
    state.recorded = now
    if view != state.view:
        change_view(**vars(view))


def _look(bundle: zoo.Bundle, shown: Picture) -> ShownImage:
    try:
        return recorded_image(bundle, shown.key, shown.image, chosen_layers(bundle.name))
    except (NothingRecorded, NothingToShow) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        st.stop()


def change_view(**changes: object) -> None:
    """Change the view from Python: the explorer takes it over from its next payload."""
    st.session_state.view = replace(st.session_state.view, **changes)
    st.session_state.revision += 1


def write_address(session: Session) -> None:
    """Let the address say what is shown; the last thing that a page does."""
    words = {"photo": session.picture.sample or "own", "model": session.bundle.name}
    look = session.look
    st.query_params.from_dict(words | to_address(st.session_state.view, look.layers, look.numbers))


def chosen_layers(model: str) -> tuple[int, ...] | None:
    """Which layers of a model to record, from zero; None for all."""
    return st.session_state.get("layers", {}).get(model)


def start(also: Sequence[str] = ()) -> list[str]:
    """Begin a session from the address, once; notes for what could not be had.

    Args:
        also: models that this page alone can show; a link to one of them is the page's affair.
    """
    if "revision" in st.session_state:
        return []
    words = dict(st.query_params)
    st.session_state.revision = 0
    notes = [note] if (note := picture.start(words.get("photo"))) else []
    usual = zoo.names()[0]
    model = words.get("model", usual)
    if model in also:
        model = usual
    if not _offered(model):
        notes.append(f"The link names a model that is not open here; {usual} takes its place.")
        model = usual
    st.session_state.model = model
    return notes


def _offered(model: str) -> bool:
    """Whether a link's model can be chosen now; one that is open for others is offered here too."""
    if not open_models.is_open(model):
        return False
    if model not in open_models.open_names():
        try:
            open_models.open_by_name(model)
        except (zoo.ModelNotFound, zoo.ModelRejected):  # it had to go in this moment, or is broken
            return False
    return True


def open_model(name: str) -> zoo.Bundle:
    """The model; the first one and a sentence where it is gone or broken."""
    try:
        return open_models.open_model_named(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        return open_models.open_model_named(zoo.names()[0])


def model_choice() -> str:
    """The field in which a model is chosen; its name."""
    st.session_state.model_choice = st.session_state.model  # a widget forgets between pages
    st.selectbox(
        "Model",
        open_models.open_names(),
        key="model_choice",
        format_func=open_models.model_title,
        on_change=_take_model,
    )
    return st.session_state.model


def _take_model() -> None:
    st.session_state.model = st.session_state.model_choice


def _choose(paste: bool) -> str:
    """The row of choices; the name of the model."""
    sample_column, model_column, upload_column = st.columns([4, 3, 4], gap="medium")
    with sample_column:
        picture.sample_choice()
    with upload_column:
        picture.upload(paste)
    with model_column:
        return model_choice()
