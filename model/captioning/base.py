"""What every captioner is: an encoder, whose tokens are the memory, and a decoder of words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor, nn

from model.datasets.vocabulary import PAD, SPECIAL, START, UNKNOWN
from model.nets.attention import check_heads
from model.nets.vit import VisionTransformer, ViTConfig
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout

DECODERS = ("transformer", "recurrent")
MEMORIES = ("patches", "one")


@dataclass(frozen=True)
class CaptionerConfig:
    """Settings of a captioner, all that is needed to build one; goes to JSON and back by `asdict`.

    Raises ValueError for settings that make no captioner.
    """

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
        if not isinstance(self.encoder, ViTConfig):
            raise TypeError("The encoder of a captioner is described by the fields of ViTConfig.")
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
        """What each token of the memory stands for: a patch, or the whole image."""
        layout = self.encoder.tokens
        if self.memory == "one":
            return TokenLayout((1, 1), patch=layout.image_size)
        return replace(layout, prefix=())


@dataclass
class DecoderOutput:
    """A captioner's output for a given caption, for each word and for the end.

    Row i of a map is the attention that chose word i. Column j of `self_` is `<start>` for j = 0,
    and else word j - 1. A recurrent decoder has no self-attention.
    """

    logits: Tensor  # (B, N, V)
    cross: list[Tensor]  # per layer, (B, H, N, M)
    self_: list[Tensor]  # per layer, (B, H, N, N)


class DecoderState(Protocol):
    """What a decoder keeps between two words, a row for each caption."""

    def select(self, rows: Tensor) -> Self:
        """Keep these rows of the batch, in this order; a row may come twice."""


State = TypeVar("State", bound=DecoderState)


class AutoregressiveDecoder(Protocol[State]):
    """What decoding needs of a captioner: logits of the next word, one word after the other."""

    never_written: tuple[int, ...]

    def begin(self, memory: Tensor, record: bool = False) -> State:
        """Return the state before the first word, for memory (B, M, D)."""

    def advance(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B, N, V) after each of `words` (B, N), and the state after them."""


class CaptioningConfig(Protocol):
    """What a captioner says about itself."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Its words by number, SPECIAL first."""

    @property
    def max_words(self) -> int:
        """How many words a caption has at most."""

    @property
    def memory(self) -> str:
        """One of MEMORIES."""


class CaptioningModel(nn.Module, ABC, Generic[State]):
    """A net that writes captions: ours (`CaptioningNet`), or another library's in our terms.

    It is an `AutoregressiveDecoder`, with an encoder before it. Words are numbers in
    `config.vocabulary`, which begins with SPECIAL.

    Attributes:
        config: Vocabulary, longest caption and kind of memory.
        tokens: What each token of the memory stands for.
        never_written: Special words that decoding passes over.
    """

    config: CaptioningConfig
    tokens: TokenLayout
    never_written: tuple[int, ...] = (PAD, START, UNKNOWN)

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> memory (B, M, D)"""

    @abstractmethod
    def begin(self, memory: Tensor, record: bool = False) -> State:
        """Return the state before the first word. `record` keeps what attention maps need."""

    @abstractmethod
    def advance(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B, N, V) after each of `words` (B, N), and the state after them.

        The first words, `<start>` among them, may come together, the later ones one by one.
        Raises ValueError for more words than the captioner takes.
        """

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Images (B, C, H, W), words (B, N) from `<start>` on -> logits of the next (B, N, V)."""
        return self.teacher_force(self.encode_image(images), words)

    def teacher_force(self, memory: Tensor, words: Tensor) -> Tensor:
        """Compute logits (B, N, V) of the word after each of `words` (B, N), all at once."""
        return self.advance(words, self.begin(memory))[0]

    def decoder_output(self, memory: Tensor, words: Tensor) -> DecoderOutput:
        """Compute the output for `words` (B, N), given all at once, with every layer's maps."""
        return record_decoder_output(self, memory, words)

    def output_while_decoding(self, memory: Tensor, words: Tensor, state: State) -> DecoderOutput:
        """Compute the output for `words` (B, N) that decoding has just chosen.

        Args:
            memory: The memory (B, M, D).
            words: `<start>` and the words.
            state: The state after these words, recorded from the beginning. A model whose states
                keep no queries decodes the words once more.
        """
        return self.decoder_output(memory, words)

    @property
    def patch_layout(self) -> TokenLayout:
        """The image's patches, also where the memory does not tell them apart."""
        return self.tokens


class OwnDecoder(CaptioningModel[State]):
    """A captioner whose decoder is this project's: its states keep what attention maps need."""

    @abstractmethod
    def attention_of(self, state: State) -> DecoderOutput:
        """Compute the output for the words of a state, and the maps behind it.

        Raises ValueError where the state was not recorded.
        """

    def decoder_output(self, memory: Tensor, words: Tensor) -> DecoderOutput:
        """Compute the output for `words` (B, N), given all at once, with every layer's maps."""
        return self.attention_of(self.advance(words, self.begin(memory, record=True))[1])

    def output_while_decoding(self, memory: Tensor, words: Tensor, state: State) -> DecoderOutput:
        """Compute the output for words from the state after them; nothing is decoded again."""
        return self.attention_of(state)


class CaptioningNet(OwnDecoder[State]):
    """A captioner of this project: a vision transformer, a projection, and a decoder."""

    config: CaptionerConfig

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = config.tokens
        self.encoder = VisionTransformer(config.encoder)
        self.bridge = nn.Linear(config.encoder.projection or config.encoder.dim, config.dim)
        self.embed = nn.Embedding(len(config.vocabulary), config.dim, padding_idx=PAD)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dim, len(config.vocabulary))

    @property
    def patch_layout(self) -> TokenLayout:
        """The image's patches, also where the memory does not tell them apart."""
        return replace(self.config.encoder.tokens, prefix=())

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> memory (B, M, D)"""
        return self.bridge(self.image_features(images))

    def image_features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> the encoder's output (B, M, E): patches, or one vector for all."""
        encoder = self.encoder
        if self.config.memory == "one":
            return encoder(images)[:, None]
        tokens = encoder.encode(images)[:, encoder.tokens.patch_slice]
        return encoder.projection(encoder.norm(tokens))


def record_decoder_output(
    net: CaptioningModel[Any], memory: Tensor, words: Tensor
) -> DecoderOutput:
    """Run a captioner on `words` (B, N) and record the attention of each layer."""
    with AttentionRecorder(net) as recorder:
        logits = net.teacher_force(memory, words)
    maps: dict[str, list[Tensor]] = {"self": [], "cross": []}
    for record in recorder.records:
        maps[record.kind].append(record.weights())
    return DecoderOutput(logits, maps["cross"], maps["self"])
