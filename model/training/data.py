"""Data sets in memory: every picture decoded once into one uint8 tensor.

`read(folder, split)` takes four forms and tells them apart by what lies in the folder:

- packed: `train.npz`, or `train-0.npz`, `train-1.npz`, ... (see `pack`)
- CIFAR-10 as published: `cifar-10-batches-py/`
- Fashion-MNIST as published: `FashionMNIST/raw/`
- one folder a class: `train/cat/*.jpg`, `test/cat/*.jpg`
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


class DataError(ValueError):
    """A data set that is missing, damaged or of no known form."""


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    `images` uint8 (N, C, H, W); `labels` int64 (N,), indices into `classes`;
    `boxes` int16 (N, 4), the object's box as x0, y0, x1, y1 in pixels, where it is known.
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


def read(folder: str | Path, split: str = "train", size: int | None = None) -> Split:
    """The `split` ("train" or "test"; "val" stands in for a missing "test") of a data set.

    `size`: side in pixels to which the pictures of one-folder-a-class data are resized and
    cropped, since they come in all sizes; the other forms keep the size they have.
    Raises DataError.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Give the data set's folder with --data.")
    for reader in (_packed, _cifar10, _fashion_mnist, _folders):
        for name in _aliases(split):
            found = reader(folder, name, size)
            if found is not None:
                return _checked(found, folder, name)
    raise DataError(
        f"{folder} holds no {split} data: expected {split}.npz, cifar-10-batches-py, "
        f"FashionMNIST/raw or {split}/CLASS/*.jpg. Check the path given with --data."
    )


def _aliases(split: str) -> tuple[str, ...]:
    return {"test": ("test", "val"), "val": ("val", "test")}.get(split, (split,))


def _checked(split: Split, folder: Path, name: str) -> Split:
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


# Packed ------------------------------------------------------------------------------------------


def _packed(folder: Path, name: str, size: int | None) -> Split | None:
    files = [folder / f"{name}.npz"]
    if not files[0].is_file():
        files = sorted(folder.glob(f"{name}-*.npz"))
    if not files:
        return None
    return _joined([_packed_file(file) for file in files])


def _packed_file(file: Path) -> Split:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if "images" in arrays:
                images = arrays["images"]
            else:
                images = _decode(arrays["blob"], arrays["offsets"])
            boxes = torch.from_numpy(arrays["boxes"]) if "boxes" in arrays else None
            labels = torch.from_numpy(arrays["labels"].astype(np.int64))
            classes = tuple(map(str, arrays["classes"]))
    except KeyError as error:
        raise DataError(
            f"{file} is not a packed data set: {error.args[0]}. "
            "Make it again with python -m model.training pack."
        ) from None
    except Exception as error:  # zip, header and JPEG damage each raise something of their own
        raise DataError(f"{file} is damaged ({error}). Fetch or pack it again.") from None
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(torch.from_numpy(np.ascontiguousarray(images)), labels, classes, boxes)


def _decode(blob: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Encoded pictures back to back -> uint8 (N, H, W, 3)."""
    if offsets[-1] != len(blob) or (np.diff(offsets) <= 0).any():
        raise ValueError("the offsets do not fit the pictures")
    images = None
    for i, (start, stop) in enumerate(pairwise(offsets)):
        picture = np.asarray(Image.open(io.BytesIO(blob[start:stop])).convert("RGB"))
        if images is None:
            images = np.empty((len(offsets) - 1, *picture.shape), np.uint8)
        if picture.shape != images.shape[1:]:
            raise ValueError(f"picture {i} has another size than the first")
        images[i] = picture
    if images is None:
        raise ValueError("it holds no pictures")
    return images


def _joined(parts: list[Split]) -> Split:
    if any(part.classes != parts[0].classes for part in parts):
        raise DataError("The packed files name different classes. Pack the data set again.")
    boxes = [part.boxes for part in parts if part.boxes is not None]
    return Split(
        torch.cat([part.images for part in parts]) if len(parts) > 1 else parts[0].images,
        torch.cat([part.labels for part in parts]),
        parts[0].classes,
        torch.cat(boxes) if len(boxes) == len(parts) else None,
    )


def pack(source: str | Path, target: str | Path, size: int | None = None, seed: int = 0) -> None:
    """Write `target/train.npz` and `target/test.npz` from any form that `read` takes.

    Pictures are stored without loss, in an order shuffled once (by `seed`). Raises DataError.
    """
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        split = read(source, name, size)
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        arrays = {"labels": split.labels[order].numpy().astype(np.int16)}
        arrays["classes"] = np.array(split.classes)
        if split.boxes is not None:
            arrays["boxes"] = split.boxes[order].numpy()
        arrays |= _encode(split.images[order])
        np.savez_compressed(target / f"{name}.npz", **arrays)


def _encode(images: Tensor) -> dict[str, np.ndarray]:
    if images.shape[1] == 1:
        return {"images": images[:, 0].numpy()}
    encoded = [_webp(picture) for picture in images.permute(0, 2, 3, 1).numpy()]
    blob = np.frombuffer(b"".join(encoded), np.uint8)
    return {"blob": blob, "offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64)}


def _webp(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=50, method=2)
    return file.getvalue()


# As published ------------------------------------------------------------------------------------


def _torchvision(load: Callable, what: str, folder: Path):
    """`load(torchvision.datasets)`, any failure of which becomes a sentence."""
    from model import torchvision_cpu

    torchvision_cpu.ensure()
    from torchvision import datasets

    try:
        return load(datasets)
    except Exception as error:  # torchvision raises RuntimeError, EOFError, zlib errors, ...
        raise DataError(
            f"The {what} files in {folder} are incomplete or damaged ({error}). "
            "Fetch them again from their publisher."
        ) from None


def _cifar10(folder: Path, name: str, size: int | None) -> Split | None:
    if not (folder / "cifar-10-batches-py").is_dir() or name == "val":
        return None
    # The published files are pickles: torchvision opens them only where their MD5 is right.
    data = _torchvision(
        lambda sets: sets.CIFAR10(folder, train=name == "train"), "CIFAR-10", folder
    )
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(data.targets), tuple(data.classes))


def _fashion_mnist(folder: Path, name: str, size: int | None) -> Split | None:
    if not (folder / "FashionMNIST" / "raw").is_dir() or name == "val":
        return None
    data = _torchvision(
        lambda sets: sets.FashionMNIST(folder, train=name == "train"), "Fashion-MNIST", folder
    )
    return Split(data.data[:, None], data.targets.long(), tuple(data.classes))


def _folders(folder: Path, name: str, size: int | None) -> Split | None:
    if not (folder / name).is_dir():
        return None
    data = _torchvision(lambda sets: sets.ImageFolder(folder / name), "image", folder)
    size = size or _size_of(data.samples[0][0])
    images = torch.empty(len(data), 3, size, size, dtype=torch.uint8)
    for i, picture in enumerate(_pictures([path for path, _ in data.samples], size)):
        images[i] = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    return Split(images, torch.tensor(data.targets), tuple(data.classes))


def _size_of(path: str) -> int:
    return min(_open(path).size)


def _pictures(paths: list[str], size: int) -> Iterator[np.ndarray]:
    for path in paths:
        yield np.asarray(ImageOps.fit(_open(path), (size, size), Image.Resampling.BICUBIC))


def _open(path: str) -> Image.Image:
    try:
        return ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no readable picture ({error}). Remove or replace it.") from None
