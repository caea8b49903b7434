"""The choice of a target: a class of a classifier, or a word of a captioner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from model.bundle import Bundle
from model.captioning.caption import Caption, CaptionBundle
from model.datasets import scenes
from viz.components.draw_style import DrawStyle
from viz.pages.attribution_maps import Target, probabilities
from viz.pages.shared import address, open_models, picture, scene
from viz.pages.shared.captions_written import Question, caption_of, first_telling
from viz.pages.shared.choices_row import begin_row
from viz.pages.shared.explained import show_heading
from viz.pages.shared.photos import framed_photo
from viz.pages.shared.picture import Picture
from viz.pages.shared.session import (
    Session,
    begin_session,
    open_or_replace,
    record_session,
    session_url_params,
)
from viz.pages.shared.state import Attribution, Key, Scene, Shared, read_link
from viz.pages.shared.text import plain
from viz.pages.shared.view import style_from_address
from viz.pictures.lettering import percent

BEST = 5
QUESTION = "Which patches does the answer rest on?"
LEAD = (
    "Choose a class, or with a captioner a word of its caption. Each map shows the patches that "
    "one method finds important for it. The methods do not agree, and that is the first thing to "
    "learn."
)
SILENT = "The captioner says nothing about this picture, so there is no word to explain."

About = tuple[str, str]
"""A model and a picture: a choice is for one pair, and others begin with the default."""


@dataclass(frozen=True)
class Drawn:
    """What a word names in a drawn scene: its name and its box, as shares of the picture."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    """A picture, a model, and the part of its answer to explain."""

    bundle: Bundle
    picture: Picture
    target: Target
    name: str  # of the class, or the word in quotation marks
    photo: bytes  # JPEG of what the model sees
    style: DrawStyle
    session: Session | None = None  # of a classifier
    scene: bool = False
    drawn: Drawn | None = None  # what the word names, in a scene
    word: int | None = None  # its place in the caption

    @property
    def plain_name(self) -> str:
        """The name, as Markdown shows it letter by letter."""
        return plain(self.name)

    @property
    def about(self) -> About:
        """The model and the picture."""
        return self.bundle.name, self.picture.key


def choose_case() -> Case:
    """Show the page's heading and all choices; return what was chosen."""
    url_params = read_link()
    asked = _begin_captioner(address.MODEL.read(url_params) or "")
    notes = begin_session(also=open_models.captioners_of_photos())
    scene.begin_scene(url_params if asked else {})
    show_heading(QUESTION, LEAD)
    row = begin_row()
    with row.model:
        bundle = open_or_replace(_choose_model())
    if isinstance(bundle, CaptionBundle):
        with row.subject:
            draws = scene.choose_subject(bundle, Attribution.explained)
        if draws:
            with row.photo:
                shown, drawn = scene.choose_scene()
            scene.show_what_was_drawn(drawn)
            return _word_case(bundle, shown, drawn, url_params, notes)
    with row.photo:
        picture.show_sample_choice(bundle)
    with row.upload:
        picture.show_upload()
    shown = picture.chosen_picture()
    if isinstance(bundle, CaptionBundle):
        return _word_case(bundle, shown, None, url_params, notes)
    return _class_case(record_session(bundle, shown, url_params, notes))


def case_url_params(case: Case) -> dict[str, str]:
    """Write what is explained into the parameters of an address."""
    if case.session is not None:
        named = address.CLASS.write(case.name) if _chosen_class(case.about) is not None else {}
        return session_url_params(case.session) | named
    number = Scene.number
    return (
        (
            number.param.write(number.get())
            if case.scene
            else address.PHOTO.write(case.picture.name_in_link)
        )
        | address.MODEL.write(case.bundle.name)
        | address.WORD.write(case.word)
        | address.COLORS.write_changed(case.style.colors)
        | address.OPACITY.write_changed(case.style.opacity)
        | address.SMOOTH.write_changed(case.style.smooth)
    )


# -- the model ------------------------------------------------------------------------------------


def _begin_captioner(asked: str) -> bool:
    """Begin with the captioner that a link names, once; return whether it names one.

    Nothing is fetched because of a link.
    """
    known = open_models.is_open(asked, "caption")
    if not Attribution.explained.is_set:
        Attribution.explained.set(asked if known else None)
        if known:
            open_models.open_by_name(asked, "caption")
    return known


def _choose_model() -> str:
    """Show the field in which a model is chosen: captioners too, unlike on other pages."""
    names = [*open_models.open_names(), *open_models.captioners_of_photos()]
    Shared.model_choice.set(Attribution.explained.get() or Shared.model.get())
    return st.selectbox(
        "Model",
        names,
        key=Shared.model_choice.name,
        format_func=open_models.model_title,
        on_change=_take_model,
        label_visibility="collapsed",
    )


def _take_model() -> None:
    name = Shared.model_choice.get()
    if name in open_models.open_names("caption"):
        Attribution.explained.set(name)
    else:
        Attribution.explained.set(None)
        Shared.model.set(name)


# -- a class --------------------------------------------------------------------------------------


def _class_case(session: Session) -> Case:
    """Choose the class to explain: one of the likeliest, or any other."""
    bundle, shown = session.bundle, session.picture
    about = (bundle.name, shown.key)
    likely = probabilities(bundle, shown.key, shown.image)
    order = np.argsort(-likely, kind="stable")
    _begin_class(bundle, about, len(likely))
    chosen = _chosen_class(about)
    target = int(order[0]) if chosen is None else chosen
    options = order[:BEST].tolist()
    if target not in options:
        options.append(target)
    Attribution.likely_class.set(target)
    Attribution.any_class.set(None)
    best_column, other_column = st.columns([3, 1], gap="medium", vertical_alignment="bottom")
    with best_column:
        st.pills(
            "For which class",
            options,
            key=Attribution.likely_class.name,
            required=True,
            wrap=True,
            on_change=_take_class,
            args=(Attribution.likely_class, about),
            format_func=lambda i: f"{plain(class_name(bundle, i))}  {_percent(float(likely[i]))}",
        )
    with other_column:
        st.selectbox(
            "Any other class",
            order.tolist(),
            key=Attribution.any_class.name,
            index=None,
            placeholder="Type to find one",
            on_change=_take_class,
            args=(Attribution.any_class, about),
            format_func=lambda i: class_name(bundle, i),
        )
    name = class_name(bundle, target)
    photo, style = session.recorded.photo, session.view.style
    return Case(bundle, shown, target, name, photo, style, session)


def class_name(bundle: Bundle, index: int) -> str:
    """Name a class as the page does."""
    return bundle.classes[index] if bundle.classes else f"output {index + 1}"


def _percent(share: float) -> str:
    return percent(share, 0 if share >= 0.01 else 1)


def _begin_class(bundle: Bundle, about: About, classes: int) -> None:
    """Begin with the class that a link names, once."""
    if Attribution.target.is_set:
        return
    linked = address.CLASS.read(read_link())
    names = [class_name(bundle, i) for i in range(classes)]
    Attribution.target.set((names.index(linked), about) if linked in names else None)
    if linked is not None and linked not in names:
        st.caption("The link names a class that this model does not have.")


def _chosen_class(about: About) -> int | None:
    """Return the class that was chosen for this model and picture, if one was."""
    target, chosen_for = Attribution.target.get() or (None, None)
    return target if chosen_for == about else None


def _take_class(key: Key[int | None], about: About) -> None:
    if (target := key.get()) is not None:
        Attribution.target.set((target, about))


# -- a word ---------------------------------------------------------------------------------------


def _word_case(
    bundle: CaptionBundle,
    shown: Picture,
    drawn: scenes.Scene | None,
    url_params: Mapping[str, str],
    notes: Sequence[str],
) -> Case:
    """Choose the word to explain: one of the captioner's own words about the picture.

    ``url_params``: the address, which says how to draw where no classifier's view does.
    """
    view, notes = Shared.view.get(), list(notes)
    style = view.style if view else style_from_address(url_params, notes)
    if notes:
        st.caption(" ".join(notes))
    if bundle.knows_only_scenes and drawn is None:
        st.info(scene.STRANGE, icon=":material/info:")
    caption = caption_of(bundle, shown, Question(bundle.name, shown.key))
    if not caption.words:
        st.info(SILENT, icon=":material/info:")
        st.stop()
    named = {} if drawn is None else _named(caption, drawn)
    place = _choose_word(caption, named, (bundle.name, shown.key))
    return Case(
        bundle,
        shown,
        bundle.word(caption.words, place),
        f"“{caption.words[place]}”",
        framed_photo(bundle, shown),
        style,
        scene=drawn is not None,
        drawn=named.get(place),
        word=place,
    )


def _choose_word(caption: Caption, named: dict[int, Drawn], about: About) -> int:
    """Show the words; return the place of the one that is chosen."""
    count = len(caption.words)
    if not Attribution.word.is_set:
        linked = address.WORD.read(read_link())
        Attribution.word.set((linked, about) if linked is not None and linked < count else None)
    place, chosen_for = Attribution.word.get() or (0, None)
    if chosen_for != about or place >= count:
        place = _default_word(caption.words, named)
    Attribution.word_choice.set(place)
    st.pills(
        "For which word of its caption, and how sure it was",
        range(count),
        key=Attribution.word_choice.name,
        required=True,
        wrap=True,
        on_change=_take_word,
        args=(about,),
        format_func=lambda i: (
            f"{plain(caption.words[i])}  {_percent(float(np.exp(caption.logprobs[i])))}"
        ),
    )
    return Attribution.word_choice.get()


def _take_word(about: About) -> None:
    Attribution.word.set((Attribution.word_choice.get(), about))


def _default_word(words: Sequence[str], named: dict[int, Drawn]) -> int:
    """Find the colour of the first thing that is named, or the first word that may name one."""
    if named:
        return min(named) + 1
    return first_telling(words)


def _named(caption: Caption, drawn: scenes.Scene) -> dict[int, Drawn]:
    """Find what each word names, of the things that are there."""
    named = {}
    for word, number, _ in scenes.find_named_objects(caption.words, drawn):
        thing = drawn.objects[number]
        left, top, right, bottom = (edge / scenes.SIDE for edge in thing.box)
        named[word] = Drawn(" ".join(thing.words), (left, top, right, bottom))
    return named
