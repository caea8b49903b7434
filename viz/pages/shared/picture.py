"""Choosing a picture: one of the samples, or one's own.

Uploaded pictures are decoded once, made small enough to keep, and held in one bounded
store for the whole server; the session keeps the key. What is uploaded stays on the
server's memory and is never written to disk.
"""

import threading
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import streamlit as st
from cachetools import LRUCache
from PIL import Image

from model.datasets import samples
from model.errors import ImageRejected
from model.images import ENDINGS, open_picture
from viz.pages.shared.text import plain

STORE_BYTES = 512 * 2**20
MAX_SIDE = 1024
MAX_MEGABYTES = 64
UPLOAD = "upload"  # the key of the upload field, by which the explorer finds it
TYPES = list(ENDINGS)

_store: LRUCache = LRUCache(STORE_BYTES, getsizeof=lambda image: 3 * image.width * image.height)
_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A picture and what tells it from others; ``sample`` is its name if it is one of ours."""

    key: str
    image: Image.Image
    sample: str | None = None


@cache
def _sample(name: str) -> Picture:
    image = samples.load(name)
    return Picture(sha256(image.tobytes()).hexdigest(), image, name)


def start(name: str | None) -> str | None:
    """Begin a session with a sample from the address; returns a note if there is none such."""
    known = samples.names()
    st.session_state.photo = name if name in known else known[0]
    if name is None or name in known:
        return None
    if name == "own":
        return "A link cannot carry somebody's own photo. This is one of the samples instead."
    return f"The link names an unknown sample photo; showing the {samples.title(known[0]).lower()}."


def sample_choice() -> None:
    """Show the samples, and beside them one's own photo once there is one."""
    own = ["own"] if st.session_state.get("own") else []
    st.session_state.sample = st.session_state.photo  # a widget forgets when its page is left
    st.pills(
        "Photo",
        [*samples.names(), *own],
        key="sample",
        required=True,
        wrap=True,
        on_change=_take_sample,
        format_func=lambda name: "Your photo" if name == "own" else samples.title(name),
    )


def _take_sample() -> None:
    st.session_state.rejected = None
    st.session_state.photo = st.session_state.sample


def upload(paste: bool = False) -> None:
    """Show the upload field; `paste`: the page also takes a picture that is pasted."""
    st.file_uploader(
        "Your own: upload, drop or paste" if paste else "Your own: upload or drop",
        key=UPLOAD,
        type=TYPES,
        on_change=_take_upload,
        max_upload_size=MAX_MEGABYTES,
    )


def current() -> Picture:
    """The picture that is chosen now; says above it why an upload was refused.

    It says so as long as the refused file lies in the field, which a page forgets when it is left.
    """
    sentence = st.session_state.get("rejected")
    if sentence and st.session_state.get("upload"):
        st.error(plain(sentence), icon=":material/error:")
    choice = st.session_state.photo
    if choice != "own":
        return _sample(choice)
    with _lock:
        image = _store.get(st.session_state.own)
    if image is None:
        st.info("Your photo had to make room for others; upload it again to see it.")
        return _sample(samples.names()[0])
    if note := st.session_state.get("own_note"):
        st.caption(plain(note))
    return Picture(st.session_state.own, image)


def _take_upload() -> None:
    """Open what was uploaded; if it is no picture, say why and keep the one there is."""
    st.session_state.rejected = None
    upload = st.session_state.upload
    if upload is None:
        return
    data = upload.getvalue()
    try:
        opened = open_picture(data, max_side=MAX_SIDE)
    except ImageRejected as problem:
        st.session_state.rejected = f"{upload.name[:100]} was not taken. {problem}"
        return
    key = sha256(data).hexdigest()
    with _lock:
        _store[key] = opened.image
    st.session_state.own = key
    st.session_state.own_note = opened.note
    st.session_state.photo = "own"
