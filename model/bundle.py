"""A model with everything one needs to show it a photo and to read its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from model.card import Card
from model.preprocessing import Resize
from model.tokens import TokenLayout


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
    card: Card = field(default_factory=Card)

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
