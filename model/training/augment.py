"""Augment a whole batch at once, on whatever device it lies.

All randomness comes from torch's global generators, so one seed fixes it and one saved state
continues it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from model.nets import torchvision_cpu
from model.nets.vit import ViTConfig
from model.preprocessing import ChannelStatistics, normalise, resize_batch
from model.training.recipe import Augment

Augmentation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_augmentation(
    options: Augment, channels: ChannelStatistics, config: ViTConfig, classes: int
) -> Augmentation:
    """Build (uint8 images, labels) -> (floats as the net wants them, targets)."""
    mix = make_mixer(options.mixup, options.cutmix, classes)

    def augment(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if options.crop:
            images = crop(images, options.crop)
        if options.flip:
            images = flip(images)
        images = resize_batch(images, config)
        if options.zoom:
            images = zoom(images, options.zoom)
        if options.turn:
            images = turn(images, options.turn)
        if options.colour:
            images = colour(images, options.colour)
        images = normalise(images, channels.mean, channels.std)
        if options.erase:
            images = erase(images, options.erase)
        return mix(images, labels) if mix else (images, labels)

    return augment


def gentle(options: Augment) -> Augment:
    """Keep shifts, zooms and mirrors, after which a picture still looks like a test picture."""
    return dataclasses.replace(options, turn=0.0, colour=0.0, erase=0.0, mixup=0.0, cutmix=0.0)


def crop(images: Tensor, padding: int) -> Tensor:
    """Shift each picture of (B, C, H, W) by up to `padding` pixels; the border is mirrored."""
    batch, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images.float(), [padding] * 4, mode="reflect").to(images.dtype)
    top, left = torch.randint(0, 2 * padding + 1, (2, batch, 1), device=device)
    rows = (top + torch.arange(height, device=device))[:, None, :, None]
    columns = (left + torch.arange(width, device=device))[:, None, None, :]
    which = torch.arange(batch, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[which, channel, rows, columns]


def zoom(images: Tensor, least: float) -> Tensor:
    """Enlarge a random window of each picture of (B, C, H, W) to its whole size.

    The window covers a share of the picture from `least` to 1.
    """
    device, count = images.device, len(images)
    side = torch.empty(count, device=device).uniform_(least, 1).sqrt()
    shift = torch.empty(count, 2, device=device).uniform_(-1, 1) * (1 - side)[:, None]
    window = torch.zeros(count, 2, 3, device=device)
    window[:, 0, 0] = window[:, 1, 1] = side
    window[:, :, 2] = shift
    return _sample_windows(window, images)


def turn(images: Tensor, degrees: float) -> Tensor:
    """Turn half of the pictures of (B, C, H, W) by up to `degrees`, and shear them by as much."""
    device, count = images.device, len(images)
    angle, lean = math.radians(degrees) * (2 * torch.rand(2, count, device=device) - 1)
    lean = lean.tan()
    turned = torch.zeros(count, 2, 3, device=device)
    turned[:, 0, 0] = angle.cos()
    turned[:, 0, 1] = lean * angle.cos() - angle.sin()
    turned[:, 1, 0] = angle.sin()
    turned[:, 1, 1] = lean * angle.sin() + angle.cos()
    chosen = torch.rand(count, 1, 1, 1, device=device) < 0.5
    return torch.where(chosen, _sample_windows(turned, images), images)


def _sample_windows(windows: Tensor, images: Tensor) -> Tensor:
    """Resample each picture of (B, C, H, W) through its affine window, (B, 2, 3)."""
    grid = F.affine_grid(windows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def flip(images: Tensor) -> Tensor:
    """Mirror each picture of (B, C, H, W) left to right with probability one half."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def colour(images: Tensor, strength: float) -> Tensor:
    """Vary brightness, contrast and saturation of float (B, 3, H, W) in 0..1 by ± `strength`."""
    factors = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, device=images.device) - 1)
    brightness, contrast, saturation = factors
    images = images * brightness
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
    images = torch.lerp(images.mean(1, keepdim=True), images, saturation)
    return images.clamp(0, 1)


def erase(images: Tensor, probability: float, largest: float = 0.33) -> Tensor:
    """Fill one box of each chosen picture with noise: random erasing.

    Zhong et al. 2017, "Random Erasing Data Augmentation". `images` are normalised floats
    (B, C, H, W); the box covers from 2 % to `largest` of the area.
    """
    batch, _, height, width = images.shape
    random = torch.rand(5, batch, 1, 1, device=images.device)
    area = (0.02 + (largest - 0.02) * random[0]) * height * width
    aspect = torch.exp((2 * random[1] - 1) * 1.2)  # 0.3 to 3.3, as published
    tall = (area * aspect).sqrt().clamp(max=height)
    wide = (area / aspect).sqrt().clamp(max=width)
    rows = torch.arange(height, device=images.device)[:, None] - random[2] * (height - tall)
    columns = torch.arange(width, device=images.device) - random[3] * (width - wide)
    inside = (rows >= 0) & (rows < tall) & (columns >= 0) & (columns < wide)
    inside &= random[4] < probability
    return torch.where(inside[:, None], torch.randn_like(images), images)


def make_mixer(mixup: float, cutmix: float, classes: int) -> Augmentation | None:
    """Build torchvision's MixUp and CutMix, one of them at random for each batch; None for neither.

    The result turns (images, labels) into (images, soft labels (B, classes)).
    """
    if not mixup and not cutmix:
        return None
    torchvision_cpu.ensure_operators()
    from torchvision.transforms import v2

    choices = []
    if mixup:
        choices.append(v2.MixUp(alpha=mixup, num_classes=classes))
    if cutmix:
        choices.append(v2.CutMix(alpha=cutmix, num_classes=classes))
    return v2.RandomChoice(choices)
