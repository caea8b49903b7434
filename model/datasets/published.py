"""Read data sets in the form in which they are published.

Each reader takes (folder, name of the split, size, limit) and returns None where the folder holds
another data set. All raise DataError for damaged files.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from model.datasets.split import Split
from model.errors import DataError
from model.nets import torchvision_cpu


def read_cifar10(folder: Path, name: str, size: int | None, limit: int | None) -> Split | None:
    """Read CIFAR-10; None where the folder holds another data set. Raises DataError."""
    if not (folder / "cifar-10-batches-py").is_dir() or name == "val":
        return None
    # The published files are pickles: torchvision opens them only where their MD5 is right.
    data = _load_with_torchvision(
        "CIFAR-10", folder, lambda sets: sets.CIFAR10(folder, name == "train")
    )
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(data.targets), tuple(data.classes)).first(limit)


def read_fashion_mnist(
    folder: Path, name: str, size: int | None, limit: int | None
) -> Split | None:
    """Read Fashion-MNIST; None where the folder holds another data set. Raises DataError."""
    if not (folder / "FashionMNIST" / "raw").is_dir() or name == "val":
        return None
    data = _load_with_torchvision(
        "Fashion-MNIST", folder, lambda sets: sets.FashionMNIST(folder, name == "train")
    )
    return Split(data.data[:, None], data.targets.long(), tuple(data.classes)).first(limit)


def read_tiny_imagenet(
    folder: Path, name: str, size: int | None, limit: int | None
) -> Split | None:
    """Read Tiny ImageNet; None where the folder holds another data set. Raises DataError.

    Classes are named by the first of their words. Only `val` gets its boxes; it stands in for
    `test`, which is published without labels.
    """
    if not (folder / "wnids.txt").is_file():
        return None
    name = "train" if name == "train" else "val"
    try:
        ids = (folder / "wnids.txt").read_text().split()
        words = dict(_read_table(folder / "words.txt"))
        classes = tuple(words[i].split(",")[0] for i in ids)
        boxes = None
        if name == "train":
            samples = [(p, i) for i in ids for p in sorted((folder / name / i).rglob("*.JPEG"))]
        else:
            rows = _read_table(folder / name / "val_annotations.txt")
            samples = [(folder / name / "images" / row[0], row[1]) for row in rows]
            boxes = torch.tensor([list(map(int, row[2:6])) for row in rows], dtype=torch.int16)
        labels = [ids.index(i) for _, i in samples]
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"The Tiny ImageNet lists in {folder} are incomplete or damaged ({error}). "
            "Fetch them again from their publisher."
        ) from None
    chosen = _spread_positions(len(samples), limit)
    images = load_pictures([samples[i][0] for i in chosen], 64)
    boxes = None if boxes is None else boxes[chosen]
    return Split(images, torch.tensor(labels)[chosen], classes, boxes)


def read_class_folders(
    folder: Path, name: str, size: int | None, limit: int | None
) -> Split | None:
    """Read a folder for each class, in a folder for each split; None where there is none.

    Raises DataError.
    """
    if not (folder / name).is_dir():
        return None
    data = _load_with_torchvision("picture", folder, lambda sets: sets.ImageFolder(folder / name))
    chosen = _spread_positions(len(data), limit)
    paths = [data.samples[i][0] for i in chosen]
    images = load_pictures(paths, size or min(_open_picture(paths[0]).size))
    return Split(images, torch.tensor(data.targets)[chosen], tuple(data.classes))


def _load_with_torchvision(what: str, folder: Path, load: Callable[[Any], Any]) -> Any:
    """Call `load(torchvision.datasets)`, and turn each error into a sentence."""
    torchvision_cpu.ensure_operators()
    from torchvision import datasets

    try:
        return load(datasets)
    except Exception as error:  # torchvision raises RuntimeError, EOFError, zlib errors, ...
        raise DataError(
            f"The {what} files in {folder} are incomplete or damaged ({error}). "
            "Fetch them again from their publisher."
        ) from None


def _read_table(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return [row for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if row]


def _spread_positions(count: int, limit: int | None) -> list[int]:
    """Spread `limit` positions evenly over `count`, so that every class is among them."""
    limit = min(limit or count, count)
    return [i * count // limit for i in range(limit)]


def load_pictures(paths: Sequence[str | Path], size: int, cut: bool = True) -> Tensor:
    """Load pictures as uint8 (N, 3, size, size), cropped to their middle (`cut`) or squashed.

    Raises DataError.
    """
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    for image, path in zip(images, paths, strict=True):
        fit = ImageOps.fit if cut else Image.Image.resize
        picture = fit(_open_picture(path), (size, size), Image.Resampling.BICUBIC)
        image.copy_(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return images


def _open_picture(path: str | Path) -> Image.Image:
    try:
        return ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    except Exception as error:  # Pillow's readers raise all sorts for damage
        raise DataError(f"{path} is no readable picture ({error}). Remove or replace it.") from None
