"""Hold one split of a data set, such as its training pictures, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.errors import DataError


@dataclass(frozen=True)
class Split:
    """One split of a data set: its pictures, labels and classes, and boxes where known.

        >>> split = Split(torch.zeros(3, 1, 8, 8, dtype=torch.uint8),
        ...               torch.tensor([0, 1, 1]), ("cat", "dog"))
        >>> len(split), len(split.first(2))
        (3, 2)
        >>> split.with_classes(("dog", "cat")).labels
        tensor([1, 0, 0])

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), indices into `classes`.
        classes: names of the classes.
        boxes: int16 (N, 4), the box of the object as x0, y0, x1, y1 in pixels, the last ones
            included; None where boxes are unknown.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Split:
        """Take the first `count` pictures, or all of them where `count` is None."""
        boxes = None if self.boxes is None else self.boxes[:count]
        return Split(self.images[:count], self.labels[:count], self.classes, boxes)

    def with_classes(self, classes: list[str] | tuple[str, ...]) -> Split:
        """Renumber the labels in the order of `classes`.

        Raises DataError where these are not the same names.
        """
        classes = tuple(classes)
        if classes == self.classes:
            return self
        if sorted(classes) != sorted(self.classes) or len(set(classes)) < len(classes):
            raise DataError(
                f"The data has other classes ({_some(self.classes)}) than are wanted "
                f"({_some(classes)}). Give the folder of the data set that the model is for."
            )
        order = torch.tensor([classes.index(name) for name in self.classes])
        return replace(self, labels=order[self.labels], classes=classes)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f", {len(names)} in all" if len(names) > 3 else "")
