"""The models of torchvision that attend, small where their classes allow it."""

from __future__ import annotations

import torch

from tests.sweep.subject import Subject, images

_SIZES = {"vit_b_16": 64, "swin_t": 64, "swin_v2_t": 64, "maxvit_t": 224}


def list_models() -> list[str]:
    """List the names. The MViTs for videos of 224 pixels are too large for a sweep."""
    return [*_SIZES, "swin3d_t"]


def build(name: str) -> Subject:
    """Build a model with random weights."""
    from torchvision import models

    torch.manual_seed(0)
    if name in _SIZES:
        sized = {"image_size": _SIZES[name]} if name.startswith("vit") else {}
        net = models.get_model(name, **sized)
        return Subject(net.eval(), (images(3, _SIZES[name], _SIZES[name]),))
    return Subject(models.get_model(name).eval(), (images(3, 4, 64, 64),))
