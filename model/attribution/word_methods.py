"""Attribution for a word of a caption: the methods of `class_methods`, for captioners.

The score y is the logit of the word, given the words before it. A layer is one of three:
self-attention among the image's tokens, self-attention among the words so far, and
cross-attention from the words to the memory, which is the encoder's tokens. The map is read
from the last word's place, where the word is chosen. `model.attribution.registry.explain` finds the
right module for a trace.

Methods that need a gradient with respect to pixels or memory only are those of
`model.attribution.class_methods`, as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.attribution import generic_relevance
from model.attribution.block_exits import exit_gradients
from model.attribution.word_trace import WordTrace
from model.errors import MethodUnsuitable
from model.recording import rollout as plain


def word_attention(trace: WordTrace, layer: int = -1, head: int | str = "mean") -> Tensor:
    """Raw cross-attention of one decoder layer, from the place where the word is chosen.

    One head of it (a number), or "mean", "max" or "min" over its heads. A recurrent decoder has
    one layer with one head.
    """
    rows = trace.weights(trace.crossings[layer], -1) if trace.crossings else _looked(trace)
    rows = rows[:, head] if isinstance(head, int) else plain.fuse(rows, head)
    return _picture(trace, rows[:, 0])


def word_rollout(
    trace: WordTrace,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
    stop: int | None = None,
) -> Tensor:
    """Ahat_L ... Ahat_1 over words and patches together, of the encoder under the decoder.

    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers". A word is mixed from words
    by self-attention and from patches by cross-attention, each with the share of the skip
    connection; what arrives at the patches goes down through the encoder's layers `start` to
    before `stop`. Under a recurrent decoder it begins with the patches that were looked at for
    the word. Settings as of `model.rollout`.
    """

    def fused(layer: int) -> Tensor:
        return plain.without_smallest(plain.fuse(trace.weights(layer), fusion), discard)

    return _rolled(trace, fused, residual, start, stop)


def word_gradient_rollout(trace: WordTrace, residual: float = 0.5, start: int = 0) -> Tensor:
    """Rollout of relu(mean_H(A ⊙ G)): only attention that raises the word's logit counts.

    Gildenblat 2020, "Exploring Explainability for Vision Transformers", over words and patches
    as in `word_rollout`.
    """

    def fused(layer: int) -> Tensor:
        return trace.fused(layer, lambda a, g: (a * g).mean(1).relu())

    return _rolled(trace, fused, residual, start, None)


def word_chefer(trace: WordTrace, start: int = 0) -> Tensor:
    """The word's row of R_qi (see `model.attribution.generic_relevance`), from layer `start` on.

    Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers" (ICCV).
    """
    _, over_image = generic_relevance.word_relevance(trace, start)
    return _picture(trace, over_image[:, -1])


def word_attention_gradcam(trace: WordTrace, layer: int = -1) -> Tensor:
    """relu(mean_H(w A)) of one layer's cross-attention, with w = mean over the patches of G.

    Grad-CAM (Selvaraju et al. 2017) with heads for channels, as in Chefer, Gur & Wolf 2021,
    "Transformer Interpretability Beyond Attention Visualization" (CVPR).
    """
    place = trace.crossings[layer]
    weights, gradient = trace.weights(place, -1)[:, :, 0], trace.gradient(place, -1)[:, :, 0]
    importance = gradient[..., -trace.layout.patches :].mean(-1, keepdim=True)
    return _picture(trace, (importance * weights).mean(1).relu())


def word_legrad(trace: WordTrace, start: int = 0) -> Tensor:
    """mean over the encoder's layers l, heads and queries of relu(∂s_l/∂A_l).

    Bousselham et al. 2024, "LeGrad: An Explainability Method for Vision Transformers via
    Feature Formation Sensitivity". s_l is the word's logit as if the encoder ended after block
    l; the decoder stands where a classifier has its head.
    """
    names = [record.name for record in trace.records[: trace.decoder]]
    try:
        records, gradients = exit_gradients(trace.net, trace.images, trace.score, names)
    except ValueError as error:
        raise MethodUnsuitable(str(error)) from error
    layers = list(zip(records, gradients, strict=True))[start : len(names)]
    moved = torch.stack([r.map_gradient(g).relu().mean((1, 2)) for r, g in layers])
    return _picture(trace, moved.mean(0))


def _rolled(
    trace: WordTrace,
    fused: Callable[[int], Tensor],
    residual: float,
    start: int,
    stop: int | None,
) -> Tensor:
    """The word's row of Ahat_L ... Ahat_1, over all tokens; `fused(layer)` is (B, Q, K)."""
    words = trace.readout_weights
    memory = trace.tokens.shape[1]
    tokens = trace.records[0].shape[2] if trace.decoder else memory
    image = torch.zeros(len(words), tokens, device=words.device)
    for layer in reversed(range(trace.decoder, trace.depth)):
        words, moved = _step(words, fused(layer), residual)
        if layer in trace.crossings:
            image[:, -memory:] += moved
        else:
            words = words + moved
    if not trace.crossings:
        image[:, -memory:] += _looked(trace)[:, 0, 0]
    for layer in reversed(range(trace.decoder)[start:stop]):
        image = sum(_step(image, fused(layer), residual))
    return _picture(trace, image)


@torch.no_grad()
def _looked(trace: WordTrace) -> Tensor:
    """Where a decoder looks whose attention cannot be recorded, as it tells itself: (B, 1, 1, M)"""
    words = trace.net.words.expand(len(trace.tokens), -1)
    return trace.net.captioner.read(trace.tokens, words).cross[-1][:, :, -1:]


def _step(row: Tensor, fused: Tensor, residual: float) -> tuple[Tensor, Tensor]:
    """Of (B, Q): what the skip connection keeps, (B, Q), and what attention moves, (B, K)."""
    total = residual + (1 - residual) * fused.sum(-1)
    lost = total == 0  # a token that looks nowhere keeps itself
    share = row / total.masked_fill(lost, 1.0)
    moved = ((1 - residual) * share[:, None] @ fused)[:, 0]
    return torch.where(lost, row, residual * share), moved


def _picture(trace: WordTrace, values: Tensor) -> Tensor:
    """(B, N) -> (B, rows, columns), without tokens before the patches."""
    return values[:, -trace.layout.patches :].unflatten(1, trace.layout.grid)
