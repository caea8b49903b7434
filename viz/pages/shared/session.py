"""The beginning of every page: its question, the photo, the model, and the view of both.

The choices are the same on every page, and in every page's address.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from model import zoo
from model.bundle import Bundle
from model.errors import NothingRecorded, NothingToShow
from viz.pages.shared import address, course, open_models, picture
from viz.pages.shared.browser import change_view, shown_view
from viz.pages.shared.choices_row import begin_row
from viz.pages.shared.explained import show_heading
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import ShownImage, recorded_image
from viz.pages.shared.state import Shared, read_link
from viz.pages.shared.text import plain
from viz.pages.shared.use_as_b import offer_as_b
from viz.pages.shared.view import View, carry_over, fit_view, view_from_address, view_url_params
from viz.server.first_action import browser_brought

PLAIN = ("photos-plain", "cifar10-plain")
"""Vision transformers as the textbook has them; the first one that is shipped is taken."""


@dataclass(frozen=True)
class Session:
    """What a page shows: a picture, a model, what was recorded of both, and the view of that."""

    picture: Picture
    bundle: Bundle
    recorded: ShownImage
    view: View


def begin_page(
    question: str,
    lead: str,
    paste: bool = False,
    plain_net: bool = False,
    as_b: bool = True,
    show_help: Callable[[], None] | None = None,
) -> Session:
    """Show a page's heading and the row of choices; return what was chosen.

    Args:
        question: the question that the page answers.
        lead: what to do first, in one or two sentences; their terms are explained.
        paste: whether the page has an explorer, which takes a picture that is pasted.
        plain_net: whether the page begins with a plain vision transformer, see `begin_session`.
        as_b: whether the view can be taken to Compare, as B.
        show_help: shows a button beside the question that opens what the picture means.
    """
    url_params = read_link()
    notes = begin_session(plain_net=plain_net)
    beside = show_heading(question, lead)
    if show_help is not None:
        with beside:
            show_help()
    bundle, below_model = _show_choices(paste)
    bundle = course.choose_moment(bundle)
    session = record_session(bundle, picture.chosen_picture(), url_params, notes)
    if as_b:
        with below_model:
            offer_session_as_b(session)
    return session


def offer_session_as_b(session: Session, method: str = "attention") -> None:
    """Show the button that opens Compare with this view as B."""
    view = session.view
    number = session.recorded.numbers[view.layer]
    offer_as_b(session.bundle.name, session.picture, number, view.head, method)


def record_session(
    bundle: Bundle, shown: Picture, url_params: Mapping[str, str], notes: Sequence[str]
) -> Session:
    """Record a model's attention over a picture, and find the view of it.

    Args:
        url_params: the address, from which the view begins.
        notes: what could not be had, in sentences to show.
    """
    recorded = _record(bundle, shown)
    view = Shared.view.get()
    if view is None:
        view, more = view_from_address(url_params, recorded.layers, recorded.numbers)
        Shared.view.set(view)
        notes = [*notes, *more]
    if notes:
        st.caption(" ".join(notes))
    return Session(shown, bundle, recorded, _follow_model(view, recorded))


def _follow_model(view: View, recorded: ShownImage) -> View:
    """Take the view along where the model is another one, or records other layers.

    The explorer has its own copy of the view, so it must hear of a change.
    """
    now = (recorded.layers, recorded.numbers)
    before = Shared.recorded.get() or now
    fitted = fit_view(view, recorded.layers) if before == now else carry_over(view, before, now)
    Shared.recorded.set(now)
    if fitted != view:
        change_view(**vars(fitted))
    return fitted


def _record(bundle: Bundle, shown: Picture) -> ShownImage:
    try:
        return recorded_image(bundle, shown.key, shown.image, chosen_layers(bundle.name))
    except (NothingRecorded, NothingToShow) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        st.stop()


def session_url_params(session: Session) -> dict[str, str]:
    """Write what is shown into the parameters of an address: photo, model and view."""
    recorded = session.recorded
    return (
        address.PHOTO.write(session.picture.name_in_link)
        | address.MODEL.write(course.name_without_moment(session.bundle.name))
        | Shared.epoch.url_params()
        | view_url_params(shown_view(), recorded.layers, recorded.numbers)
    )


def chosen_layers(model: str) -> tuple[int, ...] | None:
    """Return which layers of a model to record, from zero; None for all."""
    return Shared.layers.get().get(model)


def begin_session(also: Sequence[str] = (), plain_net: bool = False) -> list[str]:
    """Begin a session from the address, once; return notes for what could not be had.

    Args:
        also: models that this page alone can show; a link to one of them is the page's affair.
        plain_net: whether a session without a model begins with a plain vision transformer, since
            convolutions before the first token would spoil the page's lesson.
    """
    if Shared.model.is_set:
        return []
    url_params = read_link()
    notes = [note] if (note := picture.begin_photo(address.PHOTO.read(url_params))) else []
    default = next(filter(zoo.names().__contains__, PLAIN if plain_net else ()), zoo.names()[0])
    model = address.MODEL.read(url_params)
    if model is None or model in also:
        model = default
    if not _offer_linked(model):
        notes.append(f"The link names a model that is not open here; {default} takes its place.")
        model = default
    Shared.model.set(model)
    return notes


def _offer_linked(model: str) -> bool:
    """Offer the model that a link names, if it is open for somebody; say whether it is."""
    if not open_models.is_open(model):
        return False
    if model not in open_models.open_names():
        try:
            open_models.open_by_name(model)
        except (zoo.ModelNotFound, zoo.ModelRejected):  # it had to go in this moment, or is broken
            return False
    return True


def open_or_replace(name: str) -> Bundle:
    """Open a model, or the first one with a sentence where it is gone or broken."""
    try:
        return open_models.open_model_named(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        return open_models.open_model_named(zoo.names()[0])


def show_model_choice() -> str:
    """Show the field in which a model is chosen; return its name."""
    if not browser_brought(Shared.model_choice.name):
        Shared.model_choice.set(Shared.model.get())  # a widget forgets between pages
    chosen = st.selectbox(
        "Model",
        open_models.open_names(),
        key=Shared.model_choice.name,
        format_func=open_models.model_title,
        on_change=_take_model,
        label_visibility="collapsed",
    )
    if chosen != Shared.model.get():
        _take_model()
    return Shared.model.get()


def _take_model() -> None:
    Shared.model.set(Shared.model_choice.get())


def _show_choices(paste: bool) -> tuple[Bundle, DeltaGenerator]:
    """Show the row of choices; return the model, and the place at the end of the row."""
    row = begin_row()
    with row.model:
        bundle = open_or_replace(show_model_choice())
    with row.photo:
        picture.show_sample_choice(bundle)
    with row.upload:
        picture.show_upload(paste)
    if paste:
        with row.end, st.container(key=Shared.video.name, width="content"):
            st.page_link("video.py", label="Video or camera", icon=":material/movie:")
    return bundle, row.end
