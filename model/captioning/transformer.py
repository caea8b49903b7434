"""Transformer captioner: a decoder with cross-attention to the tokens of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.captioning.base import CaptionerConfig, CaptioningNet, DecoderOutput
from model.captioning.step_history import StepHistory
from model.nets.attention import MultiHeadAttention
from model.nets.position_embedding import SinusoidalPositions
from model.nets.vit import MLP

KeysValues = tuple[Tensor, Tensor]  # (B, H, M, d) each
Queries = tuple[Tensor, Tensor]  # of self- and of cross-attention, (B, H, N, d) each


class CachedAttention(MultiHeadAttention):
    """Multi-head attention whose queries, keys and values are ready, so that they can be kept."""

    def ask(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> queries (B, H, N, d)"""
        return self._split(self.query(tokens))

    def read(self, memory: Tensor) -> KeysValues:
        """(B, M, D) -> keys and values (B, H, M, d)."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(self, query: Tensor, ready: KeysValues, causal: bool = False) -> Tensor:
        """Queries (B, H, N, d), keys and values (B, H, M, d) -> (B, N, D)"""
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            query, *ready, dropout_p=dropout, is_causal=causal, scale=self.scale
        )
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def weights(self, query: Tensor, key: Tensor, causal: bool = False) -> Tensor:
        """The maps (B, H, N, M) by which `forward` mixes the values."""
        scores = query @ key.mT * self.scale
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        return scores.softmax(-1)


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention, feed-forward; LayerNorm after each residual."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.heads, config.attention_dropout
        self.self_attention = CachedAttention(dim, heads, dropout=dropout)
        self.cross_attention = CachedAttention(dim, heads, dropout=dropout)
        self.mlp = MLP(dim, config.mlp_dim, "gelu", config.dropout)
        self.norm_self, self.norm_cross, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens: Tensor, memory: KeysValues, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues, Queries]:
        """Tokens (B, N, D) after those of `past` -> the same, the past from now on, and with which
        queries these tokens looked at the words and at the memory.

        With a past N is 1: one word at a time.
        """
        query, ready = self.self_attention.ask(tokens), self.self_attention.read(tokens)
        if past is not None:
            ready = tuple(torch.cat(both, dim=2) for both in zip(past, ready, strict=True))
        seen = self.self_attention(query, ready, causal=past is None)
        tokens = self.norm_self(tokens + self.dropout(seen))
        look = self.cross_attention.ask(tokens)
        seen = self.cross_attention(look, memory)
        tokens = self.norm_cross(tokens + self.dropout(seen))
        return self.norm_mlp(tokens + self.mlp(tokens)), ready, (query, look)


@dataclass
class DecoderCache:
    """Keys and values of each layer: of the memory, and of the words so far.

    The trail, if it is recorded, has the queries of self- and cross-attention of each layer, and
    the logits.
    """

    memory: list[KeysValues]
    past: list[KeysValues | None]
    words: int = 0
    trail: StepHistory | None = None

    def select(self, rows: Tensor) -> DecoderCache:
        """The cache for these rows of the batch, in this order; a row may come twice."""

        def pick(pairs: Sequence[KeysValues | None]) -> list[KeysValues | None]:
            return [pair and (pair[0][rows], pair[1][rows]) for pair in pairs]

        trail = self.trail and self.trail.select(rows)
        return DecoderCache(pick(self.memory), pick(self.past), self.words, trail)


class Captioner(CaptioningNet):
    """The decoder of Stanford's CS231n assignment over the tokens of an encoder.

    Each layer is masked self-attention, cross-attention and feed-forward, the norms after the
    residuals (Vaswani et al. 2017), with sinusoidal positions and GELU. With `memory="one"`, as
    in the assignment, there is one single vector to look at, so that the cross-attention, whose
    row sums to one, is 1 whatever the weights are.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.positions = SinusoidalPositions(config.max_words + 1, config.dim)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))

    def begin(self, memory: Tensor, record: bool = False) -> DecoderCache:
        """The cache before the first word. `record` keeps what `attention_of` needs."""
        ready = [layer.cross_attention.read(memory) for layer in self.layers]
        return DecoderCache(ready, [None] * len(ready), trail=StepHistory() if record else None)

    def advance(self, words: Tensor, cache: DecoderCache) -> tuple[Tensor, DecoderCache]:
        """Logits (B, N, V) after each of `words` (B, N), and the cache with these words.

        The first words, <start> among them, may come together, the later ones one by one.
        Raises ValueError for more words than there are positions.
        """
        end = cache.words + words.shape[1]
        if end > len(self.positions.code):
            raise ValueError(f"This captioner takes {self.config.max_words} words, not {end - 1}.")
        tokens = self.embed(words) + self.positions.code[cache.words : end]
        tokens, past, queries = self.dropout(tokens), [], []
        for layer, memory, before in zip(self.layers, cache.memory, cache.past, strict=True):
            tokens, ready, asked = layer(tokens, memory, before)
            past.append(ready)
            queries += asked
        logits = self.head(tokens)
        trail = cache.trail and cache.trail.then(*queries, logits)
        return logits, DecoderCache(cache.memory, past, end, trail)

    def attention_of(self, cache: DecoderCache) -> DecoderOutput:
        """What was answered to the words of a cache, and where each layer looked for it.

        Raises ValueError where it was not recorded.
        """
        if cache.trail is None:
            raise ValueError("Nothing was recorded: begin(memory, record=True) does.")
        *queries, logits = cache.trail.gather()
        steps = (self.layers, cache.memory, cache.past, queries[::2], queries[1::2])
        cross, self_ = [], []
        for layer, memory, past, query, look in zip(*steps, strict=True):
            cross.append(layer.cross_attention.weights(look, memory[0]))
            self_.append(layer.self_attention.weights(query, past[0], causal=True))
        return DecoderOutput(logits, cross, self_)

    def read(self, memory: Tensor, words: Tensor) -> DecoderOutput:
        """Teacher forcing, with the attention of every layer."""
        return self.attention_of(self.advance(words, self.begin(memory, record=True))[1])
