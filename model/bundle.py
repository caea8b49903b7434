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
from torch.utils._python_dispatch import TorchDispatchMode

from model.patches import MAX_SIDE, TokenLayout, pair

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

    The largest central part that has the model's shape is cut out and resized. Published models
    come with another rule, which `resized` asks for: the whole photo is resized first, its
    shorter side to that many pixels, or both sides to (height, width) whatever its shape, and
    the centre is cut out of that.
    """

    size: tuple[int, int]  # height, width
    resized: int | tuple[int, int] | None = None
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"There is no interpolation “{self.interpolation}”: choose from "
                f"{', '.join(INTERPOLATIONS)}."
            )
        if self.resized is not None and max(pair(self.resized)) > MAX_SIDE:
            raise ValueError(f"A photo is resized to at most {MAX_SIDE:,} pixels.")

    def __call__(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        pixels = INTERPOLATIONS[self.interpolation]
        if self.resized is None:
            return image.crop(self.box(*image.size)).resize((width, height), pixels)
        whole = self._whole(*image.size)
        return image.resize(whole, pixels).crop(_central((width, height), whole))

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The part of a photo that is kept, (left, top, right, bottom) in its pixels.

        Exact where the part is cut out first; rounded to whole pixels where it is cut out of
        the resized photo.
        """
        if self.resized is None:
            scale = min(height / self.size[0], width / self.size[1])
            kept = (max(1, round(self.size[1] * scale)), max(1, round(self.size[0] * scale)))
            return _central(kept, (width, height))
        whole = self._whole(width, height)
        left, top, right, bottom = _central((self.size[1], self.size[0]), whole)
        across, down = width / whole[0], height / whole[1]
        left, top = max(0, round(left * across)), max(0, round(top * down))
        right, bottom = min(width, round(right * across)), min(height, round(bottom * down))
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def _whole(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the whole photo after resizing."""
        if isinstance(self.resized, int):
            shorter = min(width, height)
            return int(self.resized * width / shorter), int(self.resized * height / shorter)
        height, width = self.resized
        return width, height


def _central(part: tuple[int, int], whole: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of a centred part; sizes are (width, height)."""
    left, top = (round((b - a) / 2) for a, b in zip(part, whole, strict=True))
    return left, top, left + part[0], top + part[1]


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
    """`make()` with the same random weights every time; no other random numbers are affected, nor
    do they affect these, whatever other threads do meanwhile."""
    with _OwnRandomness():
        return make()


class _OwnRandomness(TorchDispatchMode):
    """Random numbers on the CPU come from a generator of this thread's own, of seed 0.

    torch's usual generator is one for the whole process: of two threads that seed it, or of one
    that seeds it and one that draws, neither gets what it would alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in op.tags and _on_cpu(args, kwargs):
            kwargs = kwargs | {"generator": self.generator}
            if not any(argument.name == "generator" for argument in op._schema.arguments):
                kind = op._overloadname  # rand, randn, randperm, randint and randint from a low
                op = getattr(op.overloadpacket, {"low": "low_generator"}.get(kind, "generator"))
        return op(*args, **kwargs)


def _on_cpu(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether an operation fills a tensor on the CPU, and not, say, a mere shape."""
    given = [value for value in args if isinstance(value, Tensor)]
    device = given[0].device if given else kwargs.get("device") or "cpu"
    return torch.device(device).type == "cpu"


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
        """The part of the photo that the model's patches cover, at the photo's own resolution."""
        return image.crop(self.frame_box(image))

    def frame_box(self, image: Image.Image) -> tuple[int, int, int, int]:
        """Where `frame` lies in the photo: left, top, right, bottom, the last two exclusive."""
        left, top, right, bottom = self.resize.box(*image.size)
        height, width = (
            min(1.0, covered / side)
            for covered, side in zip(self.tokens.image_size, self.image_size, strict=True)
        )
        right, bottom = left + round(width * (right - left)), top + round(height * (bottom - top))
        return left, top, right, bottom

    def prepare(self, image: Image.Image) -> Tensor:
        """A photo as the model takes it: what `frame` shows, resized and normalised.

        Returns float32 (1, C, H, W).
        """
        small = self.resize(image.convert("L" if len(self.mean) == 1 else "RGB"))
        pixels = np.asarray(small, dtype=np.float32).reshape(*self.image_size, len(self.mean))
        pixels = (pixels / 255 - np.float32(self.mean)) / np.float32(self.std)
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
