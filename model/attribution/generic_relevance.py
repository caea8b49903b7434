"""Chefer's generic relevance as whole matrices: self-attention, and the rules for captioners.

Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers". Tokens begin as relevant to themselves alone, R = I, and each
layer with C = mean_H relu(A ⊙ ∂y/∂A) moves relevance along:

    self-attention of the image (i)     R_ii += C R_ii
    self-attention of the words (q)     R_qq += C R_qq,   R_qi += C R_qi
    cross-attention                     R_qi += N(R_qq)ᵀ C N(R_ii)

where N(R) = rows of (R − I) divided by their sums, plus I: relevance that tokens have gained,
without what they began with. `model.attribution.class_methods.class_chefer` is one row of R_ii − I.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from model.attribution.trace import Trace
from model.captioning.words import crossings, decoder_start


def layer_relevance(trace: Trace, layer: int) -> Tensor:
    """C = mean_H relu(A ⊙ ∂y/∂A) of a layer, (B, Q, K)."""
    return trace.fused(layer, lambda weights, gradient: (weights * gradient).relu().mean(1))


def self_relevance(layers: Iterable[Tensor], relevance: Tensor) -> Tensor:
    """R += C R for each C (B, N, N), first layer first; `relevance` is R before, (B, N, M)."""
    for layer in layers:
        relevance = relevance + layer @ relevance
    return relevance


def without_start(relevance: Tensor) -> Tensor:
    """N(R) of (B, N, N); a token that has gained nothing keeps itself alone, and is no 0/0."""
    start = identity(len(relevance), relevance.shape[-1], relevance.device)
    gained = relevance - start
    total = gained.sum(-1, keepdim=True)
    return gained / total.masked_fill(total == 0, 1.0) + start


def image_relevance(trace: Trace) -> Tensor:
    """R_ii (B, N, N) of a model with self-attention only."""
    batch, _, tokens, _ = trace.records[0].shape
    layers = (layer_relevance(trace, layer) for layer in range(trace.depth))
    return self_relevance(layers, identity(batch, tokens, trace.images.device))


def word_relevance(trace: Trace, start: int = 0) -> tuple[Tensor, Tensor]:
    """R_qq (B, Q, Q) and R_qi (B, Q, N) of a decoder over a memory of image tokens.

    Records come in the order in which they ran. Self-attention before the first record of the
    decoder is the image's own, and counts from layer `start` on; where the trace has none, the
    memory's tokens stand for themselves. N counts the image's tokens, the encoder's prefix
    tokens before those of the memory. The row of the word that is explained says which of them
    it comes from. Raises ValueError where nothing attends to a memory.
    """
    crossing = crossings(trace.records)
    if not crossing:
        raise ValueError("This model has no cross-attention, so no word looks at the image.")
    batch, _, words, memory = trace.records[crossing[0]].shape
    begins, device = decoder_start(trace.records), trace.images.device
    tokens = trace.records[0].shape[2] if begins else memory
    image = self_relevance(
        (layer_relevance(trace, layer) for layer in range(start, begins)),
        identity(batch, tokens, device),
    )
    remembered = without_start(image)[:, -memory:]
    over_words = identity(batch, words, device)
    over_image = torch.zeros(batch, words, tokens, device=device)
    for layer in range(begins, trace.depth):
        moved = layer_relevance(trace, layer)
        if layer in crossing:
            over_image = over_image + without_start(over_words).mT @ moved @ remembered
        else:
            over_words, over_image = (
                over_words + moved @ over_words,
                over_image + moved @ over_image,
            )
    return over_words, over_image


def identity(batch: int, tokens: int, device: torch.device) -> Tensor:
    return torch.eye(tokens, device=device).expand(batch, -1, -1)
