"""The Video page's clip: one made of sample photos, or one's own, opened once and kept.

A clip's frames lie in one store for the whole server, within its budget; the session keeps the
key. Its file stays in the upload field, so that it can be read again with other frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from model.bundle import Bundle
from model.datasets import samples
from model.errors import ImageRejected, WorkRefused
from model.images import ENDINGS
from model.video import CLIP_ENDINGS, MAX_FRAMES, Clip, open_clip, open_frames
from model.video.clip import write_ordinal
from model.video.limits import MAX_CLIP_SECONDS, MAX_CLIP_SIDE
from model.video.opening import natural_order
from model.video.pan import pan
from viz.export.program import Code
from viz.pages.shared.picture import samples_beside
from viz.pages.shared.state import Video
from viz.pages.shared.text import plain
from viz.server import queue
from viz.server.budget import BUDGET, Cache
from viz.server.class_mode import MODE, NO_VIDEO
from viz.server.queue import Cost
from viz.server.results import computed_once

SAMPLE, OWN, CAMERA = "sample", "own", "camera"
SOURCES = {SAMPLE: "Sample clip", OWN: "Your clip", CAMERA: "Camera"}
PAN_FRAMES = 24
MOST_EVERY = 1_000
DECODING = Cost(
    bytes=3 * MAX_FRAMES * MAX_CLIP_SIDE**2,
    seconds=MAX_CLIP_SECONDS,
    what="A clip",
    cure="Try again in a minute, or send it smaller.",
)
"""Of the largest clip; its decoder has a process and a bound of its own."""


@dataclass(frozen=True)
class ShownClip:
    """A clip, the key that tells it from others, a sentence about it, and its Python."""

    key: str
    clip: Clip
    about: str
    code: Code = field(default_factory=lambda: Code([]))
    """The lines that open it as `clip`."""


_store: Cache[ShownClip] = BUDGET.cache("clips", size=lambda shown: shown.clip.nbytes)


def show_sources() -> str:
    """Show where the frames come from; return which was chosen."""
    Video.source.begin(SOURCES)
    st.segmented_control(
        "Frames from",
        list(SOURCES),
        key=Video.source.name,
        required=True,
        format_func=SOURCES.__getitem__,
        label_visibility="collapsed",
    )
    return Video.source.get()


def chosen_clip(bundle: Bundle, source: str) -> ShownClip:
    """Return the clip to show; the sample where there is none of one's own."""
    if source == OWN:
        _show_upload()
        own = Video.own.get()
        if own is not None and (kept := _store.get(own)) is not None:
            return kept
        if own is not None:
            st.info("Your clip had to make room for others; upload it again to see it.")
    return sample_clip(tuple(samples_beside(bundle)[:2]))


def find_clip(key: str) -> ShownClip | None:
    """Find a clip by its key; None for one that had to make room."""
    return _store.get(key)


@computed_once("sample clips", key=lambda names: names, size=lambda shown: shown.clip.nbytes)
def sample_clip(names: tuple[str, ...]) -> ShownClip:
    """Make a clip of sample photos: a window slides from the first to the last."""
    clip = pan([samples.load(name) for name in names], PAN_FRAMES)
    titles = " to the ".join(samples.title(name).lower() for name in names)
    about = (
        f"{len(clip.frames)} frames made here: a window slides over two photos, from the {titles}."
    )
    code = Code(
        [f"clip = pan([samples.load(name) for name in {list(names)!r}], {PAN_FRAMES})"],
        ["from model.datasets import samples", "from model.video.pan import pan"],
    )
    shown = ShownClip(clip.key, clip, about, code)
    _store[shown.key] = shown
    return shown


# -- one's own ----------------------------------------------------------------------------------


def _show_upload() -> None:
    """Show the upload field, and every how many frames one is taken."""
    if not MODE.video:
        st.info(NO_VIDEO, icon=":material/videocam_off:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        uploads = st.file_uploader(
            f"A video, an animated GIF or WebP, or pictures: at most {MAX_FRAMES} frames",
            type=sorted({*CLIP_ENDINGS, *ENDINGS}),
            accept_multiple_files=True,
            key=Video.uploads.name,
            max_upload_size=MODE.video_megabytes,
            width=560,
        )
        every = st.number_input(
            "Take every n-th frame",
            min_value=1,
            max_value=MOST_EVERY,
            key=Video.every.name,
            width=200,
            help="1 takes all. A long clip has too many: with 10, a second of it has 2 or 3.",
        )
    _open_uploads(uploads, every)
    if sentence := Video.rejected.get():
        st.error(plain(sentence), icon=":material/error:")


def _open_uploads(uploads: Sequence[UploadedFile], every: int) -> None:
    """Open what lies in the field, once for the same files and frames."""
    asked = (tuple(upload.file_id for upload in uploads), every)
    if not uploads or asked == Video.taken.get():
        return
    Video.taken.set(asked)
    Video.rejected.set(None)
    try:
        shown = queue.run(("clip file", *asked), lambda: _open(uploads, every), cost=DECODING)
    except (ImageRejected, WorkRefused) as problem:
        Video.rejected.set(f"The clip was not taken. {problem}")
        return
    _store[shown.key] = shown
    Video.own.set(shown.key)
    Video.stopped.set(False)
    Video.frame.set(1)


def _open(uploads: Sequence[UploadedFile], every: int) -> ShownClip:
    """Decode uploads: one file as a clip, several as its frames. Raises ImageRejected."""
    limit = MODE.video_megabytes * 10**6
    if len(uploads) == 1:
        clip = open_clip(uploads[0].getvalue(), every, max_bytes=limit, report=queue.report)
    else:
        in_order = sorted(uploads, key=lambda upload: natural_order(upload.name))
        files = [upload.getvalue() for upload in in_order]
        clip = open_frames(files, every, max_bytes=limit, report=queue.report)
    which = "" if every == 1 else f", every {write_ordinal(every)} of the clip's"
    timed = "" if clip.seconds else " Nothing says when each is shown: ten a second are assumed."
    about = f"{len(clip.frames):,} frames{which}.{timed} {clip.note}".strip()
    return ShownClip(clip.key, clip, about, _write_code(uploads, every))


def _write_code(uploads: Sequence[UploadedFile], every: int) -> Code:
    """Write the line that opens what was uploaded; its name stands for the file."""
    opened, path = "open_clip", uploads[0].name
    if len(uploads) > 1:
        opened, path = "open_frames", "frames"
    note = f"# {path!r} stands for what was uploaded."
    line = f"clip = {opened}({path!r}, every={every})"
    return Code([note, line], [f"from model.video import {opened}"])
