"""A captioner: a transformer decoder that writes words while it looks at an image's tokens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from model.datasets.vocabulary import PAD, SPECIAL
from model.nets.attention import check_heads
from model.nets.vit import VisionTransformer, ViTConfig
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout

DECODERS = ("transformer", "recurrent")
MEMORIES = ("patches", "one")


@dataclass(frozen=True)
class CaptionerConfig:
    """Says all that is needed to build a captioner; goes to JSON and back by `asdict`."""

    encoder: ViTConfig = field(default_factory=ViTConfig)
    vocabulary: tuple[str, ...] = SPECIAL  # SPECIAL, then the words
    decoder: str = "transformer"  # or "recurrent", see model.captioning.recurrent
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
class DecoderOutput:
    """What a captioner answers to a given caption, for each word and for the end.

    `logits` (B, N, V); `cross`, a layer each, (B, H, N, M) and `self_` (B, H, N, N): row i is the
    attention that chose word i; column j of `self_` is <start> for j = 0, and else word j - 1.
    A recurrent decoder has no self-attention.
    """

    logits: Tensor
    cross: list[Tensor]
    self_: list[Tensor]


class CaptioningNet(nn.Module):
    """What every captioner of this project has: an encoder, and words in and out.

    A decoder adds `begin`, `advance`, `attention_of` and `decoder_output`.
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
        return self.teacher_force(self.encode_image(images), words)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> memory (B, M, D)"""
        return self.bridge(self.look(images))

    def look(self, images: Tensor) -> Tensor:
        """What the encoder makes of images, (B, M, E): patches, or one vector for all."""
        encoder = self.encoder
        if self.config.memory == "one":
            return encoder(images)[:, None]
        tokens = encoder.encode(images)[:, encoder.tokens.patch_slice]
        return encoder.projection(encoder.norm(tokens))

    def teacher_force(self, memory: Tensor, words: Tensor) -> Tensor:
        """Logits (B, N, V) of the word after each of `words` (B, N), all at once."""
        return self.advance(words, self.begin(memory))[0]


def decoder_output(net: nn.Module, memory: Tensor, words: Tensor) -> DecoderOutput:
    """Run any net with `teacher_force` on `words` (B, N) and record the attention of each layer."""
    with AttentionRecorder(net) as recorder:
        logits = net.teacher_force(memory, words)
    maps = {"self": [], "cross": []}
    for record in recorder.records:
        maps[record.kind].append(record.weights())
    return DecoderOutput(logits, maps["cross"], maps["self"])
