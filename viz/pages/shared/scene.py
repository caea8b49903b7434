"""Choosing between photos and the drawn scenes that some captioners know alone."""

from collections.abc import Mapping

import streamlit as st
from PIL import Image

from model.captioning.caption import CaptionBundle
from model.datasets import scenes
from viz.pages.shared import captioner_choice
from viz.pages.shared.captions_written import scene_of
from viz.pages.shared.picture import Picture
from viz.pages.shared.url_params import url_param

STRANGE = (
    "This captioner was trained on drawn scenes alone. It names coloured shapes whatever the photo "
    "shows: watch how sure it is of each word."
)
LEAST_SIDE = 480  # pixels
MOST_SEEDS = 10**6


def begin(words: Mapping[str, str]) -> None:
    """Begin the session's scene from the words of an address, once.

    Whoever links a photo, or has brought one, sees that.
    """
    url_param("scene", 1, lambda seed: 0 <= seed < MOST_SEEDS)
    if "subject" not in st.session_state:
        photo = "photo" in words or st.session_state.get("own")
        st.session_state.subject = "photo" if photo and "scene" not in words else "scene"


def chosen(bundle: CaptionBundle, key: str) -> bool:
    """Whether a captioner is shown a drawn scene; offers the choice where some captioner knows
    scenes.

    ``key``: where the page keeps the captioner's name. Another choice may change that.
    """
    if not bundle.knows_only_scenes:
        if captioner_choice.fitting(True, st.session_state.get(key)) is None:
            return False
        st.session_state.subject = "photo"
    subject = st.segmented_control(
        "Look at",
        ["scene", "photo"],
        key="subject",
        required=True,
        format_func={"scene": "A drawn scene", "photo": "A photo"}.get,
        on_change=_take_subject,
        args=(key,),
        persist_state="session",
    )
    return subject == "scene"


def _take_subject(key: str) -> None:
    """Go over to a captioner that knows what is looked at, if there is one."""
    state = st.session_state
    if name := captioner_choice.fitting(state.subject == "scene", state.get(key)):
        state[key] = name


def current() -> tuple[Picture, scenes.Scene]:
    """The scene that is chosen now, and the button for another."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("New scene", icon=":material/refresh:", type="primary", on_click=_next)
        seed = st.session_state.scene
        scene = scene_of(seed)
        st.caption(f"Scene {seed}. What was drawn: {scene.caption}.")
    return Picture(f"scene {seed}", scene.image), scene


def _next() -> None:
    st.session_state.scene = (st.session_state.scene + 1) % MOST_SEEDS


def enlarged(frame: Image.Image) -> Image.Image:
    """Small pictures with their pixels as squares: JPEG and the browser would blur them."""
    times = LEAST_SIDE // max(frame.size)
    if times < 2:
        return frame
    return frame.resize((frame.width * times, frame.height * times), Image.Resampling.NEAREST)
