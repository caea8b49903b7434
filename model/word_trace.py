"""One word of a caption as what is to be explained.

word = bundle.word(caption.words, 3)
trace = trace_word(bundle.net, bundle.prepare(image), bundle.patch_layout, word)

With the words before it fixed, a captioner is a classifier whose classes are the words that it
can write next (`NextWord`). So a word has a score, curves and gradients just as a class has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.captioner import START
from model.patches import TokenLayout
from model.recorder import AttentionRecord, AttentionRecorder
from model.trace import Trace, class_score, finish, twin


@dataclass(frozen=True)
class Word:
    """A word and those before it, as numbers in the captioner's vocabulary, without <start>."""

    before: tuple[int, ...]
    number: int


class NextWord(nn.Module):
    """Images (B, C, H, W) -> logits (B, V) of the word that a captioner writes after `before`."""

    def __init__(self, captioner: nn.Module, before: Sequence[int]) -> None:
        super().__init__()
        self.captioner = captioner
        device = next(captioner.parameters()).device
        self.register_buffer("words", torch.tensor([START, *before], device=device))
        self.train(captioner.training)

    def forward(self, images: Tensor) -> Tensor:
        return self.decide(self.captioner.remember(images))

    def decide(self, memory: Tensor) -> Tensor:
        """Memory (B, M, D) -> logits (B, V)"""
        return self.captioner.teach(memory, self.words.expand(len(memory), -1))[:, -1]


@dataclass(eq=False)
class WordTrace(Trace):
    """What a captioner did until it chose a word.

    The records are the encoder's, then the decoder's over the words so far; the last row of
    each of the decoder's maps is that of the place where the word is chosen. `tokens` is the
    memory (B, M, D), the image as the decoder is given it.
    """

    @property
    def decoder(self) -> int:
        """How many layers the encoder has; the decoder's records begin there."""
        return decoder_start(self.records)

    @property
    def crossings(self) -> list[int]:
        """Which records are cross-attention, from the words to the memory."""
        return crossings(self.records)

    @property
    def readout(self) -> Tensor:
        """The place where the word is chosen: float32 (B, words so far)."""
        words = len(self.net.words)
        row = torch.zeros(len(self.images), words, device=self.images.device)
        row[:, -1] = 1.0
        return row


def trace_word(net: nn.Module, images: Tensor, layout: TokenLayout, word: Word) -> WordTrace:
    """Run a captioner on images (B, C, H, W) up to a word, and back from that word's logit.

    `net` has `remember` and `teach`, as `model.captioner.Captioner`; `layout` is that of the
    image's patches. Images do not mix. Raises NothingRecorded where the net does not attend.
    """
    writer, score = NextWord(net, word.before), class_score(word.number)
    double = twin(writer)
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad(), AttentionRecorder(double) as recorder:
        memory = double.captioner.remember(images)
        output = double.decide(memory)
    return finish(WordTrace, writer, images, layout, score, output, recorder.records, memory)


def crossings(records: Sequence[AttentionRecord]) -> list[int]:
    """The places of the records of cross-attention."""
    return [place for place, record in enumerate(records) if record.kind == "cross"]


def decoder_start(records: Sequence[AttentionRecord]) -> int:
    """The place of the decoder's first record, after all of the encoder's.

    A decoder begins with the self-attention of its words, just before its first cross-attention;
    where none of its attention was recorded, all records are the encoder's.
    """
    found = crossings(records)
    if not found:
        return len(records)
    before, words = found[0] - 1, records[found[0]].shape[2]
    return before if before >= 0 and records[before].shape[2] == words else found[0]
