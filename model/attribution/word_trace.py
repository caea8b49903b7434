"""Trace one word of a caption, as `model.attribution.trace` traces a class.

    word = bundle.word(caption.words, 3)
    trace = trace_word(bundle.net, bundle.prepare(image), bundle.patch_layout, word)

With the words before it fixed, a captioner is a classifier whose classes are the words that it
can write next (`NextWord`). So a word has a score, curves and gradients just as a class has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.attribution.trace import Trace, class_score, trace_backward
from model.captioning.base import CaptioningModel
from model.captioning.words import (
    NextWord,
    Word,
    cross_attention_layers,
    decoder_start,
    records_of_layers,
)
from model.nets.shared_weights import copy_sharing_weights
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout


@dataclass(eq=False)
class WordTrace(Trace):
    """The attention of a captioner up to one word, and the gradients of that word's logit.

    The records are the encoder's, then the decoder's over the words so far. The word is chosen
    at the last position, so the last row of each of the decoder's maps belongs to it. `tokens`
    is the memory (B, M, D), the image as the decoder receives it.
    """

    net: NextWord

    @property
    def encoder_depth(self) -> int:
        """The number of encoder layers with recorded attention; the decoder's records follow."""
        return decoder_start(self.records)

    @property
    def cross_layers(self) -> list[int]:
        """The places of the records of cross-attention, from the words to the memory."""
        return cross_attention_layers(self.records)

    @property
    def readout_weights(self) -> Tensor:
        """One at the position where the word is chosen, else zero: float32 (B, words so far)."""
        words = len(self.net.words)
        row = torch.zeros(len(self.images), words, device=self.images.device)
        row[:, -1] = 1.0
        return row


def trace_word(
    net: CaptioningModel[Any], images: Tensor, layout: TokenLayout, word: Word
) -> WordTrace:
    """Run a captioner on images up to a word, and backward from the logit of that word.

    Images of a batch do not mix: each gets the trace that it would get alone.

    Args:
        net: a captioner with `encode_image` and `teacher_force`; it is left as it is.
        images: (B, C, H, W), prepared for the net.
        layout: the image's patches, for example `CaptionBundle.patch_layout`.
        word: the word to explain, with the words before it, see `CaptionBundle.word`.

    Raises:
        NothingRecorded: the net has no attention.

    >>> from model.captioning.build import build_captioner
    >>> encoder = {"img_size": 32, "patch_size": 8, "dim": 12, "depth": 1, "heads": 3}
    >>> encoder |= {"num_classes": 0, "pool": "mean"}
    >>> vocabulary = ("<pad>", "<start>", "<end>", "<unknown>", "a", "red", "circle")
    >>> config = {"encoder": encoder, "vocabulary": vocabulary, "dim": 12, "layers": 1}
    >>> net = build_captioner(config | {"heads": 3, "mlp_dim": 24}).eval()
    >>> circle = Word(before=(4, 5), number=6)  # "circle" after "a red"
    >>> trace = trace_word(net, torch.rand(1, 3, 32, 32), net.tokens, circle)
    >>> trace.weights(trace.cross_layers[-1], queries=-1).shape  # heads, then patches
    torch.Size([1, 3, 1, 16])
    """
    writer, score = NextWord(net, word.before), class_score(word.number)
    hooked = copy_sharing_weights(writer)
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad(), AttentionRecorder(hooked) as recorder:
        memory = hooked.captioner.encode_image(images)
        output = hooked.decode(memory)
    records = records_of_layers(recorder.records)
    return trace_backward(WordTrace, writer, images, layout, score, output, records, memory)
