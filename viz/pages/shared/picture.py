"""The choice of a picture: one of the samples, or one's own.

Uploaded pictures are decoded once, made small enough to keep, and held in one store for the whole
server, within its budget; the session keeps the key. An upload stays in the server's memory and is
never written to disk.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import streamlit as st
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from model.datasets import samples
from model.errors import ImageRejected, WorkRefused
from model.images import ENDINGS, MAX_PIXELS, OpenedPicture, open_picture
from viz.pages.shared.state import Shared
from viz.pages.shared.text import plain
from viz.server import queue, uploads
from viz.server.budget import BUDGET, Cache
from viz.server.class_mode import MODE
from viz.server.first_action import browser_brought
from viz.server.queue import Cost

OWN = "own"
"""What an address and the session call somebody's own photo."""

MAX_SIDE = 1024
MAX_MEGABYTES = MODE.photo_megabytes
TYPES = list(ENDINGS)
DECODING = Cost(
    bytes=8 * MAX_PIXELS,
    seconds=1.0,
    what="A photo",
    cure="Try again in a minute, or send it smaller.",
)
"""Of the largest photo: its pixels as decoded, and a copy of them."""

_store: Cache[Image.Image] = BUDGET.cache(
    "photos", size=lambda image: 3 * image.width * image.height
)


@dataclass(frozen=True)
class Picture:
    """A picture and the key that tells it from others; ``sample`` is its name among the samples."""

    key: str
    image: Image.Image
    sample: str | None = None

    @property
    def name_in_link(self) -> str:
        """How an address names the picture."""
        return self.sample or OWN


@cache
def sample_picture(name: str) -> Picture:
    """Open a sample; nobody changes it, so everybody shares it."""
    image = samples.load(name)
    return Picture(sha256(image.tobytes()).hexdigest(), image, name)


def begin_photo(name: str | None) -> str | None:
    """Begin a session with the sample that a link names; return a note if there is no such one."""
    known = samples.names()
    if name == OWN and Shared.own.get():
        Shared.photo.set(OWN)
        return None
    Shared.photo.set(name if name in known else known[0])
    if name is None or name in known:
        return None
    if name == OWN:
        return "A link cannot carry somebody's own photo. This is one of the samples instead."
    return f"The link names an unknown sample photo; showing the {samples.title(known[0]).lower()}."


def show_sample_choice() -> None:
    """Show the samples, and beside them one's own photo once there is one.

    A session that begins with a choice already made in the browser, as after a restart of the
    server, takes that choice.
    """
    own = [OWN] if Shared.own.get() else []
    if not browser_brought(Shared.sample.name):
        Shared.sample.set(Shared.photo.get())  # a widget forgets when its page is left
    chosen = st.pills(
        "Photo",
        [*samples.names(), *own],
        key=Shared.sample.name,
        required=True,
        wrap=True,
        on_change=_take_sample,
        format_func=lambda name: "Your photo" if name == OWN else samples.title(name),
    )
    if chosen != Shared.photo.get():
        _take_sample()


def _take_sample() -> None:
    Shared.rejected.set(None)
    Shared.photo.set(Shared.sample.get())


def show_upload(paste: bool = False) -> None:
    """Show the upload field; `paste`: the page also takes a picture that is pasted.

    A file may lie in the field before the session knows of it: the first one after the server was
    restarted arrives with the session's first run, which calls nothing back.
    """
    upload = st.file_uploader(
        "Your own: upload, drop or paste" if paste else "Your own: upload or drop",
        key=Shared.upload.name,
        type=TYPES,
        on_change=_take_upload,
        max_upload_size=MAX_MEGABYTES,
    )
    if upload is not None and upload.file_id != Shared.taken_upload.get():
        _take_upload()
        st.rerun()


def chosen_picture() -> Picture:
    """Return the picture that is chosen now, and show why an upload was refused.

    The sentence stays while the refused file lies in the field, which is empty on the next page.
    """
    sentence = Shared.rejected.get()
    if sentence and Shared.upload.get():
        st.error(plain(sentence), icon=":material/error:")
    choice, own = Shared.photo.get(), Shared.own.get()
    if choice != OWN or own is None:
        return sample_picture(choice)
    image = _store.get(own)
    if image is None:
        st.info("Your photo had to make room for others; upload it again to see it.")
        return sample_picture(samples.names()[0])
    if note := Shared.own_note.get():
        st.caption(plain(note))
    return Picture(own, image)


def picture_named(choice: str) -> Picture | None:
    """Return a sample by its name, or "own" for one's own photo; None where it is not there."""
    if choice in samples.names():
        return sample_picture(choice)
    own = Shared.own.get()
    image = _store.get(own) if choice == OWN and own else None
    return None if own is None or image is None else Picture(own, image)


def find_picture(key: str) -> Picture | None:
    """Find a picture by its key; None for one that nobody uploaded, or that had to make room."""
    for name in samples.names():
        if sample_picture(name).key == key:
            return sample_picture(name)
    image = _store.get(key)
    return None if image is None else Picture(key, image)


def find_image(key: str) -> Image.Image | None:
    """Find the image of a picture, likewise."""
    found = find_picture(key)
    return None if found is None else found.image


def _take_upload() -> None:
    """Open the upload; if it is no picture, say why and keep the one there is."""
    Shared.rejected.set(None)
    upload = Shared.upload.get()
    if upload is None:
        return
    Shared.taken_upload.set(upload.file_id)
    try:
        key, opened = _decode(upload)
    except (ImageRejected, WorkRefused) as problem:
        Shared.rejected.set(f"{upload.name[:100]} was not taken. {problem}")
        return
    finally:
        uploads.let_go(upload.file_id)
    _store[key] = opened.image
    Shared.own.set(key)
    Shared.own_note.set(opened.note)
    Shared.photo.set(OWN)


def _decode(upload: UploadedFile) -> tuple[str, OpenedPicture]:
    """Decode an upload in its turn; return its key too. Raises ImageRejected or WorkRefused."""
    if upload.size > MAX_MEGABYTES * 2**20:
        raise ImageRejected(
            f"It has {upload.size / 2**20:,.0f} MB, and this server takes photos of up to "
            f"{MAX_MEGABYTES} MB. Send it smaller."
        )
    data = upload.getvalue()
    key = sha256(data).hexdigest()
    opened = queue.run(("photo", key), lambda: open_picture(data, max_side=MAX_SIDE), cost=DECODING)
    return key, opened
