"""Attention rollout of chosen queries, as a row vector pushed down through the layers.

Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers". With A_l the heads of layer
l fused into one N x N matrix and Ahat_l = (residual · I + (1 - residual) · A_l) / row sum,
rollout is R = Ahat_L ... Ahat_1. One query needs one row of R only: r <- r Ahat_l from the last
layer to the first, O(L · N²) instead of O(L · N³), exact, and never a whole N x N matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from numbers import Integral

import torch
from torch import Tensor

from model.recording.record import AttentionRecord, rows_at_a_time

FUSE: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda weights: weights.mean(1),
    "max": lambda weights: weights.amax(1),
    "min": lambda weights: weights.amin(1),
}
"""How the heads of a layer are joined, by name: (B, H, q, K) -> (B, q, K)."""

FUSIONS = tuple(FUSE)


@torch.no_grad()  # a graph would keep the maps of all layers
def rollout(
    records: Sequence[AttentionRecord],
    query: int | Sequence[int] = 0,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
) -> Tensor:
    """Compute the share of each input token in the output of `query`, through all layers.

        >>> import torch
        >>> from model import AttentionRecorder
        >>> from model.rollout import rollout
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
        >>> with AttentionRecorder(net) as recorder:
        ...     logits = net(torch.randn(1, 3, 32, 32))
        >>> shares = rollout(recorder.records, query=0)  # of the class token
        >>> shares.shape, round(shares.sum().item(), 4)
        (torch.Size([1, 5]), 1.0)

    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", with the options of
    jacobgil/vit-explain. It discards the smallest values of the whole matrix, where this function
    discards them in each row: a row that holds only small values may lose all of them there, and
    here loses the same share as every other row. A token that attends to nothing keeps itself.

    Args:
        records: the records of one forward pass, from the first layer to the last.
        query: the token, or several tokens, whose output is traced back.
        fusion: how the heads are joined, "mean", "max" or "min".
        residual: share of the skip connection, from 0 to 1.
        discard: share of each fused row, its smallest int(N · discard) values, that is set to
            zero before the skip is added. A value that equals the smallest kept one stays.
        start: the first layer that counts.

    Returns:
        float32 (B, K) for one query, (B, q, K) for several; rows sum to one.

    Raises:
        ValueError: for settings out of range, and for records whose maps cannot be multiplied
            (see `explain_no_rollout`).
        IndexError: where there is no such query.
    """
    _check(records, residual, discard, start)
    batch, _, tokens, _ = records[0].shape
    # numpy's integers are Integral, and not int
    queries = [int(query)] if isinstance(query, int | Integral) else list(query)
    if any(not -tokens <= q < tokens for q in queries):
        raise IndexError(f"query={query} is outside the {tokens} tokens of this model.")
    row = torch.zeros(batch, len(queries), tokens, device=records[0].device)
    row[:, torch.arange(len(queries)), queries] = 1.0
    with torch.autocast(row.device.type, enabled=False):
        for record in reversed(records[start:]):
            row = _step(row, record, fusion, residual, discard)
    return row[:, 0] if isinstance(query, int | Integral) else row


def fuse(weights: Tensor, fusion: str) -> Tensor:
    """Join the heads by one of `FUSIONS`: (B, H, q, K) -> (B, q, K). ValueError for another."""
    if fusion not in FUSE:
        raise ValueError(f"fusion={fusion!r} is unknown: choose {', '.join(FUSIONS)}.")
    return FUSE[fusion](weights)


def explain_no_rollout(records: Sequence[AttentionRecord]) -> str | None:
    """Explain in a sentence why the maps cannot be multiplied; None where they can.

    Rollout needs self-attention over one sequence of tokens, over whole images and in whole
    layers, which ran one after the other in one forward pass. Layers that ran side by side are
    recognised only where both were given the same tensors, not, for example, a picture and its
    mirror image.
    """
    batch, _, tokens, _ = records[0].shape
    for record in records:
        if record.windows is not None:
            return (
                f"{record.name} attends inside windows, so its maps are of windows and not of "
                "images, and cannot be multiplied: look at its layers one by one."
            )
        same = (record.shape[0], *record.shape[2:]) == (batch, tokens, tokens)
        if record.kind != "self" or not same:
            return (
                f"Rollout needs self-attention over one sequence of tokens, and {record.name} "
                f"is {record.kind}-attention of {record.shape[2]} x {record.shape[3]}: choose "
                "the layers when recording."
            )
        if reason := explain_mixed_images(record):
            return reason
        if record.softmax_map is not None and (record.weights() < 0).any():
            return (
                f"{record.name} multiplies its values with a map that has negative entries, and "
                "rollout needs shares of attention: look at its layers one by one."
            )
    if (runs := len({record.origin.run for record in records})) > 1:
        return f"The recorder saw {runs} passes: record one picture or batch at a time."
    for one, other in combinations(records, 2):
        if _side_by_side(one, other):
            return (
                f"{one.name} and {other.name} attended side by side, neither to what the other "
                "made, as heads or branches of one layer do. Rollout multiplies layers that "
                "follow each other: leave one of them out."
            )
    return None


def explain_mixed_images(record: AttentionRecord) -> str | None:
    """Explain in a sentence why a map cannot be matched to one image; None where it can.

    Models fold windows, frames, crops and heads into the batch, and the recorder keeps the maps
    as they are.
    """
    if record.origin.stacked:
        return (
            f"{record.name} stacks images and heads in one dimension, and which of them come first "
            "cannot be told: record one picture at a time."
        )
    batches = record.origin.batches
    if record.windows is not None or not batches or record.shape[0] in batches:
        return None
    return (
        f"{record.name} made maps of a batch of {record.shape[0]} where the model was given a "
        f"batch of {batches[0]}: windows, frames, crops or heads are folded into it, and which "
        "picture a map belongs to cannot be told."
    )


def _side_by_side(one: AttentionRecord, other: AttentionRecord) -> bool:
    """Whether two layers are branches, of which neither attends to the output of the other.

    So they are where their module calls differ and the later call was given only tensors that
    existed before the earlier one ran, and where one module with many heads made both maps, of
    one head each.
    """
    first, second = one.origin, other.origin
    before: set[int] = set()
    for steps in zip(first.path, second.path, strict=False):
        earlier, later = sorted(steps)
        before.update(earlier.given)
        if earlier.call != later.call:
            return bool(later.given) and before.issuperset(later.given)
    single = one.shape[1] == other.shape[1] == 1 and (first.heads or 1) > 1
    return single and first.path == second.path != () and one is not other


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


def _check(records: Sequence[AttentionRecord], residual: float, discard: float, start: int) -> None:
    for name, share in (("residual", residual), ("discard", discard)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name}={share} is not a share between 0 and 1.")
    if not 0 <= start < len(records):
        raise ValueError(f"start={start} is not one of the {len(records)} recorded layers.")
    if reason := explain_no_rollout(records):
        raise ValueError(reason)
