"""One picture through one model, recorded; shared by everybody who looks at the same.

A class of students looks at the same few pictures, so the recordings live in one cache
for the whole server, bounded in bytes. A session holds keys only.
"""

import threading
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from cachetools import LRUCache, cached
from PIL import Image

from model import AttentionRecorder, zoo
from model.patches import TokenLayout
from model.recorder import AttentionRecord
from model.rollout import rollout
from model.windows import attention_in_image
from viz.pages.view import Layer, same_place
from viz.payload import photo_bytes

CACHE_BYTES = 512 * 2**20
TOP_CLASSES = 5


class NothingToShow(ValueError):
    """The model attends, but not from patch to patch; the message says what was seen."""


@dataclass(frozen=True)
class Look:
    """What a model did with a picture.

    Attributes:
        records: one a layer that attends over the image, in the order in which they ran.
        layers: heads and tokens of each.
        numbers: which of the model's layers they are, from zero.
        frame: the part of the picture that the model saw.
        photo: the same as JPEG for the browser.
        guesses: the likeliest classes with their probabilities; empty without classes.
        whole: whether all layers were recorded, as rollout needs.
    """

    key: str
    records: list[AttentionRecord]
    layers: list[Layer]
    numbers: tuple[int, ...]
    frame: Image.Image
    photo: bytes
    guesses: list[tuple[str, float]]
    whole: bool

    @property
    def nbytes(self) -> int:
        """Bytes that the cache counts for this."""
        width, height = self.frame.size
        return sum(record.nbytes for record in self.records) + 3 * width * height + len(self.photo)

    @property
    def heads(self) -> int:
        """The largest number of heads in a layer."""
        return max(layer.heads for layer in self.layers)

    @property
    def windowed(self) -> bool:
        """Whether some layer attends within windows, or on a grid of its own."""
        return len({layer.tokens for layer in self.layers}) > 1 or any(
            record.windows for record in self.records
        )


_looks = LRUCache(CACHE_BYTES, getsizeof=lambda look: look.nbytes)


def _key(bundle: zoo.Bundle, key: str, image: Image.Image, layers: tuple[int, ...] | None):
    return bundle.name, key, layers


@cached(_looks, key=_key, condition=threading.Condition())
def look_at(
    bundle: zoo.Bundle, key: str, image: Image.Image, layers: tuple[int, ...] | None
) -> Look:
    """Run a picture through a model and keep what its attention needs.

    Args:
        key: what tells this picture from others, such as the sha256 of its file.
        layers: which to keep, counted from zero, in order; None for all.

    Raises:
        NothingToShow: if no layer attends from the image's tokens to the image's tokens.
    """
    with torch.inference_mode(), AttentionRecorder(bundle.net, layers) as recorder:
        logits = bundle.net(bundle.prepare(image))[0]
    frame = bundle.frame(image)
    records, shapes = _image_layers(recorder.records, bundle.tokens)
    return Look(
        key=sha256(f"{bundle.name} {key} {layers}".encode()).hexdigest()[:16],
        records=records,
        layers=shapes,
        numbers=tuple(range(len(records))) if layers is None else layers,
        frame=frame,
        photo=photo_bytes(frame),
        guesses=_guesses(logits, bundle),
        whole=layers is None,
    )


def _image_layers(
    records: list[AttentionRecord], tokens: TokenLayout
) -> tuple[list[AttentionRecord], list[Layer]]:
    kept, layers = [], []
    for record in records:
        if record.windows:
            layers.append(Layer(record.shape[1], _stage_tokens(record.windows.grid, tokens)))
        elif record.kind == "self" and record.shape[2:] == (tokens.tokens, tokens.tokens):
            layers.append(Layer(record.shape[1], tokens))
        else:
            continue
        kept.append(record)
    if not kept:
        seen = ", ".join(f"{record.name} {record.shape[2:]}" for record in records[:4])
        raise NothingToShow(
            f"This model attends, but no layer does so among the {tokens.tokens} tokens of the "
            f"image: {seen}. Choose another model."
        )
    return kept, layers


def _stage_tokens(grid: tuple[int, int], tokens: TokenLayout) -> TokenLayout:
    height, width = tokens.image_size
    return TokenLayout(grid, (), (height // grid[0], width // grid[1]))


def _guesses(logits: torch.Tensor, bundle: zoo.Bundle) -> list[tuple[str, float]]:
    if bundle.classes is None or len(logits) != len(bundle.classes):
        return []
    best = logits.float().softmax(-1).topk(min(TOP_CLASSES, len(bundle.classes)))
    return [
        (bundle.classes[index], probability)
        for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def rows_from(look: Look, query: int) -> np.ndarray:
    """Every head's attention from one token: (layers, heads, tokens) float32.

    For models whose layers share their tokens. A layer with fewer heads than the widest has
    rows of zeros in their place.
    """
    out = np.zeros((len(look.records), look.heads, look.layers[0].tokens.tokens), np.float32)
    for layer, record in enumerate(look.records):
        row = record.weights(queries=[query])[0, :, 0]
        out[layer, : len(row)] = row.numpy()
    return out


def maps_from(look: Look, layer: int, query: int) -> np.ndarray:
    """Every head's map from one place: (layers, heads, rows, columns) float32.

    Also for models whose layers have grids of their own: the place is that of ``query`` in
    ``layer``, and coarser maps are repeated to the finest grid.
    """
    rows, columns = (max(each.tokens.grid[axis] for each in look.layers) for axis in (0, 1))
    out = np.zeros((len(look.records), look.heads, rows, columns), np.float32)
    for index, record in enumerate(look.records):
        tokens = look.layers[index].tokens
        token = same_place(query, look.layers[layer].tokens, tokens)
        maps = layer_maps(record, tokens, token)
        down = np.arange(rows) * tokens.grid[0] // rows
        across = np.arange(columns) * tokens.grid[1] // columns
        out[index, : len(maps)] = maps[:, down[:, None], across[None, :]]
    return out


def layer_maps(record: AttentionRecord, tokens: TokenLayout, query: int) -> np.ndarray:
    """One layer's maps from one token: (heads, rows, columns) float32; prefix tokens left out."""
    if record.windows:
        return attention_in_image(record, *tokens.position_of(query))[0].numpy()
    return (
        record.weights(queries=[query])[0, :, 0, tokens.patch_slice]
        .unflatten(-1, tokens.grid)
        .numpy()
    )


def layer_payload(record: AttentionRecord) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """What the browser needs to draw any row of a layer: header entries, and arrays.

    Queries and keys where the record has them; finished maps where a model wrote its own
    softmax, or attends within windows.
    """
    if record.windows:
        windows = record.windows
        slots = windows.join(torch.arange(windows.count * windows.area).view(windows.count, -1))
        maps = record.weights().half().numpy()
        return {"kind": "windows", "area": windows.area}, {
            "maps": maps,
            "slots": slots.numpy().astype(np.uint32),
        }
    if record.query is None:
        return {"kind": "maps"}, {"maps": record.weights()[0].half().numpy()}
    arrays = {"query": record.query[0], "key": record.key[0]}
    if record.bias is not None:
        tokens = record.shape[-1]
        arrays["bias"] = record.bias.expand(1, -1, tokens, tokens)[0]
    header = {"kind": "qk", "dim": record.query.shape[-1], "scale": record.scale}
    return header, {name: array.half().numpy() for name, array in arrays.items()}


@cached(
    LRUCache(4096),
    key=lambda look, query, fusion, discard: (look.key, query, fusion, discard),
    condition=threading.Condition(),
)
def rollout_from(look: Look, query: int, fusion: str, discard: float) -> np.ndarray:
    """Attention rollout from one token: (tokens,) float32, summing to one."""
    with torch.inference_mode():
        return rollout(look.records, query=query, fusion=fusion, discard=discard)[0].numpy()
