"""One picture through one model, recorded; shared by everybody who looks at the same.

A class of students looks at the same few pictures, so the recordings live in one cache
for the whole server, bounded in bytes. A session holds keys only.
"""

import threading
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import streamlit as st
import torch
from cachetools import LRUCache, cached
from PIL import Image

from model import AttentionRecorder, zoo
from model.recorder import AttentionRecord
from model.rollout import rollout
from viz.payload import photo_bytes

CACHE_BYTES = 512 * 2**20
TOP_CLASSES = 5


@dataclass(frozen=True)
class Look:
    """What a model did with a picture.

    Attributes:
        records: one a layer, in the order in which they ran.
        frame: the part of the picture that the model saw.
        photo: the same as JPEG for the browser.
        guesses: the likeliest classes with their probabilities; empty without classes.
    """

    key: str
    records: list[AttentionRecord]
    frame: Image.Image
    photo: bytes
    guesses: list[tuple[str, float]]

    @property
    def nbytes(self) -> int:
        """Bytes that the cache counts for this."""
        width, height = self.frame.size
        return sum(record.nbytes for record in self.records) + 3 * width * height + len(self.photo)

    @property
    def heads(self) -> int:
        """The largest number of heads in a layer."""
        return max(record.shape[1] for record in self.records)


@st.cache_resource(show_spinner="Opening the model…", max_entries=4)
def load(name: str) -> zoo.Bundle:
    """The model of this name, one for the whole server."""
    return zoo.load(name)


_looks = LRUCache(CACHE_BYTES, getsizeof=lambda look: look.nbytes)


@cached(_looks, key=lambda bundle, key, image: (bundle.name, key), condition=threading.Condition())
def look_at(bundle: zoo.Bundle, key: str, image: Image.Image) -> Look:
    """Run a picture through a model and keep what its attention needs.

    Args:
        key: what tells this picture from others, such as the sha256 of its file.
    """
    with torch.inference_mode(), AttentionRecorder(bundle.net) as recorder:
        logits = bundle.net(bundle.prepare(image))
    frame = bundle.frame(image)
    token = sha256(f"{bundle.name} {key}".encode()).hexdigest()[:16]
    return Look(token, recorder.records, frame, photo_bytes(frame), _guesses(logits[0], bundle))


def _guesses(logits: torch.Tensor, bundle: zoo.Bundle) -> list[tuple[str, float]]:
    if bundle.classes is None or logits.numel() != len(bundle.classes):
        return []
    best = logits.float().softmax(-1).topk(min(TOP_CLASSES, len(bundle.classes)))
    return [
        (bundle.classes[index], probability)
        for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def rows_from(look: Look, query: int) -> np.ndarray:
    """Every head's attention from one token: (layers, heads, tokens) float32.

    A layer with fewer heads than the widest has rows of zeros in their place.
    """
    rows = [record.weights(queries=[query])[0, :, 0].numpy() for record in look.records]
    out = np.zeros((len(rows), look.heads, rows[0].shape[-1]), dtype=np.float32)
    for layer, row in enumerate(rows):
        out[layer, : len(row)] = row
    return out


@cached(
    LRUCache(4096),
    key=lambda look, query, fusion, discard: (look.key, query, fusion, discard),
    condition=threading.Condition(),
)
def rollout_from(look: Look, query: int, fusion: str, discard: float) -> np.ndarray:
    """Attention rollout from one token: (tokens,) float32, summing to one."""
    with torch.inference_mode():
        return rollout(look.records, query=query, fusion=fusion, discard=discard)[0].numpy()
