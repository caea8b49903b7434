"""Join the maps of heads that a module computed one after the other, in a loop over its heads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from model.recording.record import AttentionRecord


def join_heads(records: Sequence[AttentionRecord]) -> list[AttentionRecord]:
    """Join records of one head each, (B, 1, Q, K), that one call of a module made.

    There must be as many as the module has heads. They stay apart where gradients flow, since
    each map has an anchor of its own, and where more than their values differs.
    """
    joined: list[AttentionRecord] = []
    for _, group in groupby(records, lambda record: (record.name, record.origin.path)):
        heads = list(group)
        joined += [_join(heads)] if _belong_together(heads) else heads
    return joined


def _belong_together(heads: Sequence[AttentionRecord]) -> bool:
    first = heads[0]
    declared = first.origin.heads or 1
    if not first.origin.path or len(heads) != declared or declared == 1 or first.shape[1] != 1:
        return False
    if any(head.anchor is not None or head.mask is not None for head in heads):
        return False
    settings = {(head.shape, head.scale, head.causal, head.windows) for head in heads}
    held = {(head.map is None, head.softmax_map is None) for head in heads}
    return len(settings) == len(held) == 1


def _join(heads: Sequence[AttentionRecord]) -> AttentionRecord:
    first = heads[0]
    batch, _, queries, keys = first.shape
    return AttentionRecord(
        first.name,
        first.kind,
        (batch, len(heads), queries, keys),
        query=_side_by_side(head.query for head in heads),
        grouped_key=_side_by_side(head.grouped_key for head in heads),
        map=_side_by_side(head.map for head in heads),
        softmax_map=_side_by_side(head.softmax_map for head in heads),
        scale=first.scale,
        causal=first.causal,
        windows=first.windows,
        origin=first.origin,
    )


def _side_by_side(tensors: Iterable[Tensor | None]) -> Tensor | None:
    """(B, 1, n, d) of each head -> (B, H, n, d)"""
    held = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(held, 1) if held else None
