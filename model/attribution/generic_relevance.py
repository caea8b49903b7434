"""Chefer's generic relevance as whole matrices, for self-attention and for captioners.

Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers". At the start each token is relevant to itself alone, R = I. Each
layer, with C = mean_H relu(A ⊙ ∂y/∂A), passes relevance on:

    self-attention of the image (i)     R_ii += C R_ii
    self-attention of the words (q)     R_qq += C R_qq,   R_qi += C R_qi
    cross-attention                     R_qi += N(R_qq)ᵀ C N(R_ii)

where N(R) divides the rows of R − I by their sums and adds I again.
`model.attribution.class_methods.class_chefer` is one row of R_ii − I.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from model.attribution.trace import Trace
from model.captioning.words import cross_attention_layers, decoder_start


def layer_relevance(trace: Trace, layer: int) -> Tensor:
    """Compute C = mean_H relu(A ⊙ ∂y/∂A) of a layer, (B, Q, K)."""
    return trace.fused(layer, lambda weights, gradient: (weights * gradient).relu().mean(1))


def add_self_attention(layers: Iterable[Tensor], relevance: Tensor) -> Tensor:
    """Update R += C R for each C (B, N, N), first layer first; `relevance` is R, (B, N, M)."""
    for layer in layers:
        relevance = relevance + layer @ relevance
    return relevance


def normalise_gained(relevance: Tensor) -> Tensor:
    """Compute N(R) of (B, N, N): rows of R − I sum to one, or stay zero, and I is added."""
    start = identity(len(relevance), relevance.shape[-1], relevance.device)
    gained = relevance - start
    total = gained.sum(-1, keepdim=True)
    return gained / total.masked_fill(total == 0, 1.0) + start


def image_relevance(trace: Trace) -> Tensor:
    """Compute R_ii (B, N, N) of a model with self-attention only."""
    batch, _, tokens, _ = trace.records[0].shape
    layers = (layer_relevance(trace, layer) for layer in range(trace.depth))
    return add_self_attention(layers, identity(batch, tokens, trace.images.device))


def word_relevance(trace: Trace, start: int = 0) -> tuple[Tensor, Tensor]:
    """Compute R_qq (B, Q, Q) and R_qi (B, Q, N) of a decoder over a memory of image tokens.

    Records come in the order in which they ran. Self-attention before the decoder's first record
    belongs to the encoder and counts from layer `start` on; if none was recorded, each memory token
    is relevant to itself alone. N counts the encoder's tokens: its prefix, then the memory's. Read
    the row of the word to explain. Raises ValueError where the model has no cross-attention.
    """
    crossing = cross_attention_layers(trace.records)
    if not crossing:
        raise ValueError("This model has no cross-attention, so no word looks at the image.")
    batch, _, words, memory = trace.records[crossing[0]].shape
    begins, device = decoder_start(trace.records), trace.images.device
    tokens = trace.records[0].shape[2] if begins else memory
    image = add_self_attention(
        (layer_relevance(trace, layer) for layer in range(start, begins)),
        identity(batch, tokens, device),
    )
    of_memory = normalise_gained(image)[:, -memory:]
    over_words = identity(batch, words, device)
    over_image = torch.zeros(batch, words, tokens, device=device)
    for layer in range(begins, trace.depth):
        moved = layer_relevance(trace, layer)
        if layer in crossing:
            over_image = over_image + normalise_gained(over_words).mT @ moved @ of_memory
        else:
            over_words, over_image = (
                over_words + moved @ over_words,
                over_image + moved @ over_image,
            )
    return over_words, over_image


def identity(batch: int, tokens: int, device: torch.device) -> Tensor:
    """One identity matrix per image, (B, N, N)."""
    return torch.eye(tokens, device=device).expand(batch, -1, -1)
