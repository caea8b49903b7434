"""The confusion matrix of a classifier, and how a card stores it.

It holds whole numbers (classes, classes): the pictures of the row's class that were taken for the
column's class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DENSE_CLASSES = 20  # with more classes nearly all counts are zero, and a card stores the rest


class Mixup(NamedTuple):
    """`times` of the `pictures` of class `true` were taken for class `taken` (class indices)."""

    true: int
    taken: int
    times: int
    pictures: int


def pack_confusion(counts: np.ndarray) -> list[list[int]] | list[str]:
    """Write a confusion matrix for a card: plain rows, or "column:count column:count" per class.

    The second form is LIBSVM's file format, with columns counted from zero. It serves more than
    `DENSE_CLASSES` classes, for 40,000 numbers would drown a card.
    """
    if len(counts) <= DENSE_CLASSES:
        return counts.tolist()
    return [" ".join(f"{column}:{row[column]}" for column in row.nonzero()[0]) for row in counts]


def unpack_confusion(kept: Sequence[Sequence[int]] | Sequence[str], classes: int) -> np.ndarray:
    """Read the confusion matrix (classes, classes), int64, that a card stores in either form.

    Raises ValueError where it is no such table.
    """
    try:
        rows = [_row(row, classes) for row in kept]
        counts = np.stack(rows)
    except (TypeError, ValueError, IndexError, OverflowError):
        counts = np.empty(0)
    if counts.shape != (classes, classes) or counts.min() < 0:
        raise ValueError(
            f"The card's table of mix-ups does not fit {classes} classes. Write it again with "
            "python -m model.evaluate classify."
        )
    return counts


def _row(row: Sequence[int] | str, classes: int) -> np.ndarray:
    if not isinstance(row, str):
        return np.array(row, dtype=np.int64)
    counts = np.zeros(classes, np.int64)
    for word in row.split():
        column, times = map(int, word.split(":"))
        if column < 0:
            raise IndexError(column)
        counts[column] = times
    return counts


def find_mixups(counts: np.ndarray, most: int) -> list[Mixup]:
    """Find the `most` mix-ups that happened to the largest share of a class's pictures.

    Among equals, the class with more pictures comes first, then the first class.
    """
    pictures = counts.sum(1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    found = [
        Mixup(int(true), int(taken), int(wrong[true, taken]), int(pictures[true]))
        for true, taken in zip(*wrong.nonzero(), strict=True)
    ]
    return sorted(found, key=lambda m: (-m.times / m.pictures, -m.pictures, m.true))[:most]
