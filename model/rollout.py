"""Attention rollout from chosen queries, as a row vector pushed down through the layers.

Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers". With A_l the heads of layer
l fused into one N x N matrix and Ahat_l = (residual · I + (1 - residual) · A_l) / row sum,
rollout is R = Ahat_L ... Ahat_1. One query needs one row of R only: r <- r Ahat_l from the last
layer to the first, O(L · N²) instead of O(L · N³), exact, and no N x N matrix is ever whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from model.recording_maps import AttentionRecord, rows_at_a_time

FUSIONS = ("mean", "max", "min")


@torch.no_grad()  # a graph would keep the maps of all layers
def rollout(
    records: Sequence[AttentionRecord],
    query: int | Sequence[int] = 0,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
) -> Tensor:
    """How much of each input token is in `query`'s output: float32 (B, K), rows sum to one.

    Several queries give (B, q, K). `fusion` joins the heads ("mean", "max", "min"); `residual`
    is the share of the skip connection; of each fused row the smallest int(N · discard) values
    are set to zero before the skip is added (a value that ties with the smallest one kept
    stays); `start` is the first layer that counts. A token that looks nowhere keeps itself.

    vit-explain discards over the whole matrix instead of each row, so a row with small values
    only may lose all of them there, and here loses its share like any other.

    Raises ValueError for records that are not self-attention over one sequence of tokens, and
    for settings out of range; IndexError where there is no such query.
    """
    _check(records, fusion, residual, discard, start)
    batch, _, tokens, _ = records[0].shape
    single = isinstance(query, Integral)
    queries = [query] if single else list(query)
    if any(not -tokens <= q < tokens for q in queries):
        raise IndexError(f"query={query} is outside the {tokens} tokens of this model.")
    row = torch.zeros(batch, len(queries), tokens, device=records[0].device)
    row[:, torch.arange(len(queries)), queries] = 1.0
    for record in reversed(records[start:]):
        row = _step(row, record, fusion, residual, discard)
    return row[:, 0] if single else row


def fuse(weights: Tensor, fusion: str) -> Tensor:
    """(B, H, q, K) -> (B, q, K): mean, max or min over the heads."""
    if fusion == "mean":
        return weights.mean(1)
    return weights.amax(1) if fusion == "max" else weights.amin(1)


def _step(
    row: Tensor, record: AttentionRecord, fusion: str, residual: float, discard: float
) -> Tensor:
    """row @ Ahat, (B, q, N) -> (B, q, N), a chunk of Ahat's rows at a time."""
    batch, heads, tokens, _ = record.shape
    size = rows_at_a_time(batch * heads * tokens, record.device)
    result = torch.zeros_like(row)
    for first in range(0, tokens, size):
        part = slice(first, first + size)
        fused = without_smallest(fuse(record.weights(queries=part), fusion), discard)
        total = (1 - residual) * fused.sum(-1) + residual  # (B, n): row sums of the mixture
        lost = total == 0
        share = row[..., part] / total.masked_fill(lost, 1.0)[:, None]
        result += (1 - residual) * share @ fused
        result[..., part] += torch.where(lost[:, None], row[..., part], residual * share)
    return result


def without_smallest(fused: Tensor, discard: float) -> Tensor:
    """(B, n, N) with the smallest int(N · discard) values of each row set to zero."""
    count = int(fused.shape[-1] * discard)
    if count == 0:
        return fused
    if count == fused.shape[-1]:
        return torch.zeros_like(fused)
    threshold = fused.kthvalue(count + 1, dim=-1, keepdim=True).values
    return fused.masked_fill(fused < threshold, 0.0)


def _check(
    records: Sequence[AttentionRecord], fusion: str, residual: float, discard: float, start: int
) -> None:
    if fusion not in FUSIONS:
        raise ValueError(f"fusion={fusion!r} is unknown: choose {', '.join(FUSIONS)}.")
    for name, share in (("residual", residual), ("discard", discard)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name}={share} is not a share between 0 and 1.")
    if not 0 <= start < len(records):
        raise ValueError(f"start={start} is not one of the {len(records)} recorded layers.")
    batch, _, tokens, _ = records[0].shape
    for record in records:
        if record.windows is not None:
            raise ValueError(
                f"{record.name} attends inside windows, so its maps are of windows and not of "
                "images, and cannot be multiplied: look at its layers one by one."
            )
        same = (record.shape[0], *record.shape[2:]) == (batch, tokens, tokens)
        if record.kind != "self" or not same:
            raise ValueError(
                f"Rollout needs self-attention over one sequence of tokens, and {record.name} "
                f"is {record.kind}-attention of {record.shape[2]} x {record.shape[3]}: choose "
                "the layers when recording."
            )
