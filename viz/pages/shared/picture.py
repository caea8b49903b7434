"""The choice of a picture: one of the samples, or one's own.

Uploaded pictures are decoded once, made small enough to keep, and held in one store for the whole
server, within its budget; the session keeps the key. The file itself is kept only where its bands
or its range of values can be chosen. An upload stays in the server's memory and is never written to
disk.
"""

import re
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256

import streamlit as st
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.datasets import samples
from model.errors import ImageRejected, WorkRefused
from model.images import ENDINGS, MAX_PIXELS, OpenedPicture, open_picture
from viz.pages.shared.open_models import RANDOM, writes_captions
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
_NUMBERS = re.compile(r"\d{1,4}(\s*[,;\s]\s*\d{1,4}){0,9}")
_SEPARATORS = re.compile(r"\s*[,;\s]\s*")

_store: Cache[Image.Image] = BUDGET.cache(
    "photos", size=lambda image: 3 * image.width * image.height
)

_files: Cache[bytes] = BUDGET.cache("files of photos", size=len)
"""Uploaded files whose bands or range of values can still be chosen."""


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
    if name == OWN and Shared.own.get():
        Shared.photo.set(OWN)
        return None
    first = samples.names()[0]
    Shared.photo.set(name if name and samples.is_known(name) else first)
    Shared.offered.set(None if samples.is_known(name) else ())
    if name is None or samples.is_known(name):
        return None
    if name == OWN:
        return "A link cannot carry somebody's own photo. This is one of the samples instead."
    return f"The link names an unknown sample photo; showing the {samples.title(first).lower()}."


def offered_samples(bundle: Bundle | CaptionBundle) -> list[str]:
    """List the samples that suit a model, the first one first."""
    model = bundle.name.removesuffix(RANDOM)
    if writes_captions(bundle):
        return samples.names_to_describe(model)
    return samples.names(bundle.classes or (), model)


def samples_beside(bundle: Bundle | CaptionBundle) -> list[str]:
    """List the samples for a second photo: the ones that suit the model, then photos of anything.

    >>> from model import zoo
    >>> samples_beside(zoo.load("cifar10"))[:3]
    ['chelsea', 'dog', 'horses']
    """
    return list(dict.fromkeys([*offered_samples(bundle), *samples.names()]))


def show_sample_choice(bundle: Bundle | CaptionBundle) -> None:
    """Show the samples that suit a model, and beside them one's own photo once there is one.

    A session that begins with a choice already made in the browser, as after a restart of the
    server, takes that choice.
    """
    offered = offered_samples(bundle)
    _follow_offer(offered)
    own = [OWN] if Shared.own.get() else []
    if (photo := Shared.photo.get()) not in (*offered, *own):
        own.insert(0, photo)
    if not browser_brought(Shared.sample.name):
        Shared.sample.set(Shared.photo.get())  # a widget forgets when its page is left
    chosen = st.pills(
        "Photo",
        [*offered, *own],
        key=Shared.sample.name,
        required=True,
        wrap=True,
        on_change=_take_sample,
        label_visibility="collapsed",
        format_func=lambda name: "Your photo" if name == OWN else samples.title(name),
    )
    if chosen != Shared.photo.get():
        _take_sample()
    if samples.is_mistaken(Shared.photo.get(), bundle.name):
        st.caption("Wrong on purpose: this model mistakes this photo.")


def _follow_offer(offered: list[str]) -> None:
    """Show the first sample that suits, where another model is chosen that the shown one does not.

    A photo that a link names stays, and so does one's own.
    """
    before = Shared.offered.get()
    Shared.offered.set(tuple(offered))
    photo = Shared.photo.get()
    if before is None or photo == OWN or before == tuple(offered):
        return
    if not before or photo not in offered:
        Shared.photo.set(offered[0])


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
        label_visibility="collapsed",
        max_upload_size=MAX_MEGABYTES,
    )
    if upload is not None and upload.file_id != Shared.taken_upload.get():
        _take_upload()
        st.rerun()
    if Shared.photo.get() == OWN and Shared.own_bands.get():
        _show_samples_choice(Shared.own_bands.get())


def _show_samples_choice(count: int) -> None:
    """Show the choice of bands and of the values that become black and white."""
    what = "Bands and range of values" if count > 1 else "Range of values"
    with st.popover(what, icon=":material/tune:"), st.form("samples", border=False):
        if sentence := Shared.not_chosen.take():
            st.error(plain(sentence), icon=":material/error:")
        if count > 1:
            st.text_input(
                "Bands",
                key=Shared.band_numbers.name,
                placeholder="1" if count == 2 else "1, 2, 3",
                help=f"The file has {count}, counted from 1. One is shown as grey, three are "
                "shown as red, green and blue.",
            )
        black, white = st.columns(2)
        black.number_input("Black is", value=None, key=Shared.black.name, placeholder="automatic")
        white.number_input("White is", value=None, key=Shared.white.name, placeholder="automatic")
        st.checkbox("From the lowest to the highest value", key=Shared.whole_range.name)
        st.form_submit_button("Show", on_click=_take_samples)


def _take_samples() -> None:
    """Open the kept file again, with the bands and the range that were asked for."""
    file = Shared.own_file.get()
    data = _files.get(file) if file else None
    if data is None:
        Shared.not_chosen.set("The file had to make room for others. Upload it again.")
        return
    try:
        bands, value_range = _asked_bands(), _asked_range()
        key = sha256(f"{file} {bands} {value_range}".encode()).hexdigest()
        show = partial(open_picture, data, max_side=MAX_SIDE, bands=bands, value_range=value_range)
        opened = queue.run(("photo", key), show, cost=DECODING)
    except (ImageRejected, WorkRefused) as problem:
        Shared.not_chosen.set(str(problem))
        return
    _store[key] = opened.image
    Shared.own.set(key)
    Shared.own_note.set(opened.note)


def _asked_bands() -> list[int] | None:
    """Read numbers of bands, counted from 1; ImageRejected for other words."""
    text = (Shared.band_numbers.get() or "").strip()
    if not text:
        return None
    if not _NUMBERS.fullmatch(text):
        raise ImageRejected(
            f"“{text[:40]}” names no bands. Write one number, or three as in 4, 3, 2."
        )
    numbers = [int(number) - 1 for number in _SEPARATORS.split(text)]
    if len(numbers) not in (1, 3) or not all(0 <= n < Shared.own_bands.get() for n in numbers):
        raise ImageRejected(
            f"Choose one band or three, from 1 to {Shared.own_bands.get():,}, not {text[:40]}."
        )
    return numbers


def _asked_range() -> tuple[float, float] | str | None:
    black, white = Shared.black.get(), Shared.white.get()
    if black is None and white is None:
        return "data" if Shared.whole_range.get() else None
    if black is None or white is None:
        raise ImageRejected("Give both values: which becomes black, and which white.")
    return black, white


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


def key_of(image: Image.Image) -> str:
    """Compute the key of an image that the server has opened itself."""
    return sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def show_as_own(image: Image.Image) -> None:
    """Choose a picture that the page has opened, as if it had been uploaded."""
    key = key_of(image)
    _store[key] = image
    Shared.own.set(key)
    Shared.own_note.set("")
    Shared.own_bands.set(0)
    Shared.own_file.set(None)
    Shared.photo.set(OWN)


def picture_named(choice: str) -> Picture | None:
    """Return a sample by its name, or "own" for one's own photo; None where it is not there."""
    if samples.is_known(choice):
        return sample_picture(choice)
    own = Shared.own.get()
    image = _store.get(own) if choice == OWN and own else None
    return None if own is None or image is None else Picture(own, image)


def find_picture(key: str) -> Picture | None:
    """Find a picture by its key; None for one that nobody uploaded, or that had to make room."""
    for name in samples.all_names():
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
        take_picture(upload)
    except (ImageRejected, WorkRefused) as problem:
        Shared.rejected.set(f"{upload.name[:100]} was not taken. {problem}")


def take_picture(upload: UploadedFile) -> None:
    """Choose an uploaded picture as one's own. Raises ImageRejected or WorkRefused."""
    try:
        key, opened = _decode(upload)
    finally:
        uploads.let_go(upload.file_id)
    _store[key] = opened.image
    Shared.own.set(key)
    Shared.own_note.set(opened.note)
    Shared.own_bands.set(opened.bands)
    Shared.own_file.set(key if opened.bands else None)
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
    if opened.bands:
        _files[key] = data
    return key, opened
