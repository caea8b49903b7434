"""Read labelled pictures into memory, each decoded once into one uint8 tensor.

`read_split(folder, split)` reads five forms, which it recognises by the files in the folder:

- packed: `train.npz`, or `train-0.npz`, `train-1.npz`, ...
- CIFAR-10 as published: `cifar-10-batches-py/`
- Fashion-MNIST as published: `FashionMNIST/raw/`
- Tiny ImageNet as published: `wnids.txt`, `words.txt`, `train/`, `val/`
- a folder for each class: `train/cat/*.jpg`, `test/cat/*.jpg`
"""

from __future__ import annotations

from pathlib import Path

import torch

from model.datasets import packed, published
from model.datasets.split import Split
from model.errors import DataError

__all__ = ["DataError", "Split", "pack_pictures", "read_split"]

_READERS = (
    packed.read_packed,
    published.read_cifar10,
    published.read_fashion_mnist,
    published.read_tiny_imagenet,
    published.read_class_folders,
)


def read_split(
    folder: str | Path, split: str = "train", size: int | None = None, limit: int | None = None
) -> Split:
    """Read one split of a data set.

    Args:
        folder: the folder of the data set.
        split: "train" or "test"; "val" stands in for a missing "test".
        size: side in pixels to which pictures in class folders are resized and cropped, since
            they come in all sizes; the other forms keep the size they have.
        limit: how many pictures to read at most; None for all.

    Raises:
        DataError: for a folder that is missing, damaged, or holds no such split.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Give the data set's folder with --data.")
    for name in ("test", "val") if split == "test" else (split,):
        for reader in _READERS:
            if (found := reader(folder, name, size, limit)) is not None:
                return _check_labels(found, folder, name)
    raise DataError(
        f"{folder} holds no {split} data: expected {split}.npz (or its numbered "
        f"parts), cifar-10-batches-py, FashionMNIST/raw, Tiny ImageNet's wnids.txt or "
        f"{split}/CLASS/*.jpg. Check the path given with --data."
    )


def pack_pictures(
    source: str | Path, target: str | Path, size: int | None = None, seed: int = 0
) -> None:
    """Pack a data set into `target/train.npz` and `target/test.npz`.

    Args:
        source: the folder of the data set, in any form that `read_split` takes.
        target: the folder to write to.
        size: as for `read_split`.
        seed: of the order, shuffled once, in which the pictures are stored, without loss.

    Raises:
        DataError: as `read_split`.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        split = read_split(source, name, size)
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        packed.write_packed(Path(target) / f"{name}.npz", split, order)


def _check_labels(split: Split, folder: Path, name: str) -> Split:
    """Return a split, checked: it has pictures, and every label is one of its classes."""
    count = len(split.labels)
    if not count or len(split.images) != count:
        raise DataError(f"The {name} data in {folder} is empty or cut short. Fetch it again.")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= len(split.classes):
        raise DataError(
            f"The {name} data in {folder} has label {high if low >= 0 else low}, but only "
            f"{len(split.classes)} classes. The file is damaged; fetch or pack it again."
        )
    return split
