"""Does a mask that was found without labels lie on the object? IoU with the object's box.

`python -m model.evaluate objects NAME --data DIR --limit 500` measures the masks of
`model.features.object_mask` and of DINO's attention. Boxes of photos cover much of the picture, so
each figure stands beside what chance, the middle and the whole picture reach.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from model.attribution.metrics.localisation import box_cover, mass_mask
from model.bundle import Bundle
from model.datasets import pictures
from model.datasets.split import Split
from model.errors import DataError
from model.evaluate.pointing import attention_map, box_edges
from model.features import patch_features
from model.features.object_mask import first_component_mask, token_cut_mask
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout

BATCH = 20
MIDDLE = 0.5
"""Share of the picture that the middle covers."""

Masks = Callable[[nn.Module, Tensor, TokenLayout], Tensor]
"""A net, prepared images and the layout of its tokens -> masks (B, rows, columns)."""


def mask_by_token_cut(net: nn.Module, images: Tensor, layout: TokenLayout) -> Tensor:
    """Mask by the last layer's keys."""
    keys = patch_features(net, images, part="keys", layout=layout)
    return token_cut_mask(keys, layout.grid)


def mask_by_attention(net: nn.Module, images: Tensor, layout: TokenLayout) -> Tensor:
    """Mask the fewest patches that hold 60 % of the last layer's attention, mean over heads."""
    with torch.no_grad(), AttentionRecorder(net, [-1]) as recorder:
        net(images)
    return mass_mask(attention_map(recorder.records[-1], layout))


def mask_by_first_component(net: nn.Module, images: Tensor, layout: TokenLayout) -> Tensor:
    """Mask by the tokens after the last norm."""
    return first_component_mask(patch_features(net, images, layout=layout), layout.grid)


METHODS: dict[str, Masks] = {
    "token_cut": mask_by_token_cut,
    "attention_mass": mask_by_attention,
    "first_component": mask_by_first_component,
}


def measure_masks(bundle: Bundle, folder: Path, limit: int | None = None) -> dict[str, Any]:
    """Measure each method's mean IoU with the boxes of a data set's test pictures.

    Masks are compared with boxes by area. The chance of a method is the mean IoU of as many patches
    as its mask has, chosen at random; the middle is a centred box of half the picture.

    Returns:
        `iou_METHOD` and `chance_METHOD`, `iou_middle`, `iou_whole`, and the number of pictures.

    Raises:
        DataError: the data has no boxes.
    """
    split = pictures.read_split(folder, "test", min(bundle.image_size), limit)
    if split.boxes is None:
        raise DataError("The pictures of this data set have no boxes. Take Tiny ImageNet.")
    found: dict[str, list[Tensor]] = {}
    random = torch.Generator().manual_seed(0)
    for start in range(0, len(split), BATCH):
        images, cover = _prepare(bundle, split, range(start, min(start + BATCH, len(split))))
        for name, method in METHODS.items():
            masks = method(bundle.net, images, bundle.tokens).double()
            found.setdefault(f"iou_{name}", []).append(cover_iou(masks, cover))
            scattered = scatter_masks(masks, random)
            found.setdefault(f"chance_{name}", []).append(cover_iou(scattered, cover))
        middle = middle_cover(bundle.tokens.grid).expand_as(cover)
        found.setdefault("iou_middle", []).append(cover_iou(middle, cover))
        found.setdefault("iou_whole", []).append(cover_iou(torch.ones_like(cover), cover))
    means = {name: round(torch.cat(values).mean().item(), 4) for name, values in found.items()}
    return means | {"pictures": len(split)}


def cover_iou(masks: Tensor, cover: Tensor) -> Tensor:
    """Divide intersection by union of masks and boxes, both as shares of each patch: (B,)."""
    both = (masks * cover).sum((1, 2))
    return both / (masks.sum((1, 2)) + cover.sum((1, 2)) - both).clamp_min(1e-12)


def scatter_masks(masks: Tensor, random: torch.Generator) -> Tensor:
    """Move the patches of each mask (B, rows, columns) to places chosen at random."""
    flat = masks.flatten(1)
    order = torch.rand(flat.shape, generator=random).argsort(1)
    return flat.gather(1, order).view(masks.shape)


def middle_cover(grid: tuple[int, int]) -> Tensor:
    """Compute how much of each patch a centred box of half the picture covers."""
    rim = (1 - MIDDLE**0.5) / 2
    box = torch.tensor([[rim, rim, 1 - rim, 1 - rim]], dtype=torch.float64)
    return box_cover(box, (1.0, 1.0), grid)


def _prepare(bundle: Bundle, split: Split, chosen: range) -> tuple[Tensor, Tensor]:
    """Prepare pictures, and compute how much of each patch their boxes cover."""
    assert split.boxes is not None
    images, covers = [], []
    for index in chosen:
        image = Image.fromarray(split.images[index].permute(1, 2, 0).numpy().squeeze())
        left, top, right, bottom = bundle.frame_box(image)
        edges = box_edges(split.boxes[index : index + 1].long()).double()
        edges -= torch.tensor([left, top, left, top])
        size = (bottom - top, right - left)
        images.append(bundle.prepare(image))
        covers.append(box_cover(edges, size, bundle.tokens.grid))
    return torch.cat(images), torch.cat(covers)
