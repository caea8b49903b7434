"""A captioner: a transformer decoder that writes words while it looks at an image's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import MultiHeadAttention, check_heads
from model.patches import TokenLayout
from model.positions import SinusoidalPositions
from model.recorder import AttentionRecorder
from model.trail import Trail
from model.vit import MLP, VisionTransformer, ViTConfig

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
DECODERS = ("transformer", "recurrent")
MEMORIES = ("patches", "one")

KeysValues = tuple[Tensor, Tensor]  # (B, H, M, d) each
Queries = tuple[Tensor, Tensor]  # of self- and of cross-attention, (B, H, N, d) each


@dataclass(frozen=True)
class CaptionerConfig:
    """Says all that is needed to build a captioner; goes to JSON and back by `asdict`."""

    encoder: ViTConfig = field(default_factory=ViTConfig)
    vocabulary: tuple[str, ...] = SPECIAL  # SPECIAL, then the words
    decoder: str = "transformer"  # or "recurrent", see model.soft_attention
    memory: str = "patches"  # or "one": a single vector of the whole image
    dim: int = 128
    layers: int = 2
    heads: int = 4
    mlp_dim: int = 256
    dropout: float = 0.1
    attention_dropout: float = 0.0  # on the maps of the transformer's layers
    max_words: int = 40

    def __post_init__(self) -> None:
        if isinstance(self.encoder, dict):
            object.__setattr__(self, "encoder", ViTConfig(**self.encoder))
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        for name, choices in {"decoder": DECODERS, "memory": MEMORIES}.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown: choose {', '.join(choices)}."
                )
        if self.vocabulary[:4] != SPECIAL:
            raise ValueError(f"A vocabulary begins with {', '.join(SPECIAL)}.")
        if self.encoder.num_classes:
            raise ValueError("The encoder of a captioner has no classes: set num_classes=0.")
        if self.layers < 1 or self.mlp_dim < 1 or self.max_words < 1:
            raise ValueError("layers, mlp_dim and max_words are 1 or more.")
        check_heads(self.dim, self.heads)

    @property
    def in_channels(self) -> int:
        return self.encoder.in_channels

    @property
    def img_size(self) -> int | tuple[int, int]:
        return self.encoder.img_size

    @property
    def tokens(self) -> TokenLayout:
        """What each token of the memory stands for: patches only, or one for all."""
        layout = self.encoder.tokens
        if self.memory == "one":
            return TokenLayout((1, 1), patch=layout.image_size)
        return replace(layout, prefix=())


@dataclass
class Reading:
    """What a captioner answers to a given caption, for each word and for the end.

    `logits` (B, N, V); `cross`, a layer each, (B, H, N, M) and `self_` (B, H, N, N): row i is the
    attention that chose word i; column j of `self_` is <start> for j = 0, and else word j - 1.
    A recurrent decoder has no self-attention.
    """

    logits: Tensor
    cross: list[Tensor]
    self_: list[Tensor]


class ReadyAttention(MultiHeadAttention):
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
        self.self_attention = ReadyAttention(dim, heads, dropout=dropout)
        self.cross_attention = ReadyAttention(dim, heads, dropout=dropout)
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
class Cache:
    """Keys and values of each layer: of the memory, and of the words so far.

    The trail, if it is recorded, has the queries of self- and cross-attention of each layer, and
    the logits.
    """

    memory: list[KeysValues]
    past: list[KeysValues | None]
    words: int = 0
    trail: Trail | None = None

    def select(self, rows: Tensor) -> Cache:
        """The cache for these rows of the batch, in this order; a row may come twice."""

        def pick(pairs: Sequence[KeysValues | None]) -> list[KeysValues | None]:
            return [pair and (pair[0][rows], pair[1][rows]) for pair in pairs]

        trail = self.trail and self.trail.select(rows)
        return Cache(pick(self.memory), pick(self.past), self.words, trail)


class WritingNet(nn.Module):
    """What every captioner of this project has: an encoder, and words in and out.

    A decoder adds `begin`, `advance`, `recall` and `read`.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = VisionTransformer(config.encoder)
        self.bridge = nn.Linear(config.encoder.projection or config.encoder.dim, config.dim)
        self.embed = nn.Embedding(len(config.vocabulary), config.dim, padding_idx=PAD)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dim, len(config.vocabulary))

    @property
    def tokens(self) -> TokenLayout:
        return self.config.tokens

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Images (B, C, H, W), words (B, N) from <start> on -> logits of the next (B, N, V)."""
        return self.teach(self.remember(images), words)

    def remember(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> memory (B, M, D)"""
        return self.bridge(self.look(images))

    def look(self, images: Tensor) -> Tensor:
        """What the encoder makes of images, (B, M, E): patches, or one vector for all."""
        encoder = self.encoder
        if self.config.memory == "one":
            return encoder(images)[:, None]
        tokens = encoder.encode(images)[:, encoder.tokens.patch_slice]
        return encoder.projection(encoder.norm(tokens))

    def teach(self, memory: Tensor, words: Tensor) -> Tensor:
        """Logits (B, N, V) of the word after each of `words` (B, N), all at once."""
        return self.advance(words, self.begin(memory))[0]


class Captioner(WritingNet):
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

    def begin(self, memory: Tensor, record: bool = False) -> Cache:
        """The cache before the first word. `record` keeps what `recall` needs."""
        ready = [layer.cross_attention.read(memory) for layer in self.layers]
        return Cache(ready, [None] * len(ready), trail=Trail() if record else None)

    def advance(self, words: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
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
        return logits, Cache(cache.memory, past, end, trail)

    def recall(self, cache: Cache) -> Reading:
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
        return Reading(logits, cross, self_)

    def read(self, memory: Tensor, words: Tensor) -> Reading:
        """Teacher forcing, with the attention of every layer."""
        return self.recall(self.advance(words, self.begin(memory, record=True))[1])


def read(net: nn.Module, memory: Tensor, words: Tensor) -> Reading:
    """What any net with `teach` answers to `words` (B, N), with the attention of every layer."""
    with AttentionRecorder(net) as recorder:
        logits = net.teach(memory, words)
    maps = {"self": [], "cross": []}
    for record in recorder.records:
        maps[record.kind].append(record.weights())
    return Reading(logits, maps["cross"], maps["self"])


def build(config: CaptionerConfig | dict[str, Any]) -> nn.Module:
    """The captioner of that config, with fresh weights. Raises ValueError, TypeError."""
    if isinstance(config, dict):
        config = CaptionerConfig(**config)
    if config.decoder == "recurrent":
        from model.soft_attention import RecurrentCaptioner

        return RecurrentCaptioner(config)
    return Captioner(config)


def as_dict(config: CaptionerConfig) -> dict[str, Any]:
    """The config for a card."""
    return asdict(config)
