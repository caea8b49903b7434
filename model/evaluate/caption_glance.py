"""A quick look at how well a captioner writes: what is measured after each epoch of training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.captioning import decoding
from model.datasets import captions
from model.datasets.captions import CaptionedPhotos, DrawnScenes
from model.datasets.vocabulary import PAD
from model.preprocessing import normalise, resize_batch

TEST_SCENES = 1000
GLANCE = 200  # test pictures that are captioned after an epoch
Data = DrawnScenes | CaptionedPhotos


@torch.inference_mode()
def glance(
    net: nn.Module, data: Data, normalisation: Any, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """How well `net` captions the first few pictures of `data`; `normalisation` has mean and std.

    `test_loss` and `test_accuracy` of words given those before, `test_exact` of whole captions.
    """
    net.eval()
    images, texts = data.batch(0, range(min(GLANCE, len(data))))
    images = prepared(net, images, normalisation, device)
    inputs, outputs = batch_ids(net, texts, device)
    memory = torch.cat([net.encode_image(part) for part in images.split(100)])
    logits = net.teacher_force(memory, inputs)
    written = decoding.greedy(net, memory, net.config.max_words)
    said = [" ".join(net.config.vocabulary[i] for i in row) for row in written]
    exact = sum(a == " ".join(captions.plain_words(b)) for a, b in zip(said, texts, strict=True))
    return {
        "test_loss": round(word_loss(logits, outputs).item(), 5),
        "test_accuracy": round(word_accuracy(logits, outputs), 5),
        "test_exact": round(exact / len(said), 4),
    }


def prepared(
    net: nn.Module, images: Tensor, normalisation: Any, device: torch.device | str
) -> Tensor:
    images = resize_batch(images.to(device), net.config.encoder)
    return normalise(images, normalisation.mean, normalisation.std)


def batch_ids(
    net: nn.Module, texts: list[str], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    config = net.config
    pair = captions.word_ids(texts, config.vocabulary, config.max_words)
    return pair[0].to(device), pair[1].to(device)


def word_loss(logits: Tensor, outputs: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits (B, N, V) at the words (B, N) that are not <pad>."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), outputs.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )


def word_accuracy(logits: Tensor, outputs: Tensor) -> float:
    """Share of the words, and ends, that were the likeliest."""
    counted = outputs != PAD
    return (logits.argmax(-1) == outputs)[counted].float().mean().item()
