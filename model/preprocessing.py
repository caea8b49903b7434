"""Prepare pictures for a net: resize them, fit their channels, normalise them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from model.errors import ModelRejected
from model.nets.vit import ViTConfig
from model.tokens import MAX_SIDE, pair

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Resize:
    """Crop and resize a photo of any size to the size that a model takes.

        >>> resize = Resize(size=(224, 224))
        >>> resize.box(640, 480)  # the part that is kept: left, top, right, bottom
        (80, 0, 560, 480)
        >>> resize(Image.new("RGB", (640, 480))).size
        (224, 224)

    The largest central part that has the model's shape is cut out and resized. Published models
    follow another rule, which `resized` asks for: the whole photo is resized first, its shorter
    side to that many pixels, or both sides to (height, width) whatever its shape, and the centre
    is cut out of the result.
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
        whole = _resized_whole(self.resized, *image.size)
        return image.resize(whole, pixels).crop(_central((width, height), whole))

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Find the part of a photo that is kept, (left, top, right, bottom) in its pixels.

        It is exact where the part is cut out first, and rounded to whole pixels where it is cut
        out of the resized photo.
        """
        if self.resized is None:
            scale = min(height / self.size[0], width / self.size[1])
            kept = (max(1, round(self.size[1] * scale)), max(1, round(self.size[0] * scale)))
            return _central(kept, (width, height))
        whole = _resized_whole(self.resized, width, height)
        left, top, right, bottom = _central((self.size[1], self.size[0]), whole)
        across, down = width / whole[0], height / whole[1]
        left, top = max(0, round(left * across)), max(0, round(top * down))
        right, bottom = min(width, round(right * across)), min(height, round(bottom * down))
        return left, top, max(right, left + 1), max(bottom, top + 1)


def _resized_whole(resized: int | tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Compute the width and height of the whole photo after resizing."""
    if isinstance(resized, int):
        shorter = min(width, height)
        return int(resized * width / shorter), int(resized * height / shorter)
    height, width = resized
    return width, height


def _central(part: tuple[int, int], whole: tuple[int, int]) -> tuple[int, int, int, int]:
    """Compute the box (left, top, right, bottom) of a centred part; sizes: (width, height)."""
    left, top = (round((b - a) / 2) for a, b in zip(part, whole, strict=True))
    return left, top, left + part[0], top + part[1]


def check_normalisation(
    mean: Sequence[float], std: Sequence[float], channels: int
) -> dict[str, tuple[float, ...]]:
    """Check `mean` and `std` and return them as tuples, by name.

    Each needs one value for each channel, and no standard deviation is zero. Raises ModelRejected.
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


def resize_batch(images: Tensor, config: ViTConfig) -> Tensor:
    """Fit pictures to a net: uint8 (B, C, h, w) -> floats from 0 to 1 (B, in_channels, H, W)."""
    images = images.float() / 255
    size = pair(config.img_size)
    if images.shape[-2:] != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)
    if images.shape[1] == 1 and config.in_channels == 3:
        images = images.expand(-1, 3, -1, -1)
    return images


class ChannelStatistics(Protocol):
    """Mean and standard deviation of each channel, for values from 0 to 1."""

    @property
    def mean(self) -> Sequence[float]: ...

    @property
    def std(self) -> Sequence[float]: ...


def prepare_batch(images: Tensor, config: ViTConfig, channels: ChannelStatistics) -> Tensor:
    """Turn uint8 pictures (B, C, h, w) into a net's input: resized and normalised."""
    return normalise(resize_batch(images, config), channels.mean, channels.std)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean of each channel from images (B, C, H, W), and divide by its deviation."""
    means, deviations = (_of_channels(tuple(values), images.device) for values in (mean, std))
    return (images - means) / deviations


@cache
@torch.inference_mode(False)  # the first caller may be in inference mode, a later one not
def _of_channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Make a tensor (C, 1, 1) on a device once: a copy at each step would wait for the others."""
    return torch.tensor(values, device=device).view(-1, 1, 1)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of `sigma` pixels, cut off at 3 sigma; border pixels repeat outside."""
    reach = math.ceil(3 * sigma)
    steps = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    for shape, padding in (((-1, 1), (0, 0, reach, reach)), ((1, -1), (reach, reach, 0, 0))):
        weight = kernel.reshape(1, 1, *shape).expand(channels, -1, -1, -1)
        padded = F.pad(images, padding, mode="replicate")
        images = F.conv2d(padded, weight, groups=channels)
    return images
