"""The words of a Hugging Face captioner: its tokens under our numbers, and written as words.

**What counts as a word.** These models write tokens. Most are whole words; a rare word takes
several. A step of a caption is a token, because that is what was chosen: it has a probability,
alternatives and maps of its own, and their mean over a word would be none of the model's. A
reader expects words, so a token is written as the word that it is; one that goes on with the word
before it begins with "##", as in "skate ##board". No two tokens are written alike, so a caption
that is read back is the one that was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN

PIECE = "##"
SPACE = "␣"
_SPACED = ("Ġ", "▁")  # how byte-level BPE and SentencePiece mark that a space came before


@dataclass(frozen=True)
class VocabularyMap:
    """Our number of each of a model's tokens: PAD, START, END and UNKNOWN, then all others.

    A model may use one token for several of the four; GPT-2 has a single one for all. As an
    output of the model it then counts as END, as in the model's own generation.
    """

    tokens: tuple[int, ...]  # the model's, by our number
    answers: tuple[bool, ...]  # whether this number is ever an output

    @classmethod
    def from_special_tokens(
        cls, size: int, end: int, start: int, unknown: int | None = None, pad: int | None = None
    ) -> VocabularyMap:
        """Number a vocabulary of `size` tokens, given its special tokens."""
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
        """The model's token -> our number."""
        pairs = zip(self.tokens, self.answers, strict=True)
        return {token: number for number, (token, answer) in enumerate(pairs) if answer}

    @property
    def has_unknown(self) -> bool:
        """Whether there is a token for what the tokenizer cannot write."""
        return self.answers[UNKNOWN]


def map_vocabulary(model: Any, tokenizer: Any) -> VocabularyMap:
    """Number the tokens of a transformers captioner.

    Raises ValueError where no token begins or ends a caption.
    """
    if hasattr(model, "text_decoder"):  # BLIP begins with its own token and ends with BERT's
        config = model.config.text_config
        start, end, pad = config.bos_token_id, config.sep_token_id, config.pad_token_id
    else:
        config, generation = model.config.decoder, model.generation_config
        start = _first_token(
            generation.decoder_start_token_id, generation.bos_token_id, config.bos_token_id
        )
        end = _first_token(generation.eos_token_id, config.eos_token_id)
        pad = generation.pad_token_id
    if start is None or end is None:
        raise ValueError("It does not say with which token a caption begins and ends.")
    return VocabularyMap.from_special_tokens(
        config.vocab_size, end, start, tokenizer.unk_token_id, pad
    )


def _first_token(*tokens: int | list[int] | None) -> int | None:
    """Return the first of these settings that names a token."""
    single = (token[0] if isinstance(token, list) and token else token for token in tokens)
    return next((token for token in single if isinstance(token, int)), None)


class WordTokenizer:
    """Tokens as words, and words that somebody wrote as tokens, by our numbers.

    `names` has a word for each number. `first` has the words at the beginning of a caption, where
    a byte-level vocabulary writes words without the space before them.
    """

    def __init__(self, tokenizer: Any, vocabulary: VocabularyMap) -> None:
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        tokens = vocabulary.tokens[len(SPECIAL) :]
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

    def decode(self, number: int, position: int) -> str:
        """Return the word of this number; the first position of a caption is 0."""
        return (self.names if position else self.first)[number]

    def encode(self, words: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return words, each given without spaces, as they are written here, and their numbers.

        A word that is no token is cut into tokens; where some part is none either, the word is
        UNKNOWN, or left out for a model that has no such token.
        """
        written: list[str] = []
        numbers: list[int] = []
        for word in words:
            known = self._number if numbers else self._first_number
            found = [known[word]] if word in known else self._cut(word, not numbers)
            for number in found:
                written.append(
                    word if number == UNKNOWN else self.decode(number, position=len(numbers))
                )
                numbers.append(number)
        return written, numbers

    def _cut(self, word: str, first: bool) -> list[int]:
        text = f" {word}" if self.spaced and not first else word
        tokens = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        numbers = [self.vocabulary.numbers.get(token, UNKNOWN) for token in tokens]
        if numbers and min(numbers) >= len(SPECIAL):
            return numbers
        return [UNKNOWN] if self.vocabulary.has_unknown else []

    def _unique(
        self, tokens: Sequence[int], raw: Sequence[str | None], first: bool
    ) -> tuple[str, ...]:
        """Name each token; by its number where it has no name, or one that another has too."""
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
