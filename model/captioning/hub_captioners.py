"""Captioners of the Hugging Face hub, asked in the same way as our own.

`HubCaptioner` gives a VisionEncoderDecoderModel (such as ViT-GPT2) or BLIP (Li et al. 2022) the
interface of `model.captioning.transformer.Captioner`, but for `attention_of`. So one code decodes
and shows them all. The maps are those of the beam that won: the finished caption is read once more,
in one pass.

**What counts as a word.** These models write tokens. Most are whole words; a rare word takes
several. A step of a caption is a token, because that is what was chosen: it has a probability,
alternatives and maps of its own, and their mean over a word would be none of the model's. A
reader expects words, so a token is written as the word that it is; one that goes on with the word
before it begins with "##", as in "skate ##board". No two tokens are written alike, so a caption
that is read back is the one that was written.

transformers is imported when a model is opened, and not before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from model.captioning.base import DecoderOutput, decoder_output
from model.captioning.caption import Caption, CaptionBundle
from model.captioning.decoding import Beam
from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN
from model.tokens import TokenLayout

MOST_WORDS = 40  # tokens of a caption; the published ones have about ten
PIECE = "##"
PIECES_NOTE = f"A piece that begins with {PIECE} goes on with the word before it."
SPACE = "␣"
_SPACED = ("Ġ", "▁")  # how byte-level BPE and SentencePiece mark that a space came before

KeysValues = tuple[Tensor, Tensor]  # (B, H, N, d) each


@dataclass(frozen=True)
class Numbering:
    """Our number of each of their tokens: PAD, START, END and UNKNOWN, then all others.

    A model may use one token for several of the four; GPT-2 has a single one for all. What it
    answers with it then counts as END, as in its own generation.
    """

    tokens: tuple[int, ...]  # theirs, by our number
    answers: tuple[bool, ...]  # whether this number is ever an answer

    @classmethod
    def of(
        cls, size: int, end: int, start: int, unknown: int | None = None, pad: int | None = None
    ) -> Numbering:
        """The numbering of a vocabulary of `size` tokens, given those that mean something."""
        own = {END: end}
        for number, token in ((START, start), (UNKNOWN, unknown), (PAD, pad)):
            if token is not None and token not in own.values():
                own[number] = token
        others = [token for token in range(size) if token not in own.values()]
        first = [own.get(number, end) for number in range(len(SPECIAL))]
        first[START] = start
        known = [number in own for number in range(len(SPECIAL))]
        return cls((*first, *others), (*known, *[True] * len(others)))

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Their token -> our number."""
        pairs = zip(self.tokens, self.answers, strict=True)
        return {token: number for number, (token, answer) in enumerate(pairs) if answer}

    @property
    def knows_unknown(self) -> bool:
        """Whether there is a token for what the tokenizer cannot write."""
        return self.answers[UNKNOWN]


class Wording:
    """How tokens are written, and how what somebody wrote becomes tokens again.

    `names` are by our number; `first` are those at the beginning of a caption, where a byte-level
    vocabulary has words without the space before them.
    """

    def __init__(self, tokenizer: Any, numbering: Numbering) -> None:
        self.tokenizer = tokenizer
        self.numbering = numbering
        tokens = numbering.tokens[len(SPECIAL) :]
        raw = tokenizer.convert_ids_to_tokens(list(tokens))
        self.spaced = any(token and token.startswith(_SPACED) for token in raw)
        opening = tokenizer.tokenize("a")[:1]
        bare_opening = self.spaced and not (opening and opening[0].startswith(_SPACED))
        self.names = self._unique(tokens, raw, False)
        self.first = self._unique(tokens, raw, True) if bare_opening else self.names
        self._number, self._first_number = (
            {name: number for number, name in enumerate(names) if number >= len(SPECIAL)}
            for names in (self.names, self.first)
        )

    def write(self, number: int, position: int) -> str:
        """The word of this number; the first position of a caption is 0."""
        return (self.names if position else self.first)[number]

    def read(self, words: Sequence[str]) -> tuple[list[str], list[int]]:
        """Words, each without spaces, as they are written here, and their numbers.

        A word that is no token's is cut into tokens; where some part has none either, the word is
        UNKNOWN, or left out by a model that has no such token.
        """
        written, numbers = [], []
        for word in words:
            known = self._number if numbers else self._first_number
            found = [known[word]] if word in known else self._cut(word, not numbers)
            for number in found:
                written.append(
                    word if number == UNKNOWN else self.write(number, position=len(numbers))
                )
                numbers.append(number)
        return written, numbers

    def _cut(self, word: str, first: bool) -> list[int]:
        text = f" {word}" if self.spaced and not first else word
        tokens = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        numbers = [self.numbering.numbers.get(token, UNKNOWN) for token in tokens]
        if numbers and min(numbers) >= len(SPECIAL):
            return numbers
        return [UNKNOWN] if self.numbering.knows_unknown else []

    def _unique(
        self, tokens: Sequence[int], raw: Sequence[str | None], first: bool
    ) -> tuple[str, ...]:
        """A name for each token; its number where it has none, or one that another has too."""
        names = [self._name(token, first) if token else "" for token in raw]
        uses = Counter(names)
        good = [
            name if name.isprintable() and "�" not in name and uses[name] == 1 else ""
            for name in names
        ]
        numbered = (name or f"#{token}" for name, token in zip(good, tokens, strict=True))
        return (*SPECIAL, *numbered)

    def _name(self, token: str, first: bool) -> str:
        if not self.spaced:
            return "".join(token.split())
        spaced = token.startswith(_SPACED)
        text = self.tokenizer.convert_tokens_to_string([token])
        bare = "".join(SPACE if c.isspace() else c for c in text.removeprefix(" ")) or SPACE
        if first:
            return SPACE + bare if spaced else bare
        if any(c.isalnum() for c in bare):
            return bare if spaced else PIECE + bare
        return SPACE + bare if spaced else bare  # punctuation follows without a space


@dataclass(frozen=True)
class HubConfig:
    """What our programs ask of a captioner's config."""

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
        """The cache for these rows of the batch, in this order; a row may come twice."""
        past, crossed = (
            [(keys[rows], values[rows]) for keys, values in pairs]
            for pairs in (self.past, self.crossed)
        )
        return HubCache(self.memory[rows], past, crossed, self.words)


class HubCaptioner(nn.Module):
    """A transformers captioner with the interface of `model.captioning.transformer.Captioner`.

    Words are by our numbers (see Numbering). Logits are the model's own, in our order; a number
    that is never an answer has -inf, so that log_softmax is theirs.
    """

    def __init__(
        self, model: nn.Module, numbering: Numbering, words: Sequence[str], tokens: TokenLayout
    ) -> None:
        super().__init__()
        blip = hasattr(model, "text_decoder")
        self.encoder = model.vision_model if blip else model.encoder
        self.bridge = getattr(model, "enc_to_dec_proj", None) or nn.Identity()
        self.decoder = model.text_decoder if blip else model.decoder
        self.tokens = tokens
        places = getattr(self.decoder.config, "max_position_embeddings", None) or MOST_WORDS + 1
        self.config = HubConfig(tuple(words), min(MOST_WORDS, places - 1))
        self.register_buffer("theirs", torch.tensor(numbering.tokens), persistent=False)
        self.register_buffer("silent", ~torch.tensor(numbering.answers), persistent=False)

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Images (B, C, H, W), words (B, N) from START on -> logits of the next (B, N, V)."""
        return self.teacher_force(self.encode_image(images), words)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> memory (B, M, D), the encoder's class token first if it has one"""
        return self.bridge(self.encoder(pixel_values=images).last_hidden_state)

    def teacher_force(self, memory: Tensor, words: Tensor) -> Tensor:
        """Logits (B, N, V) of the word after each of `words` (B, N), all at once."""
        return self.advance(words, self.begin(memory))[0]

    def begin(self, memory: Tensor, record: bool = False) -> HubCache:
        """The cache before the first word. Nothing is recorded: their layers keep no queries."""
        return HubCache(memory, [], [])

    def advance(self, words: Tensor, cache: HubCache) -> tuple[Tensor, HubCache]:
        """Logits (B, N, V) after each of `words` (B, N), and the cache with these words.

        Raises ValueError for more words than it takes.
        """
        from transformers import EncoderDecoderCache

        end = cache.words + words.shape[1]
        if end > self.config.max_words + 1:
            raise ValueError(f"This captioner takes {self.config.max_words} words, not {end - 1}.")
        kept = EncoderDecoderCache(_kept(cache.past), _kept(cache.crossed))
        logits = self.decoder(
            input_ids=self.theirs[words],
            encoder_hidden_states=cache.memory,
            past_key_values=kept,
            use_cache=True,
        ).logits
        logits = logits[..., self.theirs].masked_fill(self.silent, -torch.inf)
        past, crossed = (
            [(layer.keys, layer.values) for layer in part.layers]
            for part in (kept.self_attention_cache, kept.cross_attention_cache)
        )
        return logits, HubCache(cache.memory, past, crossed, end)

    def read(self, memory: Tensor, words: Tensor) -> DecoderOutput:
        """Teacher forcing, with the attention of every layer."""
        return decoder_output(self, memory, words)


def _kept(pairs: Sequence[KeysValues]) -> Any:
    """Their cache around keys and values, which are neither copied nor changed."""
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
    """A captioner of the hub under its name; its words are tokens (see the module)."""

    wording: Wording | None = None

    def _split(self, text: str) -> list[str]:
        return text.split()  # upper case and punctuation are the tokenizer's to judge

    def _spell(self, words: Sequence[str]) -> tuple[list[str], list[int]]:
        return self.wording.read([part for word in words for part in word.split()])

    def _word(self, number: int, position: int) -> str:
        return self.wording.write(number, position)

    def _recall(self, memory: Tensor, beam: Beam) -> DecoderOutput:
        """The finished caption is read once more, in one pass."""
        return self._read(memory, beam.words)

    def _tell(
        self, reading: DecoderOutput, words: list[str], ids: Sequence[int], notes: list[str]
    ) -> Caption:
        if any(word.startswith(PIECE) for word in words):
            notes = [*notes, PIECES_NOTE]
        return super()._tell(reading, words, ids, notes)


def numbering_of(model: nn.Module, tokenizer: Any) -> Numbering:
    """The numbering of a model's tokens. Raises ValueError where no token begins or ends."""
    if hasattr(model, "text_decoder"):  # BLIP begins with its own token and ends with BERT's
        config = model.config.text_config
        start, end, pad = config.bos_token_id, config.sep_token_id, config.pad_token_id
        size = config.vocab_size
    else:
        config, said = model.config.decoder, model.generation_config
        start = _first(said.decoder_start_token_id, said.bos_token_id, config.bos_token_id)
        end = _first(said.eos_token_id, config.eos_token_id)
        pad, size = said.pad_token_id, config.vocab_size
    if start is None or end is None:
        raise ValueError("It does not say with which token a caption begins and ends.")
    return Numbering.of(size, end, start, tokenizer.unk_token_id, pad)


def _first(*tokens: int | list[int] | None) -> int | None:
    """The first token that is said."""
    said = (token[0] if isinstance(token, list) and token else token for token in tokens)
    return next((token for token in said if isinstance(token, int)), None)
