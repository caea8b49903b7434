"""A model with everything one needs to show it a photo and to read its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model.patches import TokenLayout

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class ModelNotFound(ValueError):
    """No model of this name, or its files are not here; the message says what works."""


class ModelRejected(ValueError):
    """A model that cannot be opened; the message says why and what to do."""


@dataclass(frozen=True)
class Resize:
    """How a photo of any size becomes the size that a model takes.

    The largest central part of the model's shape is cut out, `share` of it in height and in
    width, and resized. With `squash`, the whole photo is resized and its shape is lost.
    """

    size: tuple[int, int]  # height, width
    share: float = 1.0
    interpolation: str = "bicubic"
    squash: bool = False

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"There is no interpolation “{self.interpolation}”: choose from "
                f"{', '.join(INTERPOLATIONS)}."
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"The share kept of a photo is above 0 and at most 1: {self.share}.")

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The part of a photo that is kept, (left, top, right, bottom) in its pixels."""
        if self.squash:
            return 0, 0, width, height
        scale = self.share * min(height / self.size[0], width / self.size[1])
        kept_height = min(height, max(1, round(self.size[0] * scale)))
        kept_width = min(width, max(1, round(self.size[1] * scale)))
        left, top = (width - kept_width) // 2, (height - kept_height) // 2
        return left, top, left + kept_width, top + kept_height

    def __call__(self, frame: Image.Image) -> Image.Image:
        height, width = self.size
        return frame.resize((width, height), INTERPOLATIONS[self.interpolation])


def normalisation(
    mean: Sequence[float], std: Sequence[float], channels: int
) -> dict[str, tuple[float, ...]]:
    """`mean` and `std` as tuples, checked: a value for each channel, no std of zero.

    Raises ModelRejected.
    """
    try:
        mean, std = tuple(map(float, mean)), tuple(map(float, std))
    except (TypeError, ValueError) as error:
        raise ModelRejected("Mean and std are lists of numbers, one for each channel.") from error
    if not len(mean) == len(std) == channels:
        raise ModelRejected(
            f"The model has {channels} channels, so it takes {channels} means and {channels} "
            f"standard deviations, not {len(mean)} and {len(std)}."
        )
    if not (all(map(math.isfinite, mean)) and all(0 < value < math.inf for value in std)):
        raise ModelRejected("A mean is a number, and a standard deviation is one above 0.")
    return {"mean": mean, "std": std}


def with_fixed_seed(make: Callable[[], nn.Module]) -> nn.Module:
    """`make()` with the same random weights every time; later random numbers are unaffected."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


@dataclass
class Bundle:
    """A model under its name, ready to be shown a photo."""

    name: str
    net: nn.Module  # in eval mode
    tokens: TokenLayout
    mean: tuple[float, ...]  # per channel, of values from 0 to 1
    std: tuple[float, ...]
    resize: Resize
    classes: list[str] | None = None
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of what `prepare` makes."""
        return self.resize.size

    def frame(self, image: Image.Image) -> Image.Image:
        """The part of the photo that the model sees, at the photo's own resolution."""
        return image.crop(self.resize.box(*image.size))

    def prepare(self, image: Image.Image) -> Tensor:
        """A photo as the model takes it: `frame(image)` resized and normalised.

        Returns float32 (1, C, H, W).
        """
        small = self.resize(self.frame(image.convert("L" if len(self.mean) == 1 else "RGB")))
        pixels = np.asarray(small, dtype=np.float32).reshape(*self.image_size, len(self.mean))
        pixels = (pixels / 255 - np.float32(self.mean)) / np.float32(self.std)
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
