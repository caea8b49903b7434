"""What the Attribution page explains: a class of a classifier, or a word of a captioner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from model import zoo
from model.captioning.caption import Caption, CaptionBundle
from model.datasets import scenes
from model.zoo import checkpoints
from model.zoo.cards import read_card
from viz.components.payload import photo_bytes
from viz.pages.attribution_maps import Target, probabilities
from viz.pages.shared import open_models, picture, scene
from viz.pages.shared.captions_written import Question, caption_of, first_telling
from viz.pages.shared.picture import Picture
from viz.pages.shared.session import Session, open_model, see, start, write_address
from viz.pages.shared.text import plain
from viz.pages.shared.url_params import set_url_params
from viz.pages.shared.view import View, drawn_as

BEST = 5
QUESTION = "Which patches does the answer rest on?"
LEAD = (
    "Choose a class, or with a captioner a word of its caption. Each picture is another method's "
    "view of what speaks for it: from plain attention, which knows no class, to methods that ask "
    "how the answer would change. They do not agree, and that is the first thing to learn from "
    "them."
)
SILENT = "The captioner says nothing about this picture, so there is no word to explain."


@dataclass(frozen=True)
class Drawn:
    """What a word names in a drawn scene: its name and its box, as shares of the picture."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    """A picture, a model, and what of its answer is to be explained."""

    bundle: zoo.Bundle
    picture: Picture
    target: Target
    name: str  # of the class, or the word in quotation marks
    photo: bytes  # JPEG of what the model sees
    view: View
    session: Session | None = None  # of a classifier
    scene: bool = False
    drawn: Drawn | None = None  # what the word names, in a scene
    word: int | None = None  # its place in the caption

    @property
    def said(self) -> str:
        """The name, as Markdown shows it letter by letter."""
        return plain(self.name)


def begin() -> Case:
    """The page's heading and all choices; what was chosen."""
    words = dict(st.query_params)
    asked = _begin_captioner(words.get("model", ""))
    notes = start(also=open_models.open_names("caption"))
    scene.begin(words if asked else {})
    st.title(QUESTION)
    st.markdown(LEAD)
    what, which, own = st.columns([4, 3, 4], gap="medium")
    with which:
        bundle = open_model(_choose_model())
    if isinstance(bundle, CaptionBundle):
        with what:
            drawn = scene.chosen(bundle, "explained")
        if drawn:
            with own:
                drawn = scene.current()
            return _word(bundle, *drawn, words, notes)
    with what:
        picture.sample_choice()
    with own:
        picture.upload()
    if isinstance(bundle, CaptionBundle):
        return _word(bundle, picture.current(), None, words, notes)
    return _class(see(bundle, picture.current(), words, notes))


def note_case(case: Case) -> None:
    """Let the address say what is explained; the last thing that the page does."""
    about = _about(case.bundle, case.picture)
    if case.session is not None:
        write_address(case.session)
        set_url_params(**{"class": (case.name if _is_chosen(about) else None, None)})
        return
    place = {"scene": st.session_state.scene} if case.scene else {"photo": _photo(case.picture)}
    words = {**place, "model": case.bundle.name, "word": case.word + 1}
    st.query_params.from_dict({name: str(value) for name, value in words.items()})
    set_url_params(
        colors=(case.view.colors, View.colors),
        opacity=(case.view.opacity, View.opacity),
        smooth=("yes" if case.view.smooth else "no", "no"),
    )


def _photo(shown: Picture) -> str:
    return shown.sample or "own"


def _about(bundle: zoo.Bundle, shown: Picture) -> tuple[str, str]:
    """A choice is for one photo and one model; others begin with the usual one."""
    return bundle.name, shown.key


# -- the model ------------------------------------------------------------------------------------


def _begin_captioner(asked: str) -> bool:
    """Begin with the captioner that a link names, once; whether it names one.

    Nothing is fetched because of a link.
    """
    state = st.session_state
    known = open_models.is_open(asked, "caption")
    if "explained" not in state:
        state.explained = asked if known else None
        if known:
            open_models.open_by_name(asked, "caption")
    return known


def _choose_model() -> str:
    """The field in which a model is chosen: captioners too, which the other pages cannot show."""
    names = [*open_models.open_names(), *open_models.open_names("caption")]
    st.session_state.model_choice = st.session_state.explained or st.session_state.model
    return st.selectbox(
        "Model", names, key="model_choice", format_func=_title, on_change=_take_model
    )


def _take_model() -> None:
    name = st.session_state.model_choice
    if name in open_models.open_names("caption"):
        st.session_state.explained = name
    else:
        st.session_state.explained, st.session_state.model = None, name


def _title(name: str) -> str:
    file = checkpoints.DIRECTORY / f"{name}.safetensors"
    if name in zoo.names() or not file.is_file():
        return open_models.model_title(name)
    return read_card(file).title or name


# -- a class --------------------------------------------------------------------------------------


def _class(session: Session) -> Case:
    """The class to explain: one of the likeliest, or any other."""
    bundle, shown = session.bundle, session.picture
    about = _about(bundle, shown)
    likely = probabilities(bundle, shown.key, shown.image)
    order = np.argsort(-likely, kind="stable")
    _begin_class(bundle, about, len(likely))
    target = st.session_state.target if _is_chosen(about) else int(order[0])
    options = order[:BEST].tolist()
    if target not in options:
        options.append(target)
    st.session_state.likely_class, st.session_state.any_class = target, None
    best_column, other_column = st.columns([3, 1], gap="medium", vertical_alignment="bottom")
    with best_column:
        st.pills(
            "For which class",
            options,
            key="likely_class",
            required=True,
            wrap=True,
            on_change=_take_class,
            args=("likely_class", about),
            format_func=lambda i: f"{plain(class_name(bundle, i))}  {_percent(likely[i])}",
        )
    with other_column:
        st.selectbox(
            "Any other class",
            order.tolist(),
            key="any_class",
            index=None,
            placeholder="Type to find one",
            on_change=_take_class,
            args=("any_class", about),
            format_func=lambda i: class_name(bundle, i),
        )
    name = class_name(bundle, target)
    return Case(bundle, shown, target, name, session.look.photo, session.view, session)


def class_name(bundle: zoo.Bundle, index: int) -> str:
    """How the page calls a class."""
    return bundle.classes[index] if bundle.classes else f"output {index + 1}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def _begin_class(bundle: zoo.Bundle, about: tuple[str, str], classes: int) -> None:
    """The class that a link names, once."""
    if "target" in st.session_state:
        return
    st.session_state.target = st.session_state.target_of = None
    word = st.query_params.get("class")
    names = [class_name(bundle, i) for i in range(classes)]
    if word in names:
        st.session_state.target, st.session_state.target_of = names.index(word), about
    elif word is not None:
        st.caption("The link names a class that this model does not have.")


def _is_chosen(about: tuple[str, str]) -> bool:
    return st.session_state.get("target_of") == about


def _take_class(key: str, about: tuple[str, str]) -> None:
    if st.session_state[key] is not None:
        st.session_state.target, st.session_state.target_of = st.session_state[key], about


# -- a word ---------------------------------------------------------------------------------------


def _word(
    bundle: CaptionBundle,
    shown: Picture,
    drawn: scenes.Scene | None,
    words: Mapping[str, str],
    notes: Sequence[str],
) -> Case:
    """The word to explain: one of the captioner's own words about the picture.

    ``words``: of the address, which says how to draw where no classifier's view does.
    """
    view = st.session_state.get("view")
    if view is None:
        view, of_view = drawn_as(words)
        notes = [*notes, *of_view]
    if notes:
        st.caption(" ".join(notes))
    if bundle.knows_only_scenes and drawn is None:
        st.info(scene.STRANGE, icon=":material/info:")
    caption = caption_of(bundle, shown, Question(bundle.name, shown.key))
    if not caption.words:
        st.info(SILENT, icon=":material/info:")
        st.stop()
    named = {} if drawn is None else _named(caption, drawn)
    place = _choose_word(caption, named, _about(bundle, shown))
    return Case(
        bundle,
        shown,
        bundle.word(caption.words, place),
        f"“{caption.words[place]}”",
        photo_bytes(scene.enlarged(bundle.frame(shown.image))),
        view,
        scene=drawn is not None,
        drawn=named.get(place),
        word=place,
    )


def _choose_word(caption: Caption, named: dict[int, Drawn], about: tuple[str, str]) -> int:
    state, count = st.session_state, len(caption.words)
    if "word_of" not in state:  # the word that a link names, once
        asked = st.query_params.get("word", "")
        known = asked.isascii() and asked.isdigit() and 1 <= int(asked[:4]) <= count
        state.word_of = (int(asked[:4]) - 1, about) if known else None
    place, of = state.word_of or (0, None)
    usual = _usual_word(caption.words, named)
    state.word_choice = place if of == about and place < count else usual
    return st.pills(
        "For which word of its caption, and how sure it was",
        range(count),
        key="word_choice",
        required=True,
        wrap=True,
        on_change=_take_word,
        args=(about,),
        format_func=lambda i: (
            f"{plain(caption.words[i])}  {_percent(float(np.exp(caption.logprobs[i])))}"
        ),
    )


def _take_word(about: tuple[str, str]) -> None:
    st.session_state.word_of = st.session_state.word_choice, about


def _usual_word(words: Sequence[str], named: dict[int, Drawn]) -> int:
    """The colour of the first thing that is named, or else the first word that may name one."""
    if named:
        return min(named) + 1
    return first_telling(words)


def _named(caption: Caption, drawn: scenes.Scene) -> dict[int, Drawn]:
    """What each word names that names something which is there."""
    return {
        word: Drawn(
            " ".join(drawn.objects[number].words),
            tuple(edge / scenes.SIDE for edge in drawn.objects[number].box),
        )
        for word, number, _ in scenes.find_named_objects(caption.words, drawn)
    }
