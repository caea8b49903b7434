"""Video: where does the model look from frame to frame?"""

from collections.abc import Mapping
from dataclasses import asdict

import streamlit as st

from model.errors import WorkRefused
from model.recorded_image import find_same_place
from viz.components import mounts
from viz.components.payload import pack
from viz.pages import video_camera, video_clip
from viz.pages.shared import picture
from viz.pages.shared.address import PHOTO
from viz.pages.shared.browser import (
    EXPLORE,
    browser_pass,
    change_view,
    take_reports,
    view_revision,
    write_address,
)
from viz.pages.shared.choices_row import begin_row
from viz.pages.shared.explained import show_heading
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import (
    Session,
    begin_session,
    chosen_layers,
    open_or_replace,
    record_session,
    session_url_params,
    show_model_choice,
)
from viz.pages.shared.state import Shared, Video, read_link
from viz.pages.shared.text import plain
from viz.pages.video_clip import ShownClip
from viz.pages.video_export import saved_clip
from viz.pages.video_recorded import ClipQuestion, ClipSource, frames_done, record_frames


def page() -> None:
    """Show the whole page, top to bottom."""
    url_params = read_link()
    notes = begin_session()
    beside = show_heading(
        "Where does it look from frame to frame?",
        "Press play, or drag the slider. The map is of the head that you choose; click a patch to "
        "follow the attention from there.",
    )
    with beside:
        _show_meaning()
    row = begin_row()
    with row.model:
        bundle = open_or_replace(show_model_choice())
    with row.subject:
        source = video_clip.show_sources()
    if source == video_clip.CAMERA:
        video_camera.show_camera()
        write_address(Video.source.url_params())
        return
    clip = video_clip.chosen_clip(bundle, source)
    first = picture.Picture(f"{clip.key} 0", clip.clip.frames[0])
    session = record_session(bundle, first, url_params, notes)
    question = _question(session, clip)
    _record(question, clip)
    if frames_done(question, clip) > 1:
        _mount(session, question, clip)
    st.caption(clip.about)
    write_address(
        session_url_params(session)
        | PHOTO.write(Shared.photo.get())
        | Video.source.url_params()
        | Video.frame.url_params()
        | Video.map.url_params(),
        EXPLORE,
    )


def _question(session: Session, clip: ShownClip) -> ClipQuestion:
    """Describe what is recorded: from which token of the first layer, in which model."""
    layers, view = session.recorded.layers, session.view
    here, first = layers[view.layer].tokens, layers[0].tokens
    asking = Video.asking.get()
    fits = asking is not None and asking < first.tokens
    if asking is None or not fits or find_same_place(asking, first, here) != view.query:
        asking = find_same_place(view.query, here, first)
        Video.asking.set(asking)
    return ClipQuestion(session.bundle, clip.key, asking, chosen_layers(session.bundle.name))


def _record(question: ClipQuestion, clip: ShownClip) -> None:
    """Record the frames that are missing, with progress and a way to stop."""
    total = len(clip.clip.frames)
    done = frames_done(question, clip)
    if done == total:
        Video.stopped.set(False)
        return
    place = st.empty()
    if Video.stopped.get():
        with place.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Stopped: {done:,} of {total:,} frames are recorded.", width="content")
            st.button("Go on", on_click=Video.stopped.set, args=(False,))
        return
    with place.container():
        st.button("Stop", icon=":material/stop:", on_click=Video.stopped.set, args=(True,))
        try:
            record_frames(question, clip)
        except WorkRefused as refused:
            st.error(plain(str(refused)), icon=":material/error:")
            return
    place.empty()


def _mount(session: Session, question: ClipQuestion, clip: ShownClip) -> None:
    """Mount the frames that are recorded, one after another from the first."""
    recorded, view = session.recorded, session.view
    count = frames_done(question, clip)
    source = ClipSource(question, clip, count, recorded.key)
    Video.frame.begin(range(1, count + 1))
    Video.map.begin(["layer"] if recorded.no_rollout else ["layer", "rollout"])
    names, shares = source.likeliest(session.bundle.classes)
    payload = {
        "source": source.id,
        "key": browser_pass().grant(source),
        "layers": [[layer.heads, *layer.tokens.grid] for layer in recorded.layers],
        "numbers": [number + 1 for number in recorded.numbers],
        "prefix": recorded.layers[view.layer].tokens.prefix,
        "view": asdict(view) | {"frame": Video.frame.get() - 1, "map": Video.map.get()},
        "style": view.style.as_header(),
        "revision": view_revision(),
        "frames": count,
        "seconds": source.seconds,
        "milliseconds": clip.clip.milliseconds,
        "asking": question.query,
        "rollout": not recorded.no_rollout,
        "classes": names,
    }
    mounts.video(pack(payload, shares=shares), on_query=_take_query, key=Video.component.name)
    show_save(lambda: saved_clip(session, source))


def _take_query() -> None:
    """Take over the token that was chosen, and what was shown as it was."""
    asked = Video.component.get().get("query")
    if isinstance(asked, Mapping):
        take_reports()
        change_view(layer=int(asked["layer"]), query=int(asked["token"]), held=True)
        Video.frame.set(int(asked["frame"]))
        Video.map.set(str(asked["map"]))


def _show_meaning() -> None:
    with st.popover("What am I seeing?", icon=":material/help:"):
        st.markdown(
            "The model sees one frame at a time and knows nothing of the frames before: it is the "
            "same image model as on **Explore**. What moves in the map is what the model finds in "
            "each frame by itself.\n\n"
            "Each map is scaled to its own maximum, so colours compare patches of one frame. The "
            "lines below compare frames: the **probability** of the classes that come highest, "
            "and the **entropy** of the map, in nats: 0 is a map of one patch, ln 256 = 5.55 an "
            "even one of 256 patches. A low one tells that the model looks at few places, and the "
            "map tells at which.\n\n"
            "The attention of every frame is from one place of the picture, such as CLS. A click "
            "on another patch records the clip anew from there."
        )


page()
