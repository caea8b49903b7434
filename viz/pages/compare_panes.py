"""What A and B show: the choices of each, and the map that follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from model.bundle import Bundle
from model.datasets import samples
from model.errors import NothingRecorded, NothingToShow
from model.recorded_image import Layer
from viz.components.compare_payload import PaneHeader
from viz.export.names import prefix_name
from viz.pages.attribution_maps import map_of, probabilities
from viz.pages.attribution_texts import METHODS
from viz.pages.shared import course, model_variants, open_models
from viz.pages.shared.address import HEADS_FUSED
from viz.pages.shared.browser import browser_pass, change_view
from viz.pages.shared.photos import grant_photo
from viz.pages.shared.picture import OWN, Picture, picture_named, samples_beside
from viz.pages.shared.recorded_answers import RecordedSource
from viz.pages.shared.recorded_images import ALL_ROWS, ShownImage, recorded_image
from viz.pages.shared.session import Session, chosen_layers
from viz.pages.shared.state import Compare, Key, Setting, Shared, read_link
from viz.pages.shared.view import go_to_layer
from viz.server.first_action import browser_brought

RECORDED = ("attention", "rollout")
"""Methods whose maps come from what was recorded; those of all others come from Attribution."""
FROM = {"patch": "the chosen token", "mean": "all patches, averaged"}
WHOLE = (0.0, 0.0, 1.0, 1.0)
WIDTH = 230  # of a select box, in pixels


@dataclass(frozen=True)
class Viewed:
    """A model and the photo that it views; ``missing`` says why nothing is recorded of it."""

    picture: Picture
    bundle: Bundle | None
    recorded: ShownImage | None
    missing: str = ""


@dataclass(frozen=True)
class Pane:
    """One side of the comparison."""

    subject: Viewed
    title: str
    method: str = "attention"
    layer: int = 0
    """Among the recorded layers, from zero."""
    head: str = "mean"
    """From one, or how the heads are fused."""
    token: str = "patch"
    fusion: str = "mean"
    discard: float = 0.0
    finished: np.ndarray | None = None
    """The map (rows, columns) of a method of Attribution."""
    missing: str = ""
    explained: str = ""
    """The class for which such a method made its map."""

    def header(self, of_one_photo: bool) -> PaneHeader:
        """Describe the pane for the browser.

        Places are those of the photo where both panes are of one photo, and else those of what each
        model sees.
        """
        shown, bundle = self.subject.recorded, self.subject.bundle
        if self.missing or shown is None or bundle is None:
            return PaneHeader(self.title, "", missing=self.missing or self.subject.missing)
        tokens = shown.layers[self.layer].tokens
        source = RecordedSource(
            shown.key, bundle.name, self.subject.picture.key, chosen_layers(bundle.name)
        )
        key = browser_pass().grant(source)
        return PaneHeader(
            self.title,
            self.about(shown),
            tokens.grid if self.finished is None else self.finished.shape,
            frame_of(bundle, self.subject.picture.image) if of_one_photo else WHOLE,
            tokens.prefix,
            self.method if self.finished is None else "map",
            self.layer,
            self.head if self.head in HEADS_FUSED else int(self.head) - 1,
            tokens.prefix.index(self.token) if self.token in tokens.prefix else self.token,
            self.fusion,
            self.discard,
            tokens.tokens <= ALL_ROWS,
            answers=grant_photo(shown.photo) | {"source": source.id, "key": key},
        )

    def about(self, shown: ShownImage) -> str:
        """Say what the map is, in words."""
        if self.method not in RECORDED:
            return f"{METHODS[self.method].title} for {self.explained}"
        origin = f"from {FROM.get(self.token) or prefix_name(self.token)}"
        if self.method == "rollout":
            return f"Rollout through all layers, {origin}"
        return f"Layer {shown.numbers[self.layer] + 1}, {_head_title(self.head).lower()}, {origin}"


def frame_of(bundle: Bundle, image: Image.Image) -> tuple[float, float, float, float]:
    """Return what a model sees of a photo, as shares of the photo."""
    left, top, right, bottom = bundle.frame_box(image)
    width, height = image.size
    return left / width, top / height, right / width, bottom / height


# -- A --------------------------------------------------------------------------------------------


def show_a(session: Session) -> Pane:
    """Show the choices of A, whose photo and model are those of every page."""
    with st.popover("What A shows", icon=":material/tune:"):
        Compare.code.begin()
        subject = Viewed(session.picture, session.bundle, session.recorded)
        if _show_code(Compare.code):
            subject = _without_code(subject)
        method = _show_method(Compare.method)
        if method == "attention":
            _show_layer_and_head_of_a(session)
        view = session.view
        tokens = session.recorded.layers[view.layer]
        token = _show_token(Compare.token, method, tokens)
    return _pane(
        subject, _title(subject), method, view.layer, _head_name(view.head), token, session
    )


def _show_layer_and_head_of_a(session: Session) -> None:
    """Show layer and head, which every page shares."""
    recorded, view = session.recorded, session.view
    _mirror(Compare.layer, view.layer)
    st.selectbox(
        "Layer",
        range(len(recorded.layers)),
        key=Compare.layer.name,
        width=WIDTH,
        format_func=lambda layer: f"Layer {recorded.numbers[layer] + 1}",
        on_change=_take_layer,
        args=(recorded.layers,),
    )
    _mirror(Compare.head, _head_name(view.head))
    st.selectbox(
        "Head",
        _heads_of(recorded.layers[view.layer]),
        key=Compare.head.name,
        width=WIDTH,
        format_func=_head_title,
        on_change=_take_head,
    )


def _mirror(key: Key, value: object) -> None:
    """Let a widget show a value of the view, as the choice of a model does."""
    if not browser_brought(key.name):
        key.set(value)


def _take_layer(layers: Sequence[Layer]) -> None:
    if view := Shared.view.get():
        change_view(**vars(go_to_layer(view, Compare.layer.get(), layers)))


def _take_head() -> None:
    head = Compare.head.get()
    change_view(head=head if head in HEADS_FUSED else int(head) - 1)


# -- B --------------------------------------------------------------------------------------------


def show_b(session: Session, below: DeltaGenerator) -> Pane:
    """Show the choices of B; its slider and notes go to the place `below`."""
    with st.popover("What B shows", icon=":material/tune:"):
        name, picture = _show_model_of_b(session, below), _show_photo_of_b(session, below)
        subject = _subject_of_b(name, picture, below)
        recorded = subject.recorded
        if recorded is None:
            return Pane(subject, open_models.model_title(name), missing=subject.missing)
        method = _show_method(Compare.b_method)
        numbers = [number + 1 for number in recorded.numbers]
        layer = numbers.index(Compare.b_layer.begin(numbers, default=numbers[-1]))
        heads = _heads_of(recorded.layers[layer])
        Compare.b_head.begin(heads)
        if method == "attention":
            layer = _show_layer_of_b(numbers)
            _show_head_of_b(_heads_of(recorded.layers[layer]))
        token = _show_token(Compare.b_token, method, recorded.layers[layer])
    title = _title(subject)
    if subject.picture.key != session.picture.key:
        title += f", {_photo_title(subject.picture.name_in_link)}"
    return _pane(subject, title, method, layer, Compare.b_head.get(), token, session)


def _show_model_of_b(session: Session, below: DeltaGenerator) -> str:
    own = model_variants.base_name(session.bundle.name)
    twin = own.removesuffix(open_models.RANDOM) + open_models.RANDOM
    names = ["", *open_models.open_names(), *open_models.captioners_of_photos()]
    asked = _asked(Compare.b_model)
    chosen = Compare.b_model.begin(lambda name: name in names or model_variants.can_open(name))
    if asked != chosen:
        below.caption("The link's model of B is not open here; B has the model of A.")
    names += [name for name in dict.fromkeys((twin, chosen)) if name not in names]
    st.selectbox(
        "Model",
        names,
        key=Compare.b_model.name,
        width=WIDTH,
        format_func=lambda name: open_models.model_title(name) if name else "The same as A",
        persist_state="session",
    )
    return Compare.b_model.get() or own


def _show_photo_of_b(session: Session, below: DeltaGenerator) -> Picture:
    own = [OWN] if Shared.own.get() else []
    choices = ["", *samples_beside(session.bundle), *own]
    asked = _asked(Compare.b_photo)
    if asked != Compare.b_photo.begin(choices):
        below.caption("The link's photo of B is not here; B has the photo of A.")
    st.selectbox(
        "Photo",
        choices,
        key=Compare.b_photo.name,
        width=WIDTH,
        format_func=lambda name: _photo_title(name) if name else "The same as A",
        persist_state="session",
    )
    return picture_named(Compare.b_photo.get()) or session.picture


def _asked(setting: Setting[str]) -> str:
    """Return what the session or the link asks for, whether it is there or not."""
    return setting.get() if setting.is_set else setting.param.read(read_link())


def _photo_title(name: str) -> str:
    return "Your photo" if name == OWN else samples.title(name)


def _subject_of_b(name: str, picture: Picture, below: DeltaGenerator) -> Viewed:
    Compare.b_code.begin()
    try:
        bundle = model_variants.as_classifier(name)
        with below:
            bundle = course.choose_moment(
                bundle, Compare.b_epoch, "B in the course of its training"
            )
        subject = record_viewed(bundle, picture)
    except model_variants.REFUSALS as problem:
        return Viewed(picture, None, None, str(problem))
    return _without_code(subject) if _show_code(Compare.b_code) else subject


def _show_layer_of_b(numbers: Sequence[int]) -> int:
    st.selectbox(
        "Layer",
        numbers,
        key=Compare.b_layer.name,
        width=WIDTH,
        format_func=lambda number: f"Layer {number}",
        persist_state="session",
    )
    return numbers.index(Compare.b_layer.get())


def _show_head_of_b(heads: Sequence[str]) -> None:
    Compare.b_head.begin(heads)
    st.selectbox(
        "Head",
        heads,
        key=Compare.b_head.name,
        width=WIDTH,
        format_func=_head_title,
        persist_state="session",
    )


# -- both -----------------------------------------------------------------------------------------


class _Found(NamedTuple):
    values: np.ndarray | None = None
    explained: str = ""
    missing: str = ""


def _pane(
    subject: Viewed, title: str, method: str, layer: int, head: str, token: str, session: Session
) -> Pane:
    view, missing, found = session.view, subject.missing, _Found()
    if subject.recorded is not None and method == "rollout":
        missing = subject.recorded.no_rollout or ""
    if method not in RECORDED:
        found = _attributed(subject, method)
        missing = missing or found.missing
    return Pane(
        *(subject, title, method, layer, head, token, view.fusion, view.discard),
        finished=found.values,
        missing=missing,
        explained=found.explained,
    )


def _attributed(subject: Viewed, method: str) -> _Found:
    """Compute the map of a method of Attribution for the model's likeliest class."""
    bundle, recorded, picture = subject.bundle, subject.recorded, subject.picture
    if bundle is None or recorded is None:
        return _Found()
    if not recorded.guesses:
        return _Found(missing="This method explains a class, and this model has no classes.")
    best = int(probabilities(bundle, picture.key, picture.image).argmax())
    found = map_of(bundle, picture.key, picture.image, best, method, ())
    name = recorded.guesses[0][0]
    return _Found(missing=found) if isinstance(found, str) else _Found(found, name)


def record_viewed(bundle: Bundle, picture: Picture) -> Viewed:
    """Record a model over a photo, or say why it cannot be done."""
    try:
        shown = recorded_image(bundle, picture.key, picture.image, chosen_layers(bundle.name))
    except (NothingRecorded, NothingToShow) as problem:
        return Viewed(picture, bundle, None, str(problem))
    return Viewed(picture, bundle, shown)


def _without_code(subject: Viewed) -> Viewed:
    if subject.bundle is None:
        return subject
    try:
        return record_viewed(model_variants.without_code(subject.bundle), subject.picture)
    except model_variants.REFUSALS as problem:
        return Viewed(subject.picture, subject.bundle, subject.recorded, str(problem))


def _show_code(setting: Setting[bool]) -> bool:
    """Show whether the position code is added; say whether it is left out."""
    st.toggle(
        "Add the position code",
        key=setting.name,
        help="Without it a model cannot tell where a patch lies. The weights stay as they are.",
        persist_state="session",
    )
    return not setting.get()


def _show_method(setting: Setting[str]) -> str:
    setting.begin(METHODS)
    st.selectbox(
        "Method",
        list(METHODS),
        key=setting.name,
        width=WIDTH,
        format_func=lambda name: METHODS[name].title,
        help="Attention is of one layer. Rollout goes through all layers. The others explain the "
        "likeliest class, as on the Attribution page.",
        persist_state="session",
    )
    return setting.get()


def _show_token(setting: Setting[str], method: str, layer: Layer) -> str:
    """Show from where attention is looked at; none for methods that explain a class."""
    tokens = layer.tokens
    averaged = method != "rollout" or tokens.tokens <= ALL_ROWS
    choices = ["patch", *tokens.prefix, *(["mean"] if averaged else [])]
    setting.begin(choices)
    if method in RECORDED:
        st.selectbox(
            "From",
            choices,
            key=setting.name,
            width=WIDTH,
            format_func=lambda name: _capital(FROM.get(name) or prefix_name(name)),
            persist_state="session",
        )
    return setting.get()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(subject: Viewed) -> str:
    return model_variants.variant_title(subject.bundle.name) if subject.bundle else ""


def _heads_of(layer: Layer) -> list[str]:
    return [*HEADS_FUSED, *(str(head + 1) for head in range(layer.heads))]


def _head_name(head: int | str) -> str:
    return head if isinstance(head, str) else str(head + 1)


def _head_title(head: str) -> str:
    return f"{head.capitalize()} of heads" if head in HEADS_FUSED else f"Head {head}"
