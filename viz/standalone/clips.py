"""Make the figure of a clip: every frame's maps in all layers and heads, from one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from viz.components.payload import pack
from viz.standalone.figure import Figure, FigurePart
from viz.standalone.views import Start


@dataclass(frozen=True)
class RecordedClip:
    """A clip through one model, from one token.

    Attributes:
        photos: JPEG of what the model saw of each frame.
        layers: of each layer the maps (frames, heads, rows, columns).
        rollout: (frames, rows, columns); None where it is not defined.
        numbers: what the layers are called, from one on.
        prefix: names of the tokens before the patches.
        asking: the token of the first layer that asks.
        milliseconds: how long a frame stays where `seconds` does not say when each is shown.
        classes: with a line each; `shares`: their probabilities, (classes, frames).
    """

    photos: Sequence[bytes]
    layers: Sequence[np.ndarray]
    rollout: np.ndarray | None
    numbers: Sequence[int]
    prefix: Sequence[str]
    asking: int
    milliseconds: int
    seconds: Sequence[float] | None = None
    classes: Sequence[str] = ()
    shares: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def pack_photos(photos: Sequence[bytes]) -> bytes:
    """Pack the photos of a clip, JPEGs one after another, as the component asks for them."""
    return pack({"sizes": [len(photo) for photo in photos]}, photos=b"".join(photos))


def pack_maps(maps: np.ndarray) -> bytes:
    """Pack maps (frames, heads, rows, columns) in float16, as the component asks for them."""
    frames, heads, rows, columns = maps.shape
    header = {"heads": heads, "grid": [rows, columns]}
    return pack(header, maps=maps.reshape(frames, heads, -1).astype(np.float16))


def clip_figure(clip: RecordedClip, start: Start, title: str, about: Sequence[str] = ()) -> Figure:
    """Make the figure of a clip, with its timeline.

    Args:
        clip: its frames through the model.
        start: the layer and the head to begin with, and how maps are drawn.
        title: the figure's title.
        about: lines that say what is shown.
    """
    answers = {"photos": pack_photos(clip.photos)}
    answers |= {f"layer/{at}": pack_maps(maps) for at, maps in enumerate(clip.layers)}
    if clip.rollout is not None:
        answers["rollout"] = pack_maps(clip.rollout[:, None])
    digest = sha256(b"".join(answers.values())).hexdigest()[:16]
    last = len(clip.layers) - 1
    layer = min(start.layer % len(clip.layers) if start.layer < 0 else start.layer, last)
    heads = clip.layers[layer].shape[1]
    head = min(start.head, heads - 1) if isinstance(start.head, int) else start.head
    view = start.as_header() | {"layer": layer, "head": head, "frame": 0, "map": "layer"}
    header = {
        "fixed": True,
        "source": digest,
        "layers": [list(maps.shape[1:]) for maps in clip.layers],
        "numbers": list(clip.numbers),
        "prefix": list(clip.prefix),
        "view": view,
        "style": start.style.as_header(),
        "revision": digest,
        "frames": len(clip.photos),
        "seconds": None if clip.seconds is None else list(clip.seconds),
        "milliseconds": clip.milliseconds,
        "asking": clip.asking,
        "rollout": clip.rollout is not None,
        "classes": list(clip.classes),
    }
    part = FigurePart("video", pack(header, shares=clip.shares.astype(np.float32)))
    named = {f"{digest}/{name}": answer for name, answer in answers.items()}
    return Figure(title, (part,), named, about)
