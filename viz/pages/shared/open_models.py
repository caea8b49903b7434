"""The models that are open: the embedded ones, and what somebody fetched or uploaded.

One shelf for the whole server, within its budget; a session holds the names of its own.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeGuard

import streamlit as st

from model import zoo
from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.errors import CheckpointError
from model.zoo import catalogue
from model.zoo.cards import read_title
from model.zoo.checkpoints import DIRECTORY
from model.zoo.uploads import lay_out, name_upload
from viz.pages.shared.state import Key, Shared
from viz.pages.shared.text import plain
from viz.server import queue
from viz.server.class_mode import MODE, NO_HUBS, NO_WEIGHTS
from viz.server.costs import model_bytes, opening_cost
from viz.server.queue import Cost
from viz.server.results import computed_once

RANDOM = " (random weights)"
UNTRAINED = "Untrained: "
"""How the titles of models with random weights begin."""
ELSEWHERE = {
    "caption": "writes captions. Open it on the Captions page.",
    "classify": "does not write captions. Open it on the Models page.",
}
OWN = "your "
"""How the names of uploaded models begin."""
DIGITS = 20
"""Of the sha256 of what was uploaded: how the names of uploaded models end."""
SHOWN_DIGITS = 6


def _opening_cost(name: str) -> Cost:
    """Estimate opening a shipped checkpoint; nobody knows a hub's before it is fetched."""
    path = DIRECTORY / f"{Path(name.removesuffix(RANDOM)).name}.safetensors"
    return opening_cost(name, path.stat().st_size if path.is_file() else 0)


@computed_once("model", key=lambda name: name, size=model_bytes, cost=_opening_cost, lasts=True)
def open_model_named(name: str) -> Bundle:
    """Open the model of this name, once for the whole server.

    Raises:
        zoo.ModelNotFound: if there is none, or an uploaded one had to make room.
        zoo.ModelRejected: if it cannot be opened.
    """
    if name.startswith(OWN):
        if name.endswith(RANDOM):
            return replace(zoo.untrained(open_model_named(name.removesuffix(RANDOM))), name=name)
        raise zoo.ModelNotFound(f"{name} had to make room for others; upload it again.")
    if not MODE.hubs and name.removesuffix(RANDOM).partition("/")[0] in catalogue.HUBS:
        raise zoo.ModelRejected(NO_HUBS)
    weights = "random" if name.endswith(RANDOM) else "trained"
    return replace(zoo.load(name.removesuffix(RANDOM), weights=weights), name=name)


_shelf = open_model_named.cache


def open_captioner(name: str) -> CaptionBundle:
    """Open the captioner of this name; raises as `open_model_named`, or where it is none."""
    bundle = open_model_named(name)
    if not writes_captions(bundle):
        raise zoo.ModelRejected(f"{name} {ELSEWHERE['classify']}")
    return bundle


def writes_captions(bundle: Bundle) -> TypeGuard[CaptionBundle]:
    """Say whether a model writes captions, as its card has it."""
    return bundle.card.task == "caption"


def open_names(task: str = "classify") -> list[str]:
    """List what this session can choose from: the embedded models, then those it opened itself."""
    return [*shipped_names(task), *_opened(task).get()]


def shipped_names(task: str = "classify") -> list[str]:
    """List the embedded models that this server shows; all where it would show none."""
    names = zoo.names(task)
    return [name for name in names if MODE.lists(name)] or names


def captioners_of_photos() -> list[str]:
    """List the captioners whose words depend on the photo that is shown."""

    def sees_the_photo(name: str) -> bool:
        bundle = _shelf.get(name) if name.startswith(OWN) else None
        return not isinstance(bundle, CaptionBundle) or bundle.sees_the_photo

    return list(filter(sees_the_photo, open_names("caption")))


def is_open(name: str, task: str = "classify") -> bool:
    """Say whether a link may ask for this model: nothing is fetched because of a link."""
    bundle = _shelf.get(name)
    if bundle is not None and _task(bundle) != task:
        return False
    base = name.removesuffix(RANDOM)
    return (
        base in shipped_names(task)
        or bundle is not None
        or (base.startswith(OWN) and base in _shelf)
    )


def open_by_name(name: str, task: str = "classify") -> None:
    """Open a hub model or an untrained one for this session; raises as ``open_model_named``.

    Raises ``zoo.ModelRejected``, too, for a model whose task is another page's.
    """
    with st.spinner(f"Opening {plain(name)}. The first time takes a while."):
        found = _task(open_model_named(name))
    if found != task:
        raise zoo.ModelRejected(f"{name} {ELSEWHERE.get(found, 'is for another task.')}")
    _offer(name, task)


def open_files(uploads: Sequence[tuple[str, bytes]], **given: Any) -> str:
    """Open an uploaded model and offer it in this session; return its name.

    Args:
        uploads: Names and contents, as `model.zoo.uploads.lay_out` takes them.
        given: What the files cannot tell, as ``zoo.load`` takes it: heads, mean, std, img_size...

    Raises:
        zoo.ModelRejected: with a sentence, if this is no model that can be read.
        zoo.ModelNotFound: if a file of it is missing, or a library.
    """
    if not MODE.own_weights:
        raise zoo.ModelRejected(NO_WEIGHTS)
    if sum(len(data) for _, data in uploads) > MODE.session_megabytes * 10**6:
        raise zoo.ModelRejected(f"This server takes {MODE.session_megabytes} MB at a time.")
    digest = sha256(repr(sorted(given.items())).encode())
    for file_name, data in sorted(uploads):
        digest.update(sha256(file_name.encode() + b"/" + sha256(data).digest()).digest())
    first = name_upload(uploads)
    # Nobody guesses the digits, nor makes a file that takes the place of another one's.
    name = f"{OWN}{Path(first).name[:60]} {digest.hexdigest()[:DIGITS]}"
    size = sum(len(data) for _, data in uploads)
    load = partial(_load_files, uploads, given)
    bundle = queue.run(("model", name), load, cost=opening_cost(first[:60], size))
    _shelf[name] = replace(bundle, name=name)
    _offer(name, _task(bundle))
    return name


def _load_files(uploads: Sequence[tuple[str, bytes]], given: dict[str, Any]) -> Bundle:
    """Load uploaded files, without the figures on a stranger's card.

    Somebody else claims these figures; nobody measured them here.
    """
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out(uploads, Path(folder))
        bundle = zoo.load(laid.path, **({} if laid.card else laid.given | given))
    if laid.card:
        return replace(bundle, card=bundle.card.without(catalogue.LEARNED))
    return bundle


def _offer(name: str, task: str = "classify") -> None:
    if name not in open_names(task):
        opened = _opened(task)
        opened.set([*opened.get(), name])


def _opened(task: str) -> Key[Sequence[str]]:
    return Shared.opened_captioners if task == "caption" else Shared.opened


def _task(bundle: Bundle) -> str:
    return bundle.card.task


def model_title(name: str) -> str:
    """Name a model as the pages do."""
    if name.endswith(RANDOM):
        return UNTRAINED + model_title(name.removesuffix(RANDOM))
    if name.startswith(OWN):
        return name[: len(name) - DIGITS + SHOWN_DIGITS]
    file = DIRECTORY / f"{name}.safetensors"
    if not file.is_file():
        return name
    try:
        return read_title(file) or name
    except CheckpointError:
        return name  # the page says what is wrong with it where it is chosen
