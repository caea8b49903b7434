"""The vector of each patch: a token of any layer, or a query, key or value of its attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.errors import NothingToShow
from model.features.block_pass import image_records, layout_of, run_blocks
from model.recording.recorder import AttentionRecord
from model.tokens import TokenLayout

PARTS = ("tokens", "queries", "keys", "values")


def patch_features(
    net: nn.Module,
    images: Tensor,
    layer: int = -1,
    part: str = "tokens",
    prefix: bool = False,
    *,
    layout: TokenLayout | None = None,
) -> Tensor:
    """Compute the vectors of the patches at one layer, row by row.

    With the defaults these are the patch tokens after the last norm, as DINOv2's notebooks take
    them (Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision").

    Args:
        net: a vision transformer in eval mode, our own or another library's.
        images: (B, C, H, W), prepared for the net.
        layer: the layer, from zero; negative numbers count from the last. For "tokens", -1 means
            after the last norm, any other number the output of that block.
        part: "tokens", or the "queries", "keys" or "values" of the layer's attention, all heads
            side by side: head h of width d has the columns h·d to (h + 1)·d.
        prefix: whether the tokens before the patches (class token, registers) come first.
        layout: what the net's tokens stand for, for a net that does not say so itself
            (`bundle.tokens`).

    Returns:
        float32 (B, patches, D).

    Raises:
        ValueError: there is no such part or layer.
        NothingToShow: the layers do not share their tokens, or the model keeps no such vectors.

    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3).eval()
    >>> patch_features(net, torch.rand(1, 3, 32, 32), layer=0, part="keys").shape
    torch.Size([1, 16, 12])
    """
    layout = layout_of(net, layout)
    vectors = layer_vectors(net, images, part, layout)
    depth = len(vectors) - (part == "tokens")
    if not -depth <= layer < depth:
        raise ValueError(f"There is no layer {layer}: the model has {depth}, counted from 0.")
    chosen = vectors[layer if layer == -1 else layer % depth]
    return chosen[:, 0 if prefix else len(layout.prefix) :]


def layer_vectors(net: nn.Module, images: Tensor, part: str, layout: TokenLayout) -> list[Tensor]:
    """Compute the vectors of all tokens at every layer at once, float32 (B, N, D) each.

    For "tokens" there is one entry more, the last: the tokens after the last norm. Arguments and
    errors as for `patch_features`.
    """
    if part not in PARTS:
        raise ValueError(f"There is no part {part!r}: choose one of {', '.join(PARTS)}.")
    if part == "tokens":
        passed = run_blocks(net, images, layout)
        vectors = [*passed.outputs, passed.normed]
    else:
        with torch.set_grad_enabled(part == "values"):  # only then a record keeps them
            records = image_records(net, images.detach().requires_grad_(), layout)
        vectors = [heads_side_by_side(record, part) for record in records]
    return [each.detach().float() for each in vectors]


def heads_side_by_side(record: AttentionRecord, part: str) -> Tensor:
    """Join the queries, keys or values of a layer's heads: (B, N, H·d), head by head.

    Raises NothingToShow where the record does not have them.
    """
    held = {"queries": record.query, "keys": record.key, "values": record.value}[part]
    if held is None:
        raise NothingToShow(
            f"The attention of {record.name} was recorded as a finished map, without its {part}: "
            "choose the tokens."
        )
    if part == "values":
        held = held.repeat_interleave(record.shape[1] // held.shape[1], dim=1)
    return held.transpose(1, 2).flatten(2)
