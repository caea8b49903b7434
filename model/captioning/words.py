"""One word of a caption as a class: the words before it are given, and the next one has logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.captioning.base import CaptioningModel
from model.datasets.vocabulary import START
from model.recording.recorder import AttentionRecord


@dataclass(frozen=True)
class Word:
    """A word and the words before it, as the captioner's numbers, without `<start>`."""

    before: tuple[int, ...]
    number: int


class NextWord(nn.Module):
    """Images (B, C, H, W) -> logits (B, V) of the word that a captioner writes after `before`."""

    words: Tensor  # <start> and the words before

    def __init__(self, captioner: CaptioningModel[Any], before: Sequence[int]) -> None:
        super().__init__()
        self.captioner = captioner
        device = next(captioner.parameters()).device
        self.register_buffer("words", torch.tensor([START, *before], device=device))
        self.train(captioner.training)

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.captioner.encode_image(images))

    def decode(self, memory: Tensor) -> Tensor:
        """Memory (B, M, D) -> logits (B, V)"""
        return self.captioner.teacher_force(memory, self.words.expand(len(memory), -1))[:, -1]


def records_of_layers(records: Sequence[AttentionRecord]) -> list[AttentionRecord]:
    """Leave out the maps of a recurrent decoder (Bahdanau et al. 2015): they are no layers.

    It attends anew for each word, from its state, by additive attention: without heads, queries
    and keys.
    """
    return [r for r in records if r.kind == "self" or r.origin.heads or r.shape[2] > 1]


def cross_attention_layers(records: Sequence[AttentionRecord]) -> list[int]:
    """List which records are cross-attention."""
    return [place for place, record in enumerate(records) if record.kind == "cross"]


def decoder_start(records: Sequence[AttentionRecord]) -> int:
    """Find the decoder's first record; all records before it are the encoder's.

    A decoder begins with the self-attention of its words, just before its first cross-attention.
    Without any cross-attention all records are the encoder's, so the answer is their number.
    """
    found = cross_attention_layers(records)
    if not found:
        return len(records)
    before, words = found[0] - 1, records[found[0]].shape[2]
    return before if before >= 0 and records[before].shape[2] == words else found[0]
