"""Transformer captioner: a decoder with cross-attention to the tokens of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.captioning.base import CaptionerConfig, CaptioningNet, DecoderOutput, OwnDecoder
from model.captioning.step_history import StepHistory
from model.nets.attention import check_heads
from model.nets.position_embedding import SinusoidalPositions
from model.nets.vit import MLP

KeysValues = tuple[Tensor, Tensor]  # (B, H, M, d) each
Queries = tuple[Tensor, Tensor]  # of self- and of cross-attention, (B, H, N, d) each


class CachedAttention(nn.Module):
    """Multi-head attention whose queries, keys and values are given, so that they can be cached.

    The weights bear the names that `model.nets.attention.MultiHeadAttention` gives them.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads, self.dropout = heads, dropout
        self.scale = (dim // heads) ** -0.5
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.proj = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def queries(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> queries (B, H, N, d)"""
        return self._split(self.query(tokens))

    def keys_values(self, memory: Tensor) -> KeysValues:
        """(B, M, D) -> keys and values (B, H, M, d)"""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(self, queries: Tensor, keys_values: KeysValues, causal: bool = False) -> Tensor:
        """Queries (B, H, N, d), keys and values (B, H, M, d) -> (B, N, D)"""
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            queries, *keys_values, dropout_p=dropout, is_causal=causal, scale=self.scale
        )
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, keys: Tensor, causal: bool = False) -> Tensor:
        """Compute the maps (B, H, N, M) by which `forward` mixes the values."""
        scores = queries @ keys.mT * self.scale
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        return scores.softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, H, N, d)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DecoderConfig(Protocol):
    """What a layer of the decoder is built from."""

    @property
    def dim(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def mlp_dim(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def attention_dropout(self) -> float: ...


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention, feed-forward; LayerNorm after each residual."""

    def __init__(self, config: DecoderConfig, activation: str = "gelu") -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.heads, config.attention_dropout
        self.self_attention = CachedAttention(dim, heads, dropout=dropout)
        self.cross_attention = CachedAttention(dim, heads, dropout=dropout)
        self.mlp = MLP(dim, config.mlp_dim, activation, config.dropout)
        self.norm_self, self.norm_cross, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens: Tensor, memory: KeysValues, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues, Queries]:
        """Run the layer on tokens (B, N, D) that come after the words of `past`.

        With a past N is 1: one word at a time.

        Returns:
            Tokens (B, N, D); keys and values of all words so far; the tokens' queries in self-
            and in cross-attention.
        """
        queries = self.self_attention.queries(tokens)
        words = self.self_attention.keys_values(tokens)
        if past is not None:
            words = torch.cat((past[0], words[0]), dim=2), torch.cat((past[1], words[1]), dim=2)
        mixed = self.self_attention(queries, words, causal=past is None)
        tokens = self.norm_self(tokens + self.dropout(mixed))
        cross_queries = self.cross_attention.queries(tokens)
        mixed = self.cross_attention(cross_queries, memory)
        tokens = self.norm_cross(tokens + self.dropout(mixed))
        return self.norm_mlp(tokens + self.mlp(tokens)), words, (queries, cross_queries)


@dataclass
class DecoderCache:
    """Keys and values of each layer: of the memory, and of the words so far.

    The history, if it is recorded, has the queries of self- and cross-attention of each layer,
    and the logits.
    """

    memory: list[KeysValues]
    past: list[KeysValues]  # empty before the first word
    words: int = 0
    history: StepHistory | None = None

    def select(self, rows: Tensor) -> DecoderCache:
        """Keep these rows of the batch, in this order; a row may come twice."""
        memory, past = (
            [(keys[rows], values[rows]) for keys, values in pairs]
            for pairs in (self.memory, self.past)
        )
        return DecoderCache(memory, past, self.words, self.history and self.history.select(rows))


class TransformerDecoder(OwnDecoder[DecoderCache]):
    """Decode words with layers of self- and cross-attention, whatever made the memory."""

    embed: nn.Embedding
    positions: SinusoidalPositions
    dropout: nn.Dropout
    layers: nn.ModuleList
    head: nn.Linear

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def begin(self, memory: Tensor, record: bool = False) -> DecoderCache:
        """Return the cache before the first word. `record` keeps what `attention_of` needs."""
        ready = [layer.cross_attention.keys_values(memory) for layer in self._decoder_layers()]
        return DecoderCache(ready, [], history=StepHistory() if record else None)

    def advance(self, words: Tensor, state: DecoderCache) -> tuple[Tensor, DecoderCache]:
        """Return logits (B, N, V) after each of `words` (B, N), and the cache with these words.

        The first words, `<start>` among them, may come together, the later ones one by one.
        Raises ValueError for more words than there are positions.
        """
        end = state.words + words.shape[1]
        if end > len(self.positions.code):
            raise ValueError(f"This captioner takes {self.config.max_words} words, not {end - 1}.")
        tokens = self.dropout(self.embed(words) + self.positions.code[state.words : end])
        earlier: Sequence[KeysValues | None] = state.past or [None] * len(self.layers)
        past: list[KeysValues] = []
        queries: list[Tensor] = []
        for layer, memory, before in zip(self.layers, state.memory, earlier, strict=True):
            tokens, after, asked = layer(tokens, memory, before)
            past.append(after)
            queries += asked
        logits = self.head(tokens)
        history = state.history and state.history.append(*queries, logits)
        return logits, DecoderCache(state.memory, past, end, history)

    def attention_of(self, state: DecoderCache) -> DecoderOutput:
        """Compute the output for the words of a cache, and each layer's maps.

        Raises ValueError where the cache was not recorded.
        """
        if state.history is None:
            raise ValueError("Nothing was recorded: begin(memory, record=True) does.")
        *queries, logits = state.history.gather()
        steps = (self._decoder_layers(), state.memory, state.past, queries[::2], queries[1::2])
        cross, self_ = [], []
        for layer, memory, past, own_queries, cross_queries in zip(*steps, strict=True):
            cross.append(layer.cross_attention.weights(cross_queries, memory[0]))
            self_.append(layer.self_attention.weights(own_queries, past[0], causal=True))
        return DecoderOutput(logits, cross, self_)


class Captioner(TransformerDecoder, CaptioningNet[DecoderCache]):
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
