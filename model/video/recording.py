"""Record the attention of a clip's frames, from one place of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from model.bundle import Bundle
from model.recorded_image import RecordedImage, find_same_place, record_image
from model.recording.rollout import rollout
from model.video.clip import Clip

Head = int | str
"""One head, counted from zero; "mean", "max" or "min" of a layer's heads; or "rollout"."""

_FUSIONS: dict[str, Callable[..., np.ndarray]] = {"mean": np.mean, "max": np.max, "min": np.min}


@dataclass(frozen=True)
class FrameAttention:
    """The attention from one place of a frame, in every layer, and the model's answer.

    Attributes:
        maps: of each layer, (heads, rows, columns): the share of attention that each patch gets.
        rollout: (rows, columns), likewise through all layers; None where it is not defined.
        answer: (classes,) the probability of each class; None for a model without classes.
    """

    maps: tuple[np.ndarray, ...]
    rollout: np.ndarray | None
    answer: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        parts = (*self.maps, self.rollout, self.answer)
        return sum(part.nbytes for part in parts if part is not None)

    def halved(self) -> FrameAttention:
        """Return the same in float16."""
        maps = tuple(each.astype(np.float16) for each in self.maps)
        row = None if self.rollout is None else self.rollout.astype(np.float16)
        return FrameAttention(maps, row, self.answer)

    def map_of(self, layer: int, head: Head) -> np.ndarray:
        """Return one map: (rows, columns).

        Raises:
            ValueError: rollout is asked for, and is not defined for this model.
        """
        if head == "rollout":
            if self.rollout is None:
                raise ValueError("Rollout is not defined for this model.")
            return self.rollout
        if isinstance(head, int):
            return self.maps[layer][head]
        return _FUSIONS[head](self.maps[layer], axis=0)


def record_frame(
    bundle: Bundle,
    image: Image.Image,
    query: int,
    layer: int = 0,
    layers: tuple[int, ...] | None = None,
) -> FrameAttention:
    """Record one frame, and keep the attention from one token only.

        >>> from model import samples, zoo
        >>> frame = record_frame(zoo.load("cs231n-cifar10"), samples.load("chelsea"), query=5)
        >>> len(frame.maps), frame.maps[0].shape, frame.map_of(5, "mean").sum().round(4)
        (6, (4, 4, 4), np.float32(1.0))

    Args:
        query: the token that asks, in layer `layer`; the other layers' is at the same place.
        layers: layers to record, from zero; None for all.

    Raises:
        NothingRecorded, NothingToShow: as `record_image`.
    """
    recorded = record_image(bundle, image, layers)
    return attention_from(recorded, query, layer)


def attention_from(recorded: RecordedImage, query: int, layer: int = 0) -> FrameAttention:
    """Compute every map from one token of a recorded image; arguments as of `record_frame`."""
    here = recorded.layers[layer].tokens
    with torch.inference_mode():
        maps = tuple(
            recorded.layer_maps(number, find_same_place(query, here, each.tokens))
            for number, each in enumerate(recorded.layers)
        )
        followed = None if recorded.no_rollout else _follow(recorded, query)
    return FrameAttention(maps, followed, recorded.answer)


def record_clip(
    bundle: Bundle, clip: Clip, query: int, layers: tuple[int, ...] | None = None
) -> Iterator[FrameAttention]:
    """Record a clip's frames one after another; arguments as of `record_frame`."""
    for image in clip.frames:
        yield record_frame(bundle, image, query, layers=layers)


def likeliest_classes(
    classes: Sequence[str] | None, answers: Sequence[np.ndarray], frames: int, most: int = 3
) -> tuple[list[str], np.ndarray]:
    """Find the classes that come to the largest probability in a clip.

    >>> answers = [np.array([0.1, 0.9, 0.0]), np.array([0.2, 0.7, 0.1])]
    >>> likeliest_classes(["cat", "dog", "cup"], answers, frames=2, most=2)[0]
    ['dog', 'cat']

    Args:
        classes: their names; None for a model without classes.
        answers: of each frame, (classes,).
        frames: how many there are, also where there are no answers.
        most: how many classes are named.

    Returns:
        Their names, and their probabilities (classes, frames).
    """
    if classes is None or len(answers) != frames:
        return [], np.zeros((0, frames), np.float32)
    table = np.stack(answers, 1)
    best = table.max(1).argsort()[::-1][:most]
    return [classes[index] for index in best], table[best].astype(np.float32)


def spread_of_map(weights: np.ndarray) -> float:
    """Compute how far a map spreads: its entropy in nats, the map divided by its sum.

    0 is a map of one patch, and ln of the number of patches an even one.

    >>> round(spread_of_map(np.array([[0.5, 0.5], [0.0, 0.0]])), 4)
    0.6931
    """
    shares = np.asarray(weights, np.float64).ravel()
    total = shares.sum()
    shares = shares[shares > 0] / total if total > 0 else shares[:0]
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _follow(recorded: RecordedImage, query: int) -> np.ndarray:
    tokens = recorded.layers[0].tokens
    row = rollout(recorded.records, query=query)[0].numpy()
    return row[tokens.patch_slice].reshape(tokens.grid)
