"""What a captioner says of a picture, word by word, and the bundle that asks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.bundle import Bundle
from model.captioning import decoding
from model.captioning.base import DecoderOutput
from model.captioning.words import Word
from model.datasets import scenes
from model.datasets.vocabulary import SPECIAL, START, UNKNOWN
from model.tokens import TokenLayout

ALTERNATIVES = 5  # words that are told for each step
LONGEST_INPUT = 2000  # characters of a typed caption that are read at all


@dataclass
class Caption:
    """A caption and how it came about. Everything is aligned with `words`."""

    words: list[str]  # without <start> and <end>
    text: str
    logprobs: np.ndarray  # (words,), natural logarithms, each given the words before
    alternatives: list[list[tuple[str, float]]]  # the likeliest words there, with probabilities
    cross: list[np.ndarray]  # per decoder layer: (heads, words, memory tokens); rows sum to one
    self_: list[np.ndarray]  # per layer: (heads, words, 1 + words), <start> first; rows sum to one
    beams: list[tuple[str, float]] = field(default_factory=list)  # text, log-probability
    unknown: list[int] = field(default_factory=list)  # indices of words that it does not know
    note: str = ""  # what was cut or replaced

    def attention(self, layer: int = -1, head: int | None = None) -> np.ndarray:
        """(words, memory tokens): row i is the cross-attention that chose word i.

        `head` None is the mean of the heads. Raises IndexError for a layer or head beyond.
        """
        heads = self.cross[layer]
        return heads.mean(0) if head is None else heads[head]


@dataclass
class CaptionBundle(Bundle):
    """A captioner under its name. `tokens` is the layout of what its words look at."""

    @property
    def memory_of_one(self) -> bool:
        """Whether all of the picture is one vector, so that cross-attention is 1 everywhere."""
        return self.net.config.memory == "one"

    @property
    def patch_layout(self) -> TokenLayout:
        """The image's patches, also where the words cannot tell them apart."""
        if not self.memory_of_one:
            return self.tokens
        return replace(self.net.config.encoder.tokens, prefix=())

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that it can write."""
        return self.net.config.vocabulary[len(SPECIAL) :]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i + len(SPECIAL) for i, word in enumerate(self.vocabulary)}

    @property
    def knows_scenes_alone(self) -> bool:
        """Whether all that it can write is captions of drawn scenes."""
        return set(self.vocabulary) == set(scenes.vocabulary())

    def caption(
        self,
        image: Image.Image,
        beams: int = 1,
        temperature: float = 0.0,
        max_words: int = 24,
        start: Sequence[str] = (),
        seed: int | None = None,
    ) -> Caption:
        """What it writes about a photo.

        `start`: words that are given, the rest is continued. `beams`: so many captions are
        followed at once, and the likeliest for its length is told (`decoding.score`); with one,
        each word is the likeliest.
        `temperature` above 0 draws words by chance instead, with one beam only; the same `seed`
        draws the same words. A beam's log-probability counts all its words, those given too, and
        the end where it ended.
        Raises ValueError where beams or max_words are below 1, or the temperature is below 0.
        """
        if beams < 1 or max_words < 1 or temperature < 0:
            raise ValueError(
                "beams and max_words are 1 or more, and the temperature is not below 0."
            )
        longest = self.net.config.max_words
        (given, ids), notes = self._spell(start), []
        if len(ids) > longest:
            notes.append(f"Only the first {longest} of the words given were used.")
        given, ids = given[:longest], ids[:longest]
        max_words = min(max(max_words, len(ids)), longest)
        memory = self._memory(image)
        if temperature > 0 and beams > 1:
            notes.append("Beams follow the likeliest words, so the temperature was not used.")
        if temperature > 0 and beams == 1:
            chance = None if seed is None else torch.Generator().manual_seed(seed)
            found = [decoding.sample(self.net, memory, temperature, max_words, ids, chance, True)]
        else:
            found = decoding.beam_search(self.net, memory, beams, max_words, ids, record=True)
        best = found[0]
        if not best.finished:
            notes.append(f"It did not come to an end within {max_words} words.")
        reading = self._recall(memory, best)
        caption = self._tell(reading, self._words(best.words, given), best.words, notes)
        caption.beams = [(" ".join(self._words(b.words, given)), b.logprob) for b in found]
        return caption

    def word(self, words: Sequence[str], index: int) -> Word:
        """One word of a caption and the words before it, as `attribution.word_trace` takes it."""
        *before, number = self._spell(words[: index + 1])[1]
        return Word(tuple(before), number)

    def score(self, image: Image.Image, text: str) -> Caption:
        """What it thinks of a caption that somebody typed, word by word (teacher forcing).

        Words that it does not know count as <unknown>; a text that is too long is cut, with a
        note. Raises nothing for any text.
        """
        (words, ids), notes = self._spell(self._split(text[:LONGEST_INPUT])), []
        longest = self.net.config.max_words
        if len(words) > longest or len(text) > LONGEST_INPUT:
            notes.append(f"The caption was cut: this captioner reads {longest} words.")
        words, ids = words[:longest], ids[:longest]
        if not words:
            notes.append("There are no words in this caption.")
        return self._tell(self._read(self._memory(image), ids), words, ids, notes)

    @torch.inference_mode()
    def _memory(self, image: Image.Image) -> Tensor:
        return self.net.encode_image(self.prepare(image))

    @torch.inference_mode()
    def _read(self, memory: Tensor, ids: Sequence[int]) -> DecoderOutput:
        return self.net.read(memory, torch.tensor([[START, *ids]]))

    @torch.inference_mode()
    def _recall(self, memory: Tensor, beam: decoding.Beam) -> DecoderOutput:
        """What it answered while it wrote this beam."""
        return self.net.attention_of(beam.kept())

    def _tell(
        self, reading: DecoderOutput, words: list[str], ids: Sequence[int], notes: list[str]
    ) -> Caption:
        """Everything that is told of a finished caption."""
        count = len(ids)
        logprobs = reading.logits[0, :count].log_softmax(-1)
        unknown = [i for i, number in enumerate(ids) if number == UNKNOWN]
        if unknown:
            told = ", ".join(f"“{words[i]}”" for i in unknown[:5])
            notes = [*notes, f"Words that it does not know count as {SPECIAL[UNKNOWN]}: {told}."]
        return Caption(
            words=list(words),
            text=" ".join(words),
            logprobs=logprobs[range(count), list(ids)].numpy(),
            alternatives=self._likeliest(logprobs),
            cross=[maps[0, :, :count].numpy() for maps in reading.cross],
            self_=[maps[0, :, :count].numpy() for maps in reading.self_],
            unknown=unknown,
            note=" ".join(notes),
        )

    def _likeliest(self, logprobs: Tensor) -> list[list[tuple[str, float]]]:
        """The likeliest words of each row, with their probabilities."""
        best = logprobs.topk(min(ALTERNATIVES, logprobs.shape[1]))
        rows = zip(best.values.exp().tolist(), best.indices.tolist(), strict=True)
        return [
            [(self._word(i, place), p) for p, i in zip(*row, strict=True)]
            for place, row in enumerate(rows)
        ]

    def _words(self, ids: Sequence[int], given: Sequence[str]) -> list[str]:
        """The words of a caption; those that were given stay as they were written."""
        places = range(len(given), len(ids))
        return [*given, *(self._word(ids[place], place) for place in places)]

    # How this captioner's words are written: others' captioners have another way.

    def _split(self, text: str) -> list[str]:
        """The words of a typed caption.

        One that the captioner does not know is taken apart where it knows all the parts, as with
        "man/woman", or "dog's" where the captions that it learnt from have "dog 's".
        """
        words = []
        for word in typed_words(text):
            parts = [word] if word in self._numbers else re.findall(r"\w+", word)
            words += parts if parts and all(p in self._numbers for p in parts) else [word]
        return words

    def _spell(self, words: Sequence[str]) -> tuple[list[str], list[int]]:
        """Words as they will be shown, and their numbers; as many as there are words, or more."""
        return list(words), [self._numbers.get(word.lower(), UNKNOWN) for word in words]

    def _word(self, number: int, position: int) -> str:
        """The word of this number at this position, from 0."""
        return self.net.config.vocabulary[number]


def typed_words(text: str) -> list[str]:
    """The words of a typed caption: lower case, without the punctuation around them."""
    stripped = (word.strip(".,;:!?\"'()[]…“”‘’-–—/") for word in text.lower().split())
    return [word for word in stripped if word]
