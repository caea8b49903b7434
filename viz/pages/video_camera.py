"""The Video page's camera: a still becomes one's own photo, on every page."""

import streamlit as st

from model.errors import ImageRejected, WorkRefused
from viz.pages.shared import picture
from viz.pages.shared.state import Shared, Video
from viz.pages.shared.text import plain
from viz.server.class_mode import MODE, NO_CAMERA


def show_camera() -> None:
    """Show the browser's camera, and the way to Explore once a photo was taken."""
    if not MODE.camera:
        st.info(NO_CAMERA, icon=":material/no_photography:")
        return
    with st.container(width=640):
        st.camera_input("Take a photo", key=Video.still.name, on_change=_take_still)
    if sentence := Shared.rejected.take():
        st.error(plain(sentence), icon=":material/error:")
    elif Video.still_taken.get():
        st.success("Your photo is chosen on every page.", icon=":material/check:")
        st.page_link("explore.py", label="Look at it on **Explore**", icon=":material/visibility:")
    st.caption(
        "A browser offers its camera over HTTPS or on the same machine only, and asks first. The "
        "photo stays in the server's memory and is never written to disk."
    )


def _take_still() -> None:
    """Choose the photo as an upload is chosen."""
    Video.still_taken.set(False)
    still = Video.still.get()
    if still is None:
        return
    try:
        picture.take_picture(still)
    except (ImageRejected, WorkRefused) as problem:
        Shared.rejected.set(f"The photo was not taken. {problem}")
        return
    Video.still_taken.set(True)
