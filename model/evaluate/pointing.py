"""The pointing game: does the peak of a map fall inside the object's box?

Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop". A rate means little by
itself, so it comes with chance (the boxes' mean share of the picture) and with the rate of the
picture's centre, where photographers like to put the object.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.attribution.metrics.localisation import peak_inside, points_inside
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import rollout
from model.tokens import TokenLayout


def attention_maps(records: list[AttentionRecord], layout: TokenLayout) -> dict[str, Tensor]:
    """Two maps over the patches, each (B, rows, columns).

    `attention`: the last layer's, mean over heads; `rollout`: all layers together. Both are read
    from the class token where there is one, else as the mean over the patches' own rows.
    """
    rolled = rollout(records, query=_asking(layout)).mean(1)
    rolled = rolled[:, layout.patch_slice].unflatten(1, layout.grid)
    return {"attention": attention_map(records[-1], layout), "rollout": rolled}


def attention_map(record: AttentionRecord, layout: TokenLayout) -> Tensor:
    """One layer's map over the patches, mean over heads, (B, rows, columns).

    Read from the class token where there is one, else the mean over the patches' own rows.
    """
    queries = _asking(layout)
    total = sum(  # in parts: the rows of 3,601 tokens together are large
        record.weights(queries=queries[start : start + 256]).mean(1).sum(1)
        for start in range(0, len(queries), 256)
    )
    return (total / len(queries))[:, layout.patch_slice].unflatten(1, layout.grid)


def _asking(layout: TokenLayout) -> list[int]:
    return [0] if "cls" in layout.prefix else list(range(layout.tokens))[layout.patch_slice]


def edges(boxes: Tensor) -> Tensor:
    """Boxes x0, y0, x1, y1 whose last pixels are included -> their edges, the right and the lower
    one outside."""
    return boxes + torch.tensor([0, 0, 1, 1])


def shares(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(B,): the part of the picture that each box covers."""
    sides = (edges(boxes)[:, 2:] - boxes[:, :2]).double()
    return sides.prod(1) / (size[0] * size[1])


@torch.inference_mode()
def pointing_game(net, images: Tensor, boxes: Tensor, prepare, batch: int = 50) -> dict[str, float]:
    """Shares of the pictures whose peak lies inside the box.

    `images` uint8 (N, C, H, W), boxes in their pixels; `prepare` makes the net's input of them.
    """
    size = tuple(images.shape[-2:])
    hits: dict[str, list[Tensor]] = {}
    for pictures, around in zip(images.split(batch), boxes.split(batch), strict=True):
        with AttentionRecorder(net) as recorder:
            net(prepare(pictures))
        for name, maps in attention_maps(recorder.records, net.tokens).items():
            hits.setdefault(name, []).append(peak_inside(maps, edges(around), size))
    centre = torch.tensor([[size[1] / 2, size[0] / 2]]).expand(len(boxes), 2)
    figures = {f"pointing_{name}": torch.cat(found) for name, found in hits.items()}
    figures["pointing_chance"] = shares(boxes, size)
    figures["pointing_centre"] = points_inside(centre, edges(boxes))
    return {name: values.double().mean().item() for name, values in figures.items()}
