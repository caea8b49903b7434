"""One word of a caption as what is to be explained.

word = bundle.word(caption.words, 3)
trace = trace_word(bundle.net, bundle.prepare(image), bundle.patch_layout, word)

With the words before it fixed, a captioner is a classifier whose classes are the words that it
can write next (`NextWord`). So a word has a score, curves and gradients just as a class has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.attribution.trace import Trace, class_score, finish, twin
from model.captioning.words import NextWord, Word, crossings, decoder_start
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout


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
    def readout_weights(self) -> Tensor:
        """The place where the word is chosen: float32 (B, words so far)."""
        words = len(self.net.words)
        row = torch.zeros(len(self.images), words, device=self.images.device)
        row[:, -1] = 1.0
        return row


def trace_word(net: nn.Module, images: Tensor, layout: TokenLayout, word: Word) -> WordTrace:
    """Run a captioner on images (B, C, H, W) up to a word, and back from that word's logit.

    `net` has `encode_image` and `teacher_force`, as `model.captioning.transformer.Captioner`;
    `layout` is that of the image's patches. Images do not mix. Raises NothingRecorded where the net
    does not attend.
    """
    writer, score = NextWord(net, word.before), class_score(word.number)
    double = twin(writer)
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad(), AttentionRecorder(double) as recorder:
        memory = double.captioner.encode_image(images)
        output = double.decide(memory)
    return finish(WordTrace, writer, images, layout, score, output, recorder.records, memory)
