"""Recorded images: attention computed once, and shared by everybody who looks at the same picture.

A class of students looks at the same few pictures, so the recordings live in one cache for the
whole server, bounded in bytes. A session holds keys only.
"""

import threading
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from cachetools import LRUCache, cached
from PIL import Image

from model.bundle import Bundle
from model.recorded_image import RecordedImage, find_sinks, record_image
from model.recording.recorder import AttentionRecord
from model.recording.rollout import rollout
from viz.components.payload import photo_bytes

CACHE_BYTES = 512 * 2**20


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


@cached(
    LRUCache(CACHE_BYTES, getsizeof=lambda shown: shown.nbytes),
    key=_key,
    condition=threading.Condition(),
)
def recorded_image(
    bundle: Bundle, key: str, image: Image.Image, layers: tuple[int, ...] | None = None
) -> ShownImage:
    """Record an image once for everybody; ``key`` is the sha256 of the picture's file."""
    recorded = record_image(bundle, image, layers)
    token = sha256(f"{bundle.name} {key} {layers}".encode()).hexdigest()[:16]
    return ShownImage(**vars(recorded), key=token, photo=photo_bytes(recorded.frame))


@cached(
    LRUCache(4096), key=lambda shown, layer: (shown.key, layer), condition=threading.Condition()
)
def sinks_of(shown: ShownImage, layer: int) -> list[tuple[int, float]]:
    """Find the attention sinks of one layer, as ``model.recorded_image.find_sinks``."""
    with torch.inference_mode():
        return find_sinks(shown.records[layer])


def layer_payload(record: AttentionRecord) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Prepare what the browser needs to draw any row of a layer.

    Returns:
        Header entries, and arrays: queries and keys where the record has them; finished maps where
        a model wrote its own softmax, or attends within windows.
    """
    if record.windows:
        windows = record.windows
        slots = windows.join(torch.arange(windows.count * windows.area).view(windows.count, -1))
        arrays = {"maps": record.weights().half().numpy(), "slots": slots.numpy().astype(np.uint32)}
        return {"kind": "windows", "area": windows.area}, arrays
    if record.query is None or record.key is None:
        return {"kind": "maps"}, {"maps": record.weights()[0].half().numpy()}
    tensors = {"query": record.query[0], "key": record.key[0]}
    if record.bias is not None:
        tokens = record.shape[-1]
        tensors["bias"] = record.bias.expand(1, -1, tokens, tokens)[0]
    header = {"kind": "qk", "dim": record.query.shape[-1], "scale": record.scale}
    return header, {name: tensor.half().numpy() for name, tensor in tensors.items()}


@cached(
    LRUCache(64 * 2**20, getsizeof=lambda row: row.nbytes),
    key=lambda shown, query, fusion, discard: (shown.key, query, fusion, discard),
    condition=threading.Condition(),
)
def rollout_from(shown: ShownImage, query: int, fusion: str, discard: float) -> np.ndarray:
    """Compute attention rollout from one token: (tokens,) float32, summing to one."""
    with torch.inference_mode():
        return rollout(shown.records, query=query, fusion=fusion, discard=discard)[0].numpy()
