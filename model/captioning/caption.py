"""A caption with everything behind it, and the bundle that writes and scores captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.bundle import Bundle
from model.captioning import decoding
from model.captioning.base import CaptioningModel, DecoderOutput
from model.captioning.words import Word
from model.datasets import scenes
from model.datasets.vocabulary import SPECIAL, START, UNKNOWN
from model.tokens import TokenLayout

ALTERNATIVES = 5  # words that are listed for each step
FRAME = 720  # pixels of the longer side of the photo that a caption keeps
LONGEST_INPUT = 2000  # characters of a typed caption that are read at all


@dataclass
class Caption:
    """A caption and how it came about. Everything is aligned with `words`.

    Attributes:
        words: The words, without `<start>` and `<end>`.
        text: The words in one line.
        logprobs: (words,), natural logarithms of the probability of each word, given those before.
        alternatives: The likeliest words for each place, with their probabilities.
        cross: Cross-attention, per decoder layer (heads, words, memory tokens); rows sum to one.
        self_: Self-attention likewise, (heads, words, 1 + words), `<start>` first; rows sum to one.
        beams: Text and log-probability of each caption that a search found, the best first.
        unknown: Indices of words that the captioner does not know.
        note: What was cut or replaced, in sentences.
        frame: What the captioner saw of the photo, no side above `FRAME` pixels; None where the
            caption was made otherwise.
        layout: The memory's tokens, to which the words attend; None likewise.
    """

    words: list[str]
    text: str
    logprobs: np.ndarray
    alternatives: list[list[tuple[str, float]]]
    cross: list[np.ndarray]
    self_: list[np.ndarray]
    beams: list[tuple[str, float]] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    note: str = ""
    frame: Image.Image | None = None
    layout: TokenLayout | None = None

    def attention(self, layer: int = -1, head: int | None = None) -> np.ndarray:
        """Return the cross-attention of one layer.

        Args:
            layer: The decoder's layer; negative ones count from the last.
            head: One head, or None for the mean of all heads.

        Returns:
            (words, memory tokens): row i is the attention that chose word i.

        Raises:
            IndexError: There is no such layer or head.
        """
        heads = self.cross[layer]
        return heads.mean(0) if head is None else heads[head]


@dataclass
class CaptionBundle(Bundle[CaptioningModel[Any]]):
    """A captioner under its name; `tokens` is the layout of the memory that its words attend to.

    Example:
        >>> from model import zoo
        >>> from model.datasets import scenes
        >>> bundle = zoo.load("scenes-captioner")
        >>> caption = bundle.caption(scenes.draw_scene(scenes.UNSEEN).image)
        >>> caption.text
        'a large purple triangle left of a large blue star ...'
        >>> caption.attention(layer=-1).shape  # words, patches
        (22, 144)
        >>> caption.alternatives[2][0][0]
        'purple'
    """

    @property
    def memory_of_one(self) -> bool:
        """Whether the whole image is one vector, so that cross-attention is 1 everywhere."""
        return self.net.config.memory == "one"

    @property
    def sees_the_photo(self) -> bool:
        """Whether the words depend on the photo that is shown."""
        return True

    @property
    def patch_layout(self) -> TokenLayout:
        """The image's patches, also where the words cannot tell them apart."""
        return self.net.patch_layout

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that the captioner can write."""
        return self.net.config.vocabulary[len(SPECIAL) :]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i + len(SPECIAL) for i, word in enumerate(self.vocabulary)}

    @property
    def knows_only_scenes(self) -> bool:
        """Whether the captioner can only describe drawn scenes."""
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
        """Write a caption for a photo.

        Args:
            image: A photo of any size and mode.
            beams: How many captions are followed at once; the one with the best log-probability
                for its length wins (`decoding.length_normalised`). With one, each word is the
                likeliest (greedy decoding).
            temperature: Above 0, words are sampled instead, with one beam only.
            max_words: Where to stop a caption that does not end.
            start: Words that the caption begins with.
            seed: The same seed samples the same words.

        Returns:
            The caption with its attention. A beam's log-probability counts all its words, those
            given too, and the end where it ended.

        Raises:
            ValueError: `beams` or `max_words` is below 1, or the temperature below 0.
        """
        if beams < 1 or max_words < 1 or temperature < 0:
            raise ValueError(
                "beams and max_words are 1 or more, and the temperature is not below 0."
            )
        longest, notes = self.net.config.max_words, []
        given, ids = self._encode(start)
        if len(ids) > longest:
            notes.append(f"Only the first {longest} of the words given were used.")
        given, ids = given[:longest], ids[:longest]
        max_words = min(max(max_words, len(ids)), longest)
        memory = self._memory(image)
        if temperature > 0 and beams > 1:
            notes.append("Beams follow the likeliest words, so the temperature was not used.")
        if temperature > 0 and beams == 1:
            numbers = None if seed is None else torch.Generator().manual_seed(seed)
            found = [decoding.sample(self.net, memory, temperature, max_words, ids, numbers, True)]
        else:
            found = decoding.beam_search(self.net, memory, beams, max_words, ids, record=True)
        best = found[0]
        if not best.finished:
            notes.append(f"It did not come to an end within {max_words} words.")
        output = self._output_while_decoding(memory, best)
        caption = self._caption(output, self._decode(best.words, given), best.words, notes)
        caption.beams = [(" ".join(self._decode(b.words, given)), b.logprob) for b in found]
        return self._with_photo(caption, image)

    def word(self, words: Sequence[str], index: int) -> Word:
        """Return one word of a caption as `attribution.word_trace` takes it.

        Args:
            words: The words of the caption.
            index: Which of them.
        """
        *before, number = self._encode(words[: index + 1])[1]
        return Word(tuple(before), number)

    def score(self, image: Image.Image, text: str) -> Caption:
        """Score a caption that somebody typed, word by word (teacher forcing).

        Args:
            image: A photo of any size and mode.
            text: Any text. Words that the captioner does not know count as `<unknown>`; a text that
                is too long is cut, with a note.

        Returns:
            The caption, with the probability of each word and its attention.
        """
        words, ids = self._encode(self._split(text[:LONGEST_INPUT]))
        longest, notes = self.net.config.max_words, []
        if len(words) > longest or len(text) > LONGEST_INPUT:
            notes.append(f"The caption was cut: this captioner reads {longest} words.")
        words, ids = words[:longest], ids[:longest]
        if not words:
            notes.append("There are no words in this caption.")
        output = self._teacher_forced(self._memory(image), ids)
        return self._with_photo(self._caption(output, words, ids, notes), image)

    @torch.inference_mode()
    def _memory(self, image: Image.Image) -> Tensor:
        return self.net.encode_image(self.prepare(image))

    @torch.inference_mode()
    def _teacher_forced(self, memory: Tensor, ids: Sequence[int]) -> DecoderOutput:
        return self.net.decoder_output(memory, _with_start(ids))

    @torch.inference_mode()
    def _output_while_decoding(self, memory: Tensor, beam: decoding.Beam[Any]) -> DecoderOutput:
        words = _with_start(beam.words)
        return self.net.output_while_decoding(memory, words, beam.own_state())

    def _caption(
        self, output: DecoderOutput, words: list[str], ids: Sequence[int], notes: list[str]
    ) -> Caption:
        """Gather everything about a finished caption."""
        count = len(ids)
        logprobs = output.logits[0, :count].log_softmax(-1)
        unknown = [i for i, n in enumerate(ids) if n == UNKNOWN and words[i] != SPECIAL[UNKNOWN]]
        if unknown:
            listed = ", ".join(f"“{words[i]}”" for i in unknown[:5])
            notes = [*notes, f"Words that it does not know count as {SPECIAL[UNKNOWN]}: {listed}."]
        return Caption(
            words=list(words),
            text=" ".join(words),
            logprobs=logprobs[range(count), list(ids)].numpy(),
            alternatives=self._likeliest(logprobs),
            cross=[maps[0, :, :count].numpy() for maps in output.cross],
            self_=[maps[0, :, :count].numpy() for maps in output.self_],
            unknown=unknown,
            note=" ".join(notes),
        )

    def _with_photo(self, caption: Caption, image: Image.Image) -> Caption:
        """Let a caption keep what its words look at."""
        caption.frame = self.frame(image).convert("RGB")
        caption.frame.thumbnail((FRAME, FRAME), Image.Resampling.LANCZOS)
        caption.layout = self.tokens
        return caption

    def _likeliest(self, logprobs: Tensor) -> list[list[tuple[str, float]]]:
        """List the likeliest words of each row, with their probabilities."""
        best = logprobs.topk(min(ALTERNATIVES, logprobs.shape[1]))
        rows = zip(best.values.exp().tolist(), best.indices.tolist(), strict=True)
        return [
            [(self._word(i, place), p) for p, i in zip(*row, strict=True)]
            for place, row in enumerate(rows)
        ]

    def _decode(self, ids: Sequence[int], given: Sequence[str]) -> list[str]:
        """Return the words of a caption; given words stay as they were written."""
        places = range(len(given), len(ids))
        return [*given, *(self._word(ids[place], place) for place in places)]

    # How this captioner's words are written: captioners of a hub do it in another way.

    def _split(self, text: str) -> list[str]:
        """Split a typed caption into words.

        A word that the captioner does not know is taken apart where it knows all the parts, as
        with "man/woman", or "dog's" where it learnt from captions that write "dog 's".
        """
        words: list[str] = []
        for word in split_words(text):
            parts = [word] if word in self._numbers else re.findall(r"\w+", word)
            words += parts if parts and all(p in self._numbers for p in parts) else [word]
        return words

    def _encode(self, words: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return words as they are shown, and their numbers; there may be more than were given."""
        return list(words), [self._numbers.get(word.lower(), UNKNOWN) for word in words]

    def _word(self, number: int, position: int) -> str:
        """Return the word of this number at this position, from 0."""
        return self.net.config.vocabulary[number]


def _with_start(ids: Sequence[int]) -> Tensor:
    """Words of one caption -> (1, 1 + words), `<start>` first"""
    return torch.tensor([[START, *ids]])


def split_words(text: str) -> list[str]:
    """Split a typed caption into words: lower case, without the punctuation around them."""
    stripped = (word.strip(".,;:!?\"'()[]…“”‘’-–—/") for word in text.lower().split())
    return [word for word in stripped if word]
