"""How often a classifier is right, how well it knows so, and whether it looks at the object."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from model.card import Card
from model.datasets import pictures
from model.errors import CheckpointError
from model.evaluate.pointing import pointing_game
from model.evaluate.predictions import predict
from model.preprocessing import normalise, resize_batch


def measure_classifier(
    net: nn.Module,
    card: Card,
    folder: Path,
    limit: int | None = None,
    device: str = "cpu",
) -> tuple[dict[str, float], Tensor]:
    """Measure a classifier on the test pictures of the data set in `folder`.

    Returns the figures, with four decimals, and the `confusion`. The card gives the normalisation
    and the classes in the net's order; CheckpointError where it does not. Raises DataError, too.
    """
    if card.classes is None or card.normalisation is None:
        raise CheckpointError(
            "The card names no classes, or does not say how pictures are normalised. Train the "
            "model again, or fetch its card again."
        )
    split = pictures.read_split(folder, "test", min(net.tokens.image_size), limit)
    split = split.with_classes(card.classes)
    values = card.normalisation
    net.to(device)
    logits = predict(net, split, values, device).cpu()
    figures = classification(logits, split.labels)
    if split.boxes is not None:

        def prepare(photos: Tensor) -> Tensor:
            images = resize_batch(photos.to(device), net.config)
            return normalise(images, values.mean, values.std)

        figures |= pointing_game(net, split.images, split.boxes, prepare)
    figures = {name: round(value, 4) for name, value in figures.items()}
    return figures | {"test_pictures": len(split)}, confusion(logits, split.labels)


def classification(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """`test_accuracy` (top-1), `top5` where there are more than five classes, and `ece`.

    `logits` (N, classes), `labels` (N,).
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = ranked == labels[:, None]
    figures = {"test_accuracy": hits[:, 0].double().mean().item()}
    if logits.shape[1] > 5:
        figures["top5"] = hits.any(1).double().mean().item()
    figures["ece"] = calibration_error(logits, labels)
    return figures


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error: mean of |accuracy − confidence| over equally wide bins of the
    confidence, each weighted by its share of the pictures. Guo et al. 2017.
    """
    confidence, answer = logits.double().softmax(1).max(1)
    right = (answer == labels).double()
    which = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, right - confidence)
    return (gap.abs().sum() / len(labels)).item()


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 (classes, classes): pictures of the row's class that were taken for the column's."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)
