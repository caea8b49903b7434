"""Measure a captioner on a few test pictures, as training does after an epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.captioning import decoding
from model.captioning.base import CaptioningNet
from model.datasets import captions
from model.datasets.captions import CaptionData
from model.datasets.vocabulary import PAD
from model.preprocessing import ChannelStatistics, prepare_batch

TEST_SCENES = 1000
GLANCE = 200  # test pictures that are captioned after an epoch


@torch.inference_mode()
def glance(
    net: CaptioningNet[Any],
    data: CaptionData,
    channels: ChannelStatistics,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Measure how well a captioner describes the first `GLANCE` pictures.

    `test_loss` and `test_accuracy` are about words, given the true words before them;
    `test_exact` is the share of captions that greedy decoding writes word for word.
    """
    net.eval()
    images, texts = data.batch(0, range(min(GLANCE, len(data))))
    images = prepare_batch(images.to(device), net.config.encoder, channels)
    inputs, outputs = encode_captions(net, texts, device)
    memory = torch.cat([net.encode_image(part) for part in images.split(100)])
    logits = net.teacher_force(memory, inputs)
    written = decoding.greedy(net, memory, net.config.max_words)
    ours = [" ".join(net.config.vocabulary[i] for i in row) for row in written]
    exact = sum(a == " ".join(captions.plain_words(b)) for a, b in zip(ours, texts, strict=True))
    return {
        "test_loss": round(word_loss(logits, outputs).item(), 5),
        "test_accuracy": round(word_accuracy(logits, outputs), 5),
        "test_exact": round(exact / len(ours), 4),
    }


def encode_captions(
    net: CaptioningNet[Any], texts: list[str], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Turn captions into the decoder's input and its target: word numbers (B, N) each."""
    config = net.config
    pair = captions.word_ids(texts, config.vocabulary, config.max_words)
    return pair[0].to(device), pair[1].to(device)


def word_loss(logits: Tensor, outputs: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the mean cross-entropy of logits (B, N, V) at the words (B, N) except `<pad>`."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), outputs.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )


def word_accuracy(logits: Tensor, outputs: Tensor) -> float:
    """Compute the share of the words, and ends, that have the highest logit."""
    counted = outputs != PAD
    return (logits.argmax(-1) == outputs)[counted].float().mean().item()
