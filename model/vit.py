"""The published path of `build`; the code is in `model.nets.vit`."""

from model.nets.vit import build

__all__ = ["build"]
