"""A model with everything one needs to show it a photo and to read its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model.card import Card
from model.preprocessing import Resize
from model.tokens import TokenLayout

Net = TypeVar("Net", bound=nn.Module, covariant=True)


@dataclass
class Bundle(Generic[Net]):
    """A model under its name, ready for a photo. `model.zoo.load` opens one.

    Attributes:
        name: The name under which it was opened.
        net: The net, in eval mode.
        tokens: What each token stands for: the grid of patches and what comes before them.
        mean: Mean of each channel, for values from 0 to 1.
        std: Standard deviation of each channel.
        resize: How a photo becomes the size that the net takes.
        classes: Names of the classes, in the order of the net's answers; None for no names.
        card: Where the model comes from, and how well it does.
        bands: What each channel of a model with other channels than a photo's is given: 0 red,
            1 green, 2 blue, 3 grey. By default red, green, blue, and grey for all others.

    Example:
        >>> from model import zoo
        >>> from model.datasets import samples
        >>> bundle = zoo.load("photos")
        >>> images = bundle.prepare(samples.load("coffee"))
        >>> images.shape  # one image, channels, height, width
        torch.Size([1, 3, 64, 64])
        >>> bundle.classes[bundle.net(images).argmax()]
        'espresso'
    """

    name: str
    net: Net
    tokens: TokenLayout
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize
    classes: list[str] | None = None
    card: Card = field(default_factory=Card)
    bands: tuple[int, ...] | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that `prepare` makes."""
        return self.resize.size

    def frame(self, image: Image.Image) -> Image.Image:
        """Cut out the part of a photo that the model's patches cover, at the photo's resolution."""
        return image.crop(self.frame_box(image))

    def frame_box(self, image: Image.Image) -> tuple[int, int, int, int]:
        """Compute where `frame` lies in a photo.

        Returns:
            Left, top, right and bottom in pixels, the last two exclusive.
        """
        left, top, right, bottom = self.resize.box(*image.size)
        height, width = (
            min(1.0, covered / side)
            for covered, side in zip(self.tokens.image_size, self.image_size, strict=True)
        )
        right, bottom = left + round(width * (right - left)), top + round(height * (bottom - top))
        return left, top, right, bottom

    def prepare(self, image: Image.Image) -> Tensor:
        """Turn a photo into what the net takes: resized and normalised.

        Args:
            image: A photo of any size and mode.

        Returns:
            float32 (1, C, H, W), which shows what `frame` cuts out.
        """
        pixels = self._channels(image)
        mean, std = (np.array(values, dtype=np.float32) for values in (self.mean, self.std))
        pixels = (pixels / np.float32(255) - mean) / std
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())

    def _channels(self, image: Image.Image) -> np.ndarray:
        """Resize a photo and give each channel of the model its band: (H, W, C) float32."""
        count = len(self.mean)
        if count in (1, 3) and self.bands is None:
            small = self.resize(image.convert("L" if count == 1 else "RGB"))
            return np.asarray(small, dtype=np.float32).reshape(*self.image_size, count)
        photo = self.resize(image.convert("RGB"))
        bands = np.dstack([np.asarray(photo), np.asarray(photo.convert("L"))])
        chosen = self.bands or [min(channel, 3) for channel in range(count)]
        return bands[..., list(chosen)].astype(np.float32)
