"""Measure a classifier: accuracy, calibration, and whether it looks at the object."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from model.card import Card
from model.datasets import pictures
from model.errors import CheckpointError
from model.evaluate.pointing import pointing_game
from model.evaluate.predictions import predict
from model.nets.vit import VisionTransformer
from model.preprocessing import prepare_batch


def measure_classifier(
    net: VisionTransformer,
    card: Card,
    folder: Path,
    limit: int | None = None,
    device: str = "cpu",
) -> tuple[dict[str, float], Tensor]:
    """Measure a classifier on the test pictures of the data set in `folder`.

    Args:
        net: the classifier; it is set to eval mode and moved to the device.
        card: its normalisation, and its classes in the net's order.
        folder: the data set, in any form that `model.datasets` reads.
        limit: use only the first pictures.
        device: "cpu" or "cuda".

    Returns:
        The figures by name, with four decimals, and the table of `count_confusion`.

    Raises:
        CheckpointError: the card has no classes or no normalisation.
        DataError: the data is missing, damaged, or has other classes.
    """
    if card.classes is None or card.normalisation is None:
        raise CheckpointError(
            "The card names no classes, or does not say how pictures are normalised. Train the "
            "model again, or fetch its card again."
        )
    split = pictures.read_split(folder, "test", min(net.tokens.image_size), limit)
    split = split.with_classes(card.classes)
    channels = card.normalisation
    net.to(device)
    logits = predict(net, split, channels, device).cpu()
    figures = classification_figures(logits, split.labels)
    if split.boxes is not None:

        def prepare(photos: Tensor) -> Tensor:
            return prepare_batch(photos.to(device), net.config, channels)

        figures |= pointing_game(net, split.images, split.boxes, prepare)
    figures = {name: round(value, 4) for name, value in figures.items()}
    return figures | {"test_pictures": len(split)}, count_confusion(logits, split.labels)


def classification_figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Compute `test_accuracy` (top-1), `top5` for more than five classes, and how sure it is.

    `ece` is the calibration error; `confidence` the mean probability of the answer, over all
    pictures; `confidence_wrong` the same over those that it gets wrong, if there are any.

    `logits` (N, classes), `labels` (N,).

    >>> logits = torch.tensor([[3.0, 0.0], [1.0, 0.0]])
    >>> found = classification_figures(logits, torch.tensor([0, 1]))
    >>> [round(found[name], 3) for name in ("test_accuracy", "confidence", "confidence_wrong")]
    [0.5, 0.842, 0.731]
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = ranked == labels[:, None]
    figures = {"test_accuracy": hits[:, 0].double().mean().item()}
    if logits.shape[1] > 5:
        figures["top5"] = hits.any(1).double().mean().item()
    figures["ece"] = calibration_error(logits, labels)
    confidence = logits.double().softmax(1).amax(1)
    figures["confidence"] = confidence.mean().item()
    if not hits[:, 0].all():
        figures["confidence_wrong"] = confidence[~hits[:, 0]].mean().item()
    return figures


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Compute the expected calibration error of logits (N, classes).

    It is the mean of |accuracy − confidence| over equally wide bins of the confidence, each bin
    weighted by its share of the pictures. Guo et al. 2017, "On Calibration of Modern Neural
    Networks".
    """
    confidence, answer = logits.double().softmax(1).max(1)
    right = (answer == labels).double()
    which = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, right - confidence)
    return (gap.abs().sum() / len(labels)).item()


def count_confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the pictures of the row's class taken for the column's: int64 (classes, classes)."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)
