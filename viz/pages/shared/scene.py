"""The choice between photos and the drawn scenes that some captioners know alone."""

from collections.abc import Mapping

import streamlit as st
from PIL import Image

from model.captioning.caption import CaptionBundle
from model.datasets import scenes
from viz.pages.shared import address, captioner_choice, picture
from viz.pages.shared.captions_written import scene_of
from viz.pages.shared.picture import Picture
from viz.pages.shared.state import Key, Scene, Shared

STRANGE = (
    "This captioner was trained on drawn scenes alone. It names coloured shapes whatever the photo "
    "shows: watch how sure it is of each word."
)
LEAST_SIDE = 480  # pixels
NUMBER_WIDTH = 112  # pixels; a wider field of numbers has buttons besides
MOST_SEEDS = 10**6
SUBJECTS = {"scene": "A drawn scene", "photo": "A photo"}
CaptionerKey = Key[str] | Key[str | None]


def begin_scene(url_params: Mapping[str, str]) -> None:
    """Begin the session's scene from an address, once.

    Whoever links a photo, or has brought one, sees that.
    """
    Scene.number.begin(lambda seed: 0 <= seed < MOST_SEEDS)
    if not Scene.subject.is_set:
        photo = address.PHOTO.name in url_params or Shared.own.get()
        linked = Scene.number.param.name in url_params
        Scene.subject.set("photo" if photo and not linked else "scene")


def choose_subject(bundle: CaptionBundle, captioner: CaptionerKey) -> bool:
    """Offer the choice between scenes and photos, where some captioner knows scenes.

    Args:
        captioner: where the page keeps the captioner's name; another subject may change it.

    Returns:
        Whether a drawn scene is looked at.
    """
    if not bundle.knows_only_scenes:
        if captioner_choice.fitting_captioner(True, captioner.get()) is None:
            return False
        Scene.subject.set("photo")
    subject = st.segmented_control(
        "Look at",
        list(SUBJECTS),
        key=Scene.subject.name,
        required=True,
        format_func=SUBJECTS.__getitem__,
        on_change=_take_subject,
        label_visibility="collapsed",
        args=(captioner,),
        persist_state="session",
    )
    return subject == "scene"


def _take_subject(captioner: CaptionerKey) -> None:
    """Go over to a captioner that knows the subject, if there is one."""
    scene = Scene.subject.get() == "scene"
    if name := captioner_choice.fitting_captioner(scene, captioner.get()):
        captioner.set(name)


def choose_scene() -> tuple[Picture, scenes.Scene]:
    """Return the scene that is chosen now, and show the ways to another: the next, or by number."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("New scene", icon=":material/refresh:", type="primary", on_click=_go_to_next)
        st.number_input(
            "Scene number",
            min_value=0,
            max_value=MOST_SEEDS - 1,
            step=1,
            key=Scene.number.name,
            icon=":material/tag:",
            label_visibility="collapsed",
            width=NUMBER_WIDTH,
            persist_state="session",
        )
    seed = Scene.number.get()
    scene = scene_of(seed)
    return Picture(f"scene {seed}", scene.image), scene


def show_what_was_drawn(scene: scenes.Scene) -> None:
    """Say what the chosen scene shows."""
    st.caption(f"What was drawn: {scene.caption}.")


def find_shown(key: str) -> Picture | None:
    """Find a scene or a photo by its key; None for one that had to make room."""
    seed = key.removeprefix("scene ")
    if seed != key and seed.isdigit():
        return Picture(key, scene_of(int(seed)).image)
    return picture.find_picture(key)


def _go_to_next() -> None:
    Scene.number.set((Scene.number.get() + 1) % MOST_SEEDS)


def enlarged(frame: Image.Image) -> Image.Image:
    """Enlarge a small picture with its pixels as squares: JPEG and the browser would blur them."""
    times = LEAST_SIDE // max(frame.size)
    if times < 2:
        return frame
    return frame.resize((frame.width * times, frame.height * times), Image.Resampling.NEAREST)
