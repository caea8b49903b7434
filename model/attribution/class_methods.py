"""Attribution methods for a class: each gives every patch a share in one score y.

A method reads a `Trace` (one pass forward and one backward) and returns a map over the patches,
float32 (B, rows, columns), with no value below zero. The order of its values has a meaning, their
scale has none.

    relevance = class_chefer(trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281))

In the formulae A is a layer's attention (B, H, N, N), G = ∂y/∂A, ⊙ the product entry by entry,
and mean_H the mean over heads. A matrix over tokens becomes a map by its row for the token that
the score is read from: usually the class token, see `Trace.readout_weights`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.attribution.block_exits import mean_exit_gradient
from model.attribution.trace import Trace
from model.attribution.vit_explain import TOOLS, vit_explain_gradient_rollout, vit_explain_rollout
from model.errors import MethodUnsuitable
from model.recording.rollout import fuse, rollout

# -- attention alone ------------------------------------------------------------------------------


def class_attention(trace: Trace, layer: int = -1, head: int | str = "mean") -> Tensor:
    """Show A of one layer: one head of it (a number), or "mean", "max" or "min" over its heads."""
    if head == "mean":
        return trace.patch_map(trace.mean_weights(layer).mean(1))
    if isinstance(head, int):
        return trace.patch_map(trace.mean_weights(layer)[:, head])
    fused = trace.fused_weights(layer, lambda weights: fuse(weights, head))
    return trace.patch_map(trace.mean_over_readout(fused[:, trace.readout_tokens]))


def class_rollout(
    trace: Trace,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
    stop: int | None = None,
    compat: str | None = None,
) -> Tensor:
    """Multiply Ahat_L ... Ahat_1, where Ahat = residual · I + (1 − residual) · mean_H A.

    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers". For the settings see
    `model.rollout`; the layers from `start` to before `stop` count. `compat="vit-explain"`
    reproduces that tool's figures, faults included (see `model.attribution.vit_explain`), and
    uses only `fusion` and `discard`.
    """
    if compat is not None:
        weights = [trace.weights(layer) for layer in range(trace.depth)]
        return _map_of_tool(trace, compat, vit_explain_rollout(weights, fusion, discard))
    rows = rollout(trace.records[:stop], trace.readout_tokens, fusion, residual, discard, start)
    return trace.patch_map(trace.mean_over_readout(rows))


# -- attention and its gradient -------------------------------------------------------------------


def class_gradient_rollout(
    trace: Trace,
    residual: float = 0.5,
    start: int = 0,
    compat: str | None = None,
    discard: float = 0.9,
) -> Tensor:
    """Roll out relu(mean_H(A ⊙ G)): only attention that raises the score counts.

    Gildenblat 2020, "Exploring Explainability for Vision Transformers", which reads the class
    token. Where the mean of the patches is read, the share that each patch keeps for itself
    through all skip connections is left out: it is nearly the whole sum, and nearly the same for
    every patch. `compat="vit-explain"` reproduces that tool's figures, faults included (see
    `model.attribution.vit_explain`); only it uses `discard`.
    """
    if compat is not None:
        layers = range(trace.depth)
        weights, gradients = map(trace.weights, layers), map(trace.gradient, layers)
        mask = vit_explain_gradient_rollout(list(weights), list(gradients), discard)
        return _map_of_tool(trace, compat, mask)
    kept, moved = trace.readout_weights, torch.zeros_like(trace.readout_weights)
    for layer in reversed(range(start, trace.depth)):
        fused = trace.fused(layer, lambda a, g: (1 - residual) * (a * g).mean(1).relu())
        scale = 1 / (fused.sum(-1) + residual).clamp_min(1e-30)
        moved = _row_times((kept + moved) * scale, fused) + moved * scale * residual
        kept = kept * scale * residual
    return trace.patch_map(moved)


def class_chefer(trace: Trace, start: int = 0) -> Tensor:
    """Compute R − I, where R = (I + C_L) ... (I + C_1), with C = mean_H relu(A ⊙ G).

    Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers" (ICCV). The identity I is left out: where the mean of the
    patches is read, it adds the same to every patch, and hides what the patches gained.
    `model.attribution.generic_relevance` has the whole matrices and the rules for
    cross-attention; one row of R needs no N x N product.
    """
    gained = torch.zeros_like(trace.readout_weights)
    for layer in reversed(range(start, trace.depth)):
        moved = trace.fused(layer, lambda a, g: (a * g).relu().mean(1))
        gained = gained + _row_times(trace.readout_weights + gained, moved)
    return trace.patch_map(gained)


def class_attention_gradcam(trace: Trace, layer: int = -1) -> Tensor:
    """Compute relu(mean_H(w A)), where w, one number per head, is the mean of G over the patches.

    Grad-CAM (Selvaraju et al. 2017) with heads for channels, as in Chefer, Gur & Wolf 2021,
    "Transformer Interpretability Beyond Attention Visualization" (CVPR).
    """
    weights, gradient = trace.mean_weights(layer), trace.mean_gradient(layer)
    importance = gradient[..., trace.layout.patch_slice].mean(-1, keepdim=True)
    return trace.patch_map((importance * weights).mean(1).relu())


def class_legrad(trace: Trace, start: int = 0) -> Tensor:
    """Average relu(∂s_l/∂A_l) over layers l, heads and queries.

    Bousselham et al. 2024, "LeGrad: An Explainability Method for Vision Transformers via
    Feature Formation Sensitivity". s_l is y as if the net ended after block l. The exit uses the
    net's own pooling; the authors' CLIP averages all tokens of the layer. Where a class token is
    pooled, only its row has a gradient.
    """
    layers = [record.name for record in trace.records]
    return trace.patch_map(mean_exit_gradient(trace, layers, start))


def _row_times(row: Tensor, matrix: Tensor) -> Tensor:
    """(B, N) times (B, N, N) -> (B, N)"""
    return (row[:, None] @ matrix)[:, 0]


def _map_of_tool(trace: Trace, tool: str, mask: Tensor) -> Tensor:
    """(B, N − 1), without the class token -> (B, rows, columns)"""
    if tool not in TOOLS:
        raise ValueError(f"There is no compat={tool!r}: choose {', '.join(TOOLS)}.")
    if "cls" not in trace.layout.prefix:
        raise MethodUnsuitable(f"{tool} reads the class token, and this model has none.")
    return trace.patch_map(mask)
