"""The choice of a captioner and of the picture that it describes, on pages that look into both."""

import streamlit as st

from model import zoo
from model.captioning.caption import CaptionBundle
from viz.pages.shared import open_models, picture, scene
from viz.pages.shared.picture import Picture
from viz.pages.shared.state import Setting
from viz.pages.shared.text import plain


def choose_captioner_and_picture(
    names: list[str], captioner: Setting[str]
) -> tuple[CaptionBundle, Picture]:
    """Show the choices of captioner and picture, and return them.

    Args:
        names: the captioners that are open.
        captioner: the page's setting that holds the chosen one.
    """
    what, who = st.columns([5, 4], gap="large")
    with who:
        name = st.selectbox(
            "Captioner",
            names,
            key=captioner.name,
            format_func=open_models.model_title,
            persist_state="session",
        )
    try:
        bundle = open_models.open_captioner(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        st.stop()
    with what:
        if scene.choose_subject(bundle, captioner):
            return bundle, scene.choose_scene()[0]
        picture.show_sample_choice(bundle)
        picture.show_upload()
        return bundle, picture.chosen_picture()
