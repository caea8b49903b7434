"""The captioner of Stanford's CS231n assignment, as its class `CaptioningTransformer` computes it.

It holds no encoder: its input is a vector of features that another program has computed. The
decoder is the one of `model.captioning.transformer`, with the assignment's table of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor, nn

from model.captioning.caption import Caption, CaptionBundle
from model.captioning.transformer import DecoderLayer, TransformerDecoder
from model.datasets.vocabulary import PAD, SPECIAL
from model.nets.attention import check_heads
from model.nets.position_embedding import SinusoidalPositions
from model.tokens import TokenLayout

FEATURES_SEED = 0
PHOTO = (224, 224)  # pixels of VGG-16's input, whose features the assignment provides


@dataclass(frozen=True)
class CourseCaptionerConfig:
    """Settings of the assignment's captioner. Raises ValueError for settings that make none."""

    features: int = 512  # numbers that stand for a photo
    vocabulary: tuple[str, ...] = SPECIAL  # SPECIAL, then the words
    dim: int = 256
    layers: int = 2
    heads: int = 4
    mlp_dim: int = 2048
    activation: str = "gelu"  # or "relu", in the assignment of 2021 and 2022
    max_words: int = 49
    dropout: float = 0.1
    attention_dropout: float = 0.1
    memory: str = "one"

    def __post_init__(self) -> None:
        if min(self.features, self.layers, self.mlp_dim, self.max_words) < 1:
            raise ValueError("Its layers, features, words and MLP count 1 or more.")
        check_heads(self.dim, self.heads)


class CourseCaptioner(TransformerDecoder):
    """Features of an image (B, E), words (B, N) -> logits of the next word (B, N, V).

    The memory is one single vector, so that cross-attention, whose row sums to one, is 1 for
    every word. Decoding takes the likeliest of all words, the special ones included.

    Example:
        >>> net = CourseCaptioner(CourseCaptionerConfig(features=8, dim=16, mlp_dim=32)).eval()
        >>> net(torch.randn(2, 8), torch.tensor([[1], [1]])).shape
        torch.Size([2, 1, 4])
    """

    config: CourseCaptionerConfig
    never_written = ()

    def __init__(self, config: CourseCaptionerConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = TokenLayout((1, 1), patch=PHOTO)
        self.bridge = nn.Linear(config.features, config.dim)
        self.embed = nn.Embedding(len(config.vocabulary), config.dim, padding_idx=PAD)
        self.positions = SinusoidalPositions(config.max_words + 1, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(config, config.activation) for _ in range(config.layers)
        )
        self.head = nn.Linear(config.dim, len(config.vocabulary))

    def encode_image(self, images: Tensor) -> Tensor:
        """Features (B, E) -> memory (B, 1, D)"""
        return self.bridge(images)[:, None]


def draw_features(count: int, seed: int = FEATURES_SEED) -> Tensor:
    """Draw features that stand for no photo, from a normal distribution: (1, count)."""
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


@dataclass
class CourseCaptionBundle(CaptionBundle):
    """The assignment's captioner with the features of one image, whatever photo it is shown."""

    features: Tensor = field(default_factory=lambda: torch.zeros(1, 0))  # (1, E)
    features_from: str = ""  # a sentence that says where they come from

    @property
    def sees_the_photo(self) -> bool:
        """The features were computed elsewhere, so the words do not depend on the photo."""
        return False

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The special words are written here, and so they are read."""
        return {word: number for number, word in enumerate(self.net.config.vocabulary)}

    def prepare(self, image: Image.Image) -> Tensor:
        """Return the features (1, E) in place of the photo."""
        return self.features

    def caption(
        self,
        image: Image.Image,
        beams: int = 1,
        temperature: float = 0.0,
        max_words: int = 24,
        start: Sequence[str] = (),
        seed: int | None = None,
    ) -> Caption:
        """Write a caption for the features, as `CaptionBundle.caption` does for a photo."""
        return self._told(super().caption(image, beams, temperature, max_words, start, seed))

    def score(self, image: Image.Image, text: str) -> Caption:
        """Score a caption that somebody typed, as `CaptionBundle.score` does."""
        return self._told(super().score(image, text))

    def _told(self, caption: Caption) -> Caption:
        note = f"{self.features_from} The photo is not looked at. {caption.note}".strip()
        return replace(caption, note=note)
