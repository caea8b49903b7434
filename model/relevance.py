"""Where a prediction comes from: methods that give each patch its part in one score y.

A method reads a `Trace` (one pass forward, one back) and returns a map over the patches,
float32 (B, rows, columns), nothing below zero; its order means something, its scale does not.

    relevance = chefer(trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281))

In the formulae A is a layer's attention (B, H, N, N), G = ∂y/∂A, ⊙ the product entry by entry,
and mean_H the mean over heads. A matrix over tokens becomes a map by its row for the token that
the score is read from: the class token as a rule, and otherwise see `Trace.readout`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import rollout as plain
from model.baselines import baseline
from model.compat import TOOLS, vit_explain_gradient_rollout, vit_explain_rollout
from model.early_exit import exit_gradients
from model.trace import Trace
from model.word_trace import WordTrace

TOKENS = 1300  # on the way back at a time: 1 GiB for a ViT-B


class MethodUnsuitable(ValueError):
    """The method makes no sense on this model; the message says why."""


# -- attention alone ------------------------------------------------------------------------------


def attention(trace: Trace, layer: int = -1, head: int | str = "mean") -> Tensor:
    """A_l of one layer: one head of it (a number), or "mean", "max" or "min" over its heads."""
    rows = trace.weights(layer, trace.readers)
    rows = rows[:, head, None] if isinstance(head, int) else plain.fuse(rows, head)[:, None]
    return _patches(trace, _read(trace, rows)[:, 0])


def rollout(
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
    what that tool draws, faults included (see `model.compat`), from `fusion` and `discard`.
    """
    if compat is not None:
        weights = [trace.weights(layer) for layer in range(trace.depth)]
        return _compatible(trace, compat, vit_explain_rollout(weights, fusion, discard))
    rows = plain.rollout(trace.records[:stop], trace.readers, fusion, residual, discard, start)
    return _patches(trace, _read(trace, rows))


# -- attention and its gradient -------------------------------------------------------------------


def gradient_rollout(
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
    `compat="vit-explain"` draws what that tool draws, faults included (see `model.compat`);
    `discard` is for it alone.
    """
    if compat is not None:
        layers = range(trace.depth)
        weights, gradients = map(trace.weights, layers), map(trace.gradient, layers)
        mask = vit_explain_gradient_rollout(list(weights), list(gradients), discard)
        return _compatible(trace, compat, mask)
    kept, moved = trace.readout, torch.zeros_like(trace.readout)
    for layer in reversed(range(start, trace.depth)):
        fused = trace.fused(layer, lambda a, g: (1 - residual) * (a * g).mean(1).relu())
        scale = 1 / (fused.sum(-1) + residual).clamp_min(1e-30)
        moved = _times((kept + moved) * scale, fused) + moved * scale * residual
        kept = kept * scale * residual
    return _patches(trace, moved)


def chefer(trace: Trace, start: int = 0) -> Tensor:
    """R − I, where R = (I + C_L) ... (I + C_1), with C = mean_H relu(A ⊙ G).

    Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers" (ICCV). What a token begins with, I, is left out: to each
    patch of a mean it gives the same, beside which what the patches gained is hardly seen.
    `model.generic_relevance` has the whole matrices, and the rules for cross-attention; one row
    of R needs no N x N product.
    """
    gained = torch.zeros_like(trace.readout)
    for layer in reversed(range(start, trace.depth)):
        moved = trace.fused(layer, lambda a, g: (a * g).relu().mean(1))
        gained = gained + _times(trace.readout + gained, moved)
    return _patches(trace, gained)


def attention_gradcam(trace: Trace, layer: int = -1) -> Tensor:
    """relu(mean_H(w A)), with w = mean over the patches of G, one number a head.

    Grad-CAM (Selvaraju et al. 2017) with heads for channels, as in Chefer, Gur & Wolf 2021,
    "Transformer Interpretability Beyond Attention Visualization" (CVPR).
    """
    weights = _read(trace, trace.weights(layer, trace.readers))
    gradient = _read(trace, trace.gradient(layer, trace.readers))
    importance = gradient[..., trace.layout.patch_slice].mean(-1, keepdim=True)
    return _patches(trace, (importance * weights).mean(1).relu())


def legrad(trace: Trace, start: int = 0) -> Tensor:
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
    return _patches(
        trace, torch.stack([r.map_gradient(g).relu().mean((1, 2)) for r, g in layers]).mean(0)
    )


# -- gradients without attention ------------------------------------------------------------------


def token_gradcam(trace: Trace) -> Tensor:
    """relu(Σ_d w_d F_d), with w = mean over the patches of ∂y/∂F.

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", where F is what goes into the last attention layer, channel by channel.
    """
    features, gradient = (
        _feature_maps(trace, trace.tokens),
        _feature_maps(trace, trace.token_gradient),
    )
    importance = gradient.mean((2, 3), keepdim=True)
    relevance = (importance * features).sum(1).relu()
    return F.interpolate(relevance[:, None], trace.layout.grid, mode="nearest-exact")[:, 0]


def input_gradient(trace: Trace) -> Tensor:
    """|∂y/∂x|, the largest over a pixel's channels, mean over a patch's pixels.

    Simonyan, Vedaldi & Zisserman 2014, "Deep Inside Convolutional Networks".
    """
    return _pixels(trace, trace.image_gradient.abs().amax(1))


def integrated_gradients(trace: Trace, baseline: str = "zeroed", steps: int = 10) -> Tensor:
    """relu of a patch's sum of (x − x0) ∫ ∂y/∂x, along the straight line from x0 to x.

    Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks". x0 is one of
    `model.baselines`. Patches that lower the score show as zero.
    """
    return _pixels(trace, integrated_pixels(trace, baseline, steps).sum(1)).relu()


def integrated_pixels(trace: Trace, start: str = "zeroed", steps: int = 10) -> Tensor:
    """Integrated gradients (B, C, H, W), signed: they sum to y(x) − y(x0), but for the steps.

    The integral is a Gauss-Legendre sum of `steps` points, so few of them go far.
    """
    end = trace.images
    origin = baseline(end, start, trace.layout)
    nodes, shares = (torch.from_numpy(v).to(end) for v in np.polynomial.legendre.leggauss(steps))
    places = (nodes + 1) / 2
    total = torch.zeros_like(end)
    together = max(1, TOKENS // (len(end) * trace.layout.tokens))
    for place, share in zip(places.split(together), (shares / 2).split(together), strict=True):
        weight = share[:, None, None, None, None]
        points = origin + place[:, None, None, None, None] * (end - origin)  # (points, B, C, H, W)
        points.requires_grad_()
        with torch.enable_grad():
            answers = trace.net(points.flatten(0, 1)).chunk(len(points))
            y = sum(trace.score(answer).sum() for answer in answers)
        total += (weight * torch.autograd.grad(y, points)[0]).sum(0)
    return total * (end - origin)


# -- for comparison -------------------------------------------------------------------------------


def random_map(trace: Trace, seed: int = 0) -> Tensor:
    """Numbers that know nothing, the same for every image: what a method has to be better than."""
    values = torch.rand(trace.layout.grid, generator=torch.Generator().manual_seed(seed))
    return values.expand(len(trace.images), -1, -1).to(trace.images.device)


METHODS: dict[str, Callable[..., Tensor]] = {
    method.__name__: method
    for method in (
        attention,
        rollout,
        gradient_rollout,
        chefer,
        attention_gradcam,
        legrad,
        token_gradcam,
        input_gradient,
        integrated_gradients,
        random_map,
    )
}
"""Every method by name, from plain to elaborate, those without attention last."""

ANYWHERE = ("token_gradcam", "input_gradient", "integrated_gradients", "random_map")
"""Methods that ask nothing of the model's attention."""

THROUGH_LAYERS = ("rollout", "gradient_rollout", "chefer")
"""Methods that multiply the layers' maps."""


def explain(trace: Trace, method: str, **settings: Any) -> Tensor:
    """The map of a method by name. Raises MethodUnsuitable where it makes no sense here.

    `trace` is of a class, or of a word of a caption (see `model.word_relevance`).
    """
    if reason := why_not(trace, method):
        raise MethodUnsuitable(reason)
    methods = _of_words().METHODS if isinstance(trace, WordTrace) else METHODS
    return methods[method](trace, **settings)


def why_not(trace: Trace, method: str) -> str | None:
    """Why a method makes no sense on this model, in a sentence; None where it does."""
    if isinstance(trace, WordTrace):
        return _of_words().why_not(trace, method)
    if method in ANYWHERE:
        return None
    tokens = trace.layout.tokens
    for record in trace.records:
        if record.windows is not None:
            return (
                "This model attends inside small windows and merges patches between its layers, "
                "so no layer's map spans the photo and the layers' maps cannot be multiplied."
            )
        if record.kind != "self" or record.shape[2:] != (tokens, tokens):
            return (
                f"The map of {record.name} is {record.shape[2]} x {record.shape[3]}; the method "
                f"needs self-attention among all {tokens} tokens in every layer."
            )
    return plain.why_not(trace.records) if method in THROUGH_LAYERS else None


def _of_words() -> ModuleType:
    from model import word_relevance  # which needs the formulae above

    return word_relevance


# -- from tokens to patches -----------------------------------------------------------------------


def _read(trace: Trace, rows: Tensor) -> Tensor:
    """Rows of the tokens that are read, (B, ..., q, N) -> their mean, (B, ..., N)."""
    return torch.einsum("bq,b...qn->b...n", trace.readout[:, trace.readers], rows)


def _times(row: Tensor, matrix: Tensor) -> Tensor:
    """(B, N) times (B, N, N) -> (B, N)"""
    return (row[:, None] @ matrix)[:, 0]


def _patches(trace: Trace, values: Tensor) -> Tensor:
    """(B, N) -> (B, rows, columns), without the prefix tokens."""
    return values[:, trace.layout.patch_slice].unflatten(1, trace.layout.grid)


def _pixels(trace: Trace, values: Tensor) -> Tensor:
    """(B, H, W) -> (B, rows, columns), the mean of each patch."""
    return F.adaptive_avg_pool2d(trace.layout.covered(values), trace.layout.grid)


def _compatible(trace: Trace, compat: str, mask: Tensor) -> Tensor:
    """(B, N − 1) -> (B, rows, columns)"""
    if compat not in TOOLS:
        raise ValueError(f"There is no compat={compat!r}: choose {', '.join(TOOLS)}.")
    if "cls" not in trace.layout.prefix:
        raise MethodUnsuitable(f"{compat} reads the class token, and this model has none.")
    return mask[:, len(trace.layout.prefix) - 1 :].unflatten(1, trace.layout.grid)


def _feature_maps(trace: Trace, tokens: Tensor) -> Tensor:
    """What goes into the last attention layer as feature maps, (B, D, rows, columns).

    Windowed layers are given (B, rows, columns, D), or their windows one by one.
    """
    windows = trace.records[-1].windows
    if tokens.ndim == 4:
        return tokens.permute(0, 3, 1, 2)
    if windows is not None and len(tokens) == len(trace.images) * windows.count:
        return windows.join(tokens.unflatten(0, (-1, windows.count)).permute(0, 3, 1, 2))
    patches = tokens[:, trace.layout.patch_slice]
    return patches.mT.unflatten(2, trace.layout.grid)
