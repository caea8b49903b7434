"""Play the pointing game: does the peak of an attention map fall inside the object's box?

Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop". A rate means little by
itself, so it comes with chance (the boxes' mean share of the picture) and with the rate of the
picture's centre, where photographers like to put the object.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.attribution.metrics.localisation import peak_inside, points_inside
from model.nets.vit import VisionTransformer
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import rollout
from model.tokens import TokenLayout


def attention_maps(records: list[AttentionRecord], layout: TokenLayout) -> dict[str, Tensor]:
    """Compute two maps over the patches, each (B, rows, columns).

    "attention": the last layer, mean over heads. "rollout": all layers together. Both are read
    from the class token, or as the mean over the patches' rows where there is none.
    """
    rolled = rollout(records, query=_readout_tokens(layout)).mean(1)
    rolled = rolled[:, layout.patch_slice].unflatten(1, layout.grid)
    return {"attention": attention_map(records[-1], layout), "rollout": rolled}


def attention_map(record: AttentionRecord, layout: TokenLayout) -> Tensor:
    """Compute one layer's map over the patches, mean over heads: (B, rows, columns).

    It is read from the class token, or as the mean over the patches' rows where there is none.
    """
    queries = _readout_tokens(layout)
    total = torch.zeros((), device=record.device)
    for start in range(0, len(queries), 256):  # in parts: the rows of 3,601 tokens are large
        total = total + record.weights(queries=queries[start : start + 256]).mean(1).sum(1)
    return (total / len(queries))[:, layout.patch_slice].unflatten(1, layout.grid)


def _readout_tokens(layout: TokenLayout) -> list[int]:
    return [0] if "cls" in layout.prefix else list(range(layout.tokens))[layout.patch_slice]


def box_edges(boxes: Tensor) -> Tensor:
    """Turn boxes x0, y0, x1, y1 with their last pixels included into edges, the last outside."""
    return boxes + torch.tensor([0, 0, 1, 1])


def box_shares(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the share of the picture that each box covers, (B,)."""
    sides = (box_edges(boxes)[:, 2:] - boxes[:, :2]).double()
    return sides.prod(1) / (size[0] * size[1])


@torch.inference_mode()
def pointing_game(
    net: VisionTransformer,
    images: Tensor,
    boxes: Tensor,
    prepare: Callable[[Tensor], Tensor],
    batch: int = 50,
) -> dict[str, float]:
    """Compute the share of the pictures in which the peak of a map lies inside the box.

    `images` are uint8 (N, C, H, W), `boxes` (N, 4) in their pixels. `prepare` turns images into
    the net's input.
    """
    size = (images.shape[-2], images.shape[-1])
    hits: dict[str, list[Tensor]] = {}
    for pictures, around in zip(images.split(batch), boxes.split(batch), strict=True):
        with AttentionRecorder(net) as recorder:
            net(prepare(pictures))
        for name, maps in attention_maps(recorder.records, net.tokens).items():
            hits.setdefault(name, []).append(peak_inside(maps, box_edges(around), size))
    centre = torch.tensor([[size[1] / 2, size[0] / 2]]).expand(len(boxes), 2)
    figures = {f"pointing_{name}": torch.cat(found) for name, found in hits.items()}
    figures["pointing_chance"] = box_shares(boxes, size)
    figures["pointing_centre"] = points_inside(centre, box_edges(boxes))
    return {name: values.double().mean().item() for name, values in figures.items()}
