"""The choice of a captioner and of the picture that it describes, on pages that look into both."""

from collections.abc import Callable, Sequence

import streamlit as st

from model import zoo
from model.captioning.caption import CaptionBundle
from model.datasets import scenes
from viz.pages.shared import open_models, picture, scene
from viz.pages.shared.captioner_choice import fitting_captioner
from viz.pages.shared.choices_row import ChoicesRow, begin_row
from viz.pages.shared.picture import Picture
from viz.pages.shared.state import Scene, Setting, read_link
from viz.pages.shared.text import plain

NONE_HERE = "No captioner is here. The Captions page says how one is trained or opened."


def choose_captioner_and_picture(
    captioner: Setting[str], show_subjects: Callable[[], None]
) -> tuple[CaptionBundle, Picture] | None:
    """Show the choices of captioner and picture, and return them; None where no captioner is here.

    Args:
        captioner: the page's setting that holds the chosen one; it begins as the link says.
        show_subjects: shows the choice between a classifier and a captioner, below the others.
    """
    names = open_models.open_names("caption")
    if not names:
        show_subjects()
        st.info(NONE_HERE, icon=":material/info:")
        return None
    scene.begin_scene(read_link())
    drawn = Scene.subject.get() == "scene"
    captioner.begin(names, fitting_captioner(drawn, captioner.get()) or names[0])
    row = begin_row()
    with row.model:
        name = show_captioner_choice(names, captioner.name)
    try:
        bundle = open_models.open_captioner(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        st.stop()
    chosen = choose_picture(row, bundle, captioner)[0]
    show_subjects()
    return bundle, chosen


def show_captioner_choice(names: Sequence[str], key: str) -> str:
    """Show the field in which a captioner is chosen; return its name."""
    return st.selectbox(
        "Captioner",
        names,
        key=key,
        format_func=open_models.model_title,
        label_visibility="collapsed",
        persist_state="session",
    )


def choose_picture(
    row: ChoicesRow, bundle: CaptionBundle, captioner: scene.CaptionerKey
) -> tuple[Picture, scenes.Scene | None]:
    """Show the choice of scene or photo; return the picture, and the scene if it is one."""
    with row.subject:
        draws = scene.choose_subject(bundle, captioner)
    if draws:
        with row.photo:
            shown, drawn = scene.choose_scene()
        scene.show_what_was_drawn(drawn)
        return shown, drawn
    with row.photo:
        picture.show_sample_choice(bundle)
    with row.upload:
        picture.show_upload()
    return picture.chosen_picture(), None
