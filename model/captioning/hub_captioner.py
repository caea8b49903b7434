"""Captioners of the Hugging Face hub, with the same interface as ours.

`HubCaptioner` is a VisionEncoderDecoderModel (such as ViT-GPT2) or BLIP (Li et al. 2022) as a
`CaptioningModel`, so one code decodes and shows them all. Their layers keep no queries, so the
maps come from a second pass: the finished caption is run once more, all words at once.

transformers is imported when a model is opened, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from model.captioning.base import CaptioningModel, DecoderOutput
from model.captioning.caption import Caption, CaptionBundle
from model.captioning.hub_vocabulary import PIECE, VocabularyMap, WordTokenizer
from model.tokens import TokenLayout

MOST_WORDS = 40  # tokens of a caption; the published ones have about ten
PIECES_NOTE = f"A piece that begins with {PIECE} goes on with the word before it."

KeysValues = tuple[Tensor, Tensor]  # (B, H, N, d) each


@dataclass(frozen=True)
class HubCaptionerConfig:
    """The settings of a captioner that decoding and the pages need."""

    vocabulary: tuple[str, ...]
    max_words: int
    memory: str = "patches"


@dataclass
class HubCache:
    """The memory (B, M, D), and keys and values of each layer: of the words, and of the memory."""

    memory: Tensor
    past: list[KeysValues]
    crossed: list[KeysValues]
    words: int = 0

    def select(self, rows: Tensor) -> HubCache:
        """Keep these rows of the batch, in this order; a row may come twice."""
        past, crossed = (
            [(keys[rows], values[rows]) for keys, values in pairs]
            for pairs in (self.past, self.crossed)
        )
        return HubCache(self.memory[rows], past, crossed, self.words)


class HubCaptioner(CaptioningModel[HubCache]):
    """A transformers captioner with the interface of ours.

    Words are by our numbers (see VocabularyMap). Logits are the model's own, in our order; a number
    that is never an output has -inf, so that log_softmax is the model's own, too.
    """

    theirs: Tensor  # the model's token of each of our numbers
    silent: Tensor  # numbers that are never an output

    def __init__(
        self, model: Any, vocabulary: VocabularyMap, words: Sequence[str], tokens: TokenLayout
    ) -> None:
        super().__init__()
        blip = hasattr(model, "text_decoder")
        self.encoder = model.vision_model if blip else model.encoder
        self.bridge = getattr(model, "enc_to_dec_proj", None) or nn.Identity()
        self.decoder = model.text_decoder if blip else model.decoder
        self.tokens = tokens
        places = getattr(self.decoder.config, "max_position_embeddings", None) or MOST_WORDS + 1
        self.config = HubCaptionerConfig(tuple(words), min(MOST_WORDS, places - 1))
        self.register_buffer("theirs", torch.tensor(vocabulary.tokens), persistent=False)
        self.register_buffer("silent", ~torch.tensor(vocabulary.answers), persistent=False)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> memory (B, M, D), the encoder's class token first if it has one"""
        return self.bridge(self.encoder(pixel_values=images).last_hidden_state)

    def begin(self, memory: Tensor, record: bool = False) -> HubCache:
        """Return the cache before the first word. Nothing is recorded: it keeps no queries."""
        return HubCache(memory, [], [])

    def advance(self, words: Tensor, state: HubCache) -> tuple[Tensor, HubCache]:
        """Return logits (B, N, V) after each of `words` (B, N), and the cache with these words.

        Raises ValueError for more words than the captioner takes.
        """
        from transformers import EncoderDecoderCache

        end = state.words + words.shape[1]
        if end > self.config.max_words + 1:
            raise ValueError(f"This captioner takes {self.config.max_words} words, not {end - 1}.")
        kept: Any = EncoderDecoderCache(_as_their_cache(state.past), _as_their_cache(state.crossed))
        logits = self.decoder(
            input_ids=self.theirs[words],
            encoder_hidden_states=state.memory,
            past_key_values=kept,
            use_cache=True,
        ).logits
        logits = logits[..., self.theirs].masked_fill(self.silent, -torch.inf)
        past, crossed = (
            [(layer.keys, layer.values) for layer in part.layers]
            for part in (kept.self_attention_cache, kept.cross_attention_cache)
        )
        return logits, HubCache(state.memory, past, crossed, end)


def _as_their_cache(pairs: Sequence[KeysValues]) -> Any:
    """Wrap keys and values in transformers' cache, without a copy."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache()
    for keys, values in pairs:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


@dataclass
class HubCaptionBundle(CaptionBundle):
    """A captioner of the hub under its name; its words are tokens (see `hub_vocabulary`)."""

    tokenizer: WordTokenizer = field(kw_only=True)

    def _split(self, text: str) -> list[str]:
        return text.split()  # upper case and punctuation are the tokenizer's to judge

    def _encode(self, words: Sequence[str]) -> tuple[list[str], list[int]]:
        return self.tokenizer.encode([part for word in words for part in word.split()])

    def _word(self, number: int, position: int) -> str:
        return self.tokenizer.decode(number, position)

    def _caption(
        self, output: DecoderOutput, words: list[str], ids: Sequence[int], notes: list[str]
    ) -> Caption:
        if any(word.startswith(PIECE) for word in words):
            notes = [*notes, PIECES_NOTE]
        return super()._caption(output, words, ids, notes)
