"""Where a prediction comes from: methods that give each patch its part in one score y.

A method reads a `Trace` (one pass forward, one back) and returns a map over the patches,
float32 (B, rows, columns), nothing below zero; its order means something, its scale does not.

    relevance = chefer(trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281))

In the formulae A is a layer's attention (B, H, N, N), G = ∂y/∂A, ⊙ the product entry by entry,
and mean_H the mean over heads. A matrix over tokens becomes a map by its row for the token that
the score is read from: the class token as a rule, and otherwise see `Trace.readout`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.attribution.block_exits import exit_gradients
from model.attribution.gradients import (
    mean_over_readers,
    patch_map,
    row_times,
)
from model.attribution.trace import Trace
from model.attribution.vit_explain import TOOLS, vit_explain_gradient_rollout, vit_explain_rollout
from model.errors import MethodUnsuitable
from model.recording import rollout as plain

# -- attention alone ------------------------------------------------------------------------------


def class_attention(trace: Trace, layer: int = -1, head: int | str = "mean") -> Tensor:
    """A_l of one layer: one head of it (a number), or "mean", "max" or "min" over its heads."""
    rows = trace.weights(layer, trace.readout_tokens)
    rows = rows[:, head, None] if isinstance(head, int) else plain.fuse(rows, head)[:, None]
    return patch_map(trace, mean_over_readers(trace, rows)[:, 0])


def class_rollout(
    trace: Trace,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
    stop: int | None = None,
    compat: str | None = None,
) -> Tensor:
    """Ahat_L ... Ahat_1, with Ahat = residual · I + (1 − residual) · mean_H A.

    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers". For the settings see
    `model.rollout`; layers from `start` to before `stop` count. `compat="vit-explain"` draws
    what that tool draws, faults included (see `model.attribution.vit_explain`), from `fusion` and
    `discard`.
    """
    if compat is not None:
        weights = [trace.weights(layer) for layer in range(trace.depth)]
        return _compatible(trace, compat, vit_explain_rollout(weights, fusion, discard))
    rows = plain.rollout(
        trace.records[:stop], trace.readout_tokens, fusion, residual, discard, start
    )
    return patch_map(trace, mean_over_readers(trace, rows))


# -- attention and its gradient -------------------------------------------------------------------


def class_gradient_rollout(
    trace: Trace,
    residual: float = 0.5,
    start: int = 0,
    compat: str | None = None,
    discard: float = 0.9,
) -> Tensor:
    """Rollout of relu(mean_H(A ⊙ G)): only attention that raises the score counts.

    Gildenblat 2020, "Exploring Explainability for Vision Transformers", as it was meant for a class
    token. Where the mean of the patches is read, what each keeps for itself through all skip
    connections is left out: it is nearly all of the sum, and nearly the same for each.
    `compat="vit-explain"` draws what that tool draws, faults included (see
    `model.attribution.vit_explain`); `discard` is for it alone.
    """
    if compat is not None:
        layers = range(trace.depth)
        weights, gradients = map(trace.weights, layers), map(trace.gradient, layers)
        mask = vit_explain_gradient_rollout(list(weights), list(gradients), discard)
        return _compatible(trace, compat, mask)
    kept, moved = trace.readout_weights, torch.zeros_like(trace.readout_weights)
    for layer in reversed(range(start, trace.depth)):
        fused = trace.fused(layer, lambda a, g: (1 - residual) * (a * g).mean(1).relu())
        scale = 1 / (fused.sum(-1) + residual).clamp_min(1e-30)
        moved = row_times((kept + moved) * scale, fused) + moved * scale * residual
        kept = kept * scale * residual
    return patch_map(trace, moved)


def class_chefer(trace: Trace, start: int = 0) -> Tensor:
    """R − I, where R = (I + C_L) ... (I + C_1), with C = mean_H relu(A ⊙ G).

    Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers" (ICCV). What a token begins with, I, is left out: to each
    patch of a mean it gives the same, beside which what the patches gained is hardly seen.
    `model.attribution.generic_relevance` has the whole matrices, and the rules for cross-attention;
    one row of R needs no N x N product.
    """
    gained = torch.zeros_like(trace.readout_weights)
    for layer in reversed(range(start, trace.depth)):
        moved = trace.fused(layer, lambda a, g: (a * g).relu().mean(1))
        gained = gained + row_times(trace.readout_weights + gained, moved)
    return patch_map(trace, gained)


def class_attention_gradcam(trace: Trace, layer: int = -1) -> Tensor:
    """relu(mean_H(w A)), with w = mean over the patches of G, one number a head.

    Grad-CAM (Selvaraju et al. 2017) with heads for channels, as in Chefer, Gur & Wolf 2021,
    "Transformer Interpretability Beyond Attention Visualization" (CVPR).
    """
    weights = mean_over_readers(trace, trace.weights(layer, trace.readout_tokens))
    gradient = mean_over_readers(trace, trace.gradient(layer, trace.readout_tokens))
    importance = gradient[..., trace.layout.patch_slice].mean(-1, keepdim=True)
    return patch_map(trace, (importance * weights).mean(1).relu())


def class_legrad(trace: Trace, start: int = 0) -> Tensor:
    """mean over layers l, heads and queries of relu(∂s_l/∂A_l).

    Bousselham et al. 2024, "LeGrad: An Explainability Method for Vision Transformers via
    Feature Formation Sensitivity". s_l is y as if the net ended after block l: by its own pooling,
    where the authors' CLIP takes the mean of all of the layer's tokens. From a class token only
    its own row has a gradient.
    """
    names = [record.name for record in trace.records]
    try:
        records, gradients = exit_gradients(trace.net, trace.images, trace.score, names)
    except ValueError as error:
        raise MethodUnsuitable(str(error)) from error
    layers = zip(records[start:], gradients[start:], strict=True)
    return patch_map(
        trace, torch.stack([r.map_gradient(g).relu().mean((1, 2)) for r, g in layers]).mean(0)
    )


def _compatible(trace: Trace, compat: str, mask: Tensor) -> Tensor:
    """(B, N − 1) -> (B, rows, columns)"""
    if compat not in TOOLS:
        raise ValueError(f"There is no compat={compat!r}: choose {', '.join(TOOLS)}.")
    if "cls" not in trace.layout.prefix:
        raise MethodUnsuitable(f"{compat} reads the class token, and this model has none.")
    return mask[:, len(trace.layout.prefix) - 1 :].unflatten(1, trace.layout.grid)
