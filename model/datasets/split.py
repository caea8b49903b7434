"""One part of a data set, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.errors import DataError


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    `images` uint8 (N, C, H, W); `labels` int64 (N,), indices into `classes`;
    `boxes` int16 (N, 4), the object's box as x0, y0, x1, y1 in pixels (the last ones
    included), where it is known.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Split:
        """The first `count` pictures, or all of them where `count` is None."""
        boxes = None if self.boxes is None else self.boxes[:count]
        return Split(self.images[:count], self.labels[:count], self.classes, boxes)

    def with_classes(self, classes: list[str] | tuple[str, ...]) -> Split:
        """The same pictures, their labels counted in the order of `classes`.

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
