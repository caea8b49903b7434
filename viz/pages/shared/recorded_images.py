"""Recorded images: attention computed once, and shared by everybody who looks at the same picture.

A class of students looks at the same few pictures, so the recordings are shared by the whole
server, within its budget. A session holds keys only.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from PIL import Image

from model.bundle import Bundle
from model.recorded_image import RecordedImage, find_sinks, record_image
from model.recording.rollout import rollout
from viz.components.payload import photo_bytes
from viz.server.costs import forward_cost
from viz.server.results import computed_once


@dataclass(frozen=True)
class ShownImage(RecordedImage):
    """A recorded image with the key that tells it from others, and its photo as JPEG."""

    key: str
    photo: bytes

    @property
    def nbytes(self) -> int:
        """Bytes that the cache counts for this."""
        width, height = self.frame.size
        return sum(record.nbytes for record in self.records) + 3 * width * height + len(self.photo)


def _key(
    bundle: Bundle, key: str, image: Image.Image, layers: tuple[int, ...] | None = None
) -> tuple[object, ...]:
    return bundle.name, key, layers


@computed_once(
    "recording",
    key=_key,
    size=lambda shown: shown.nbytes,
    cost=lambda bundle, key, image, layers=None: forward_cost(bundle),
)
def recorded_image(
    bundle: Bundle, key: str, image: Image.Image, layers: tuple[int, ...] | None = None
) -> ShownImage:
    """Record an image once for everybody; ``key`` is the sha256 of the picture's file."""
    recorded = record_image(bundle, image, layers)
    photo = photo_bytes(recorded.frame)
    # What the last layer saw depends on every weight: a model that was trained anew is another one.
    last = recorded.records[-1].tensors()[0].detach().float().cpu().contiguous().numpy()
    digest = sha256(f"{bundle.name} {key} {layers}".encode())
    for part in (photo, last.tobytes()):
        digest.update(part)
    return ShownImage(**vars(recorded), key=digest.hexdigest()[:20], photo=photo)


@computed_once(
    "sinks",
    key=lambda shown, layer: (shown.key, layer),
    size=lambda sinks: 200 + 100 * len(sinks),
)
def sinks_of(shown: ShownImage, layer: int) -> list[tuple[int, float]]:
    """Find the attention sinks of one layer, as ``model.recorded_image.find_sinks``."""
    with torch.inference_mode():
        return find_sinks(shown.records[layer])


QUERIES_AT_A_TIME = 256


@computed_once(
    "mean rows", key=lambda shown, layer: (shown.key, layer), size=lambda rows: rows.nbytes
)
def mean_rows(shown: ShownImage, layer: int) -> np.ndarray:
    """Compute a layer's attention from all patches, averaged: (heads, tokens) float32."""
    record, tokens = shown.records[layer], shown.layers[layer].tokens
    patches = range(len(tokens.prefix), tokens.tokens)
    if record.windows:
        maps = [shown.layer_maps(layer, query) for query in patches]
        return np.mean(maps, axis=0).reshape(len(maps[0]), -1)
    total = torch.zeros(record.shape[1], record.shape[3])
    for first in range(patches.start, patches.stop, QUERIES_AT_A_TIME):
        part = range(first, min(first + QUERIES_AT_A_TIME, patches.stop))
        total += record.weights(queries=list(part))[0].sum(1).cpu()
    return (total / len(patches)).numpy()


ALL_ROWS = 600
"""Tokens up to which rollout is computed from every token at once: it costs little more than one
row, and a class asks for all of them."""


def rollout_from(shown: ShownImage, query: int, fusion: str, discard: float) -> np.ndarray:
    """Compute attention rollout from one token: (tokens,) float32, summing to one."""
    tokens = shown.layers[0].tokens.tokens
    if tokens > ALL_ROWS:
        return _rollout_rows(shown, (query,), fusion, discard)[0]
    return all_rollouts(shown, fusion, discard)[query]


def all_rollouts(shown: ShownImage, fusion: str, discard: float) -> np.ndarray:
    """Compute attention rollout from every token: (tokens, tokens) float32.

    Raises ValueError for more than `ALL_ROWS` tokens.
    """
    tokens = shown.layers[0].tokens.tokens
    if tokens > ALL_ROWS:
        raise ValueError(f"{tokens} tokens are too many to send rollout from each of them.")
    return _rollout_rows(shown, tuple(range(tokens)), fusion, discard)


@computed_once(
    "rollout",
    key=lambda shown, queries, fusion, discard: (shown.key, queries, fusion, discard),
    size=lambda rows: rows.nbytes,
)
def _rollout_rows(
    shown: ShownImage, queries: tuple[int, ...], fusion: str, discard: float
) -> np.ndarray:
    with torch.inference_mode():
        return rollout(shown.records, query=queries, fusion=fusion, discard=discard)[0].numpy()
