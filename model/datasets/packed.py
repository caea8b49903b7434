"""Read and write packed data sets: one .npz for each split, or several numbered parts of it.

A file holds `labels` and `classes` (names), and `boxes` (N, 4) where objects have boxes. The
pictures are either `images`, uint8 (N, H, W) or (N, H, W, 3), or encoded and laid end to end in
`blob`, with picture i at `blob[offsets[i]:offsets[i + 1]]`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.datasets.split import Split
from model.errors import DataError


def read_packed(folder: Path, name: str, size: int | None, limit: int | None) -> Split | None:
    """Read the split `name`, or return None where it has no file. Raises DataError."""
    files = [folder / f"{name}.npz"]
    if not files[0].is_file():
        files = _find_parts(folder, name)
    parts = []
    for file in files:
        parts.append(_read_file(file, limit))
        if limit and sum(map(len, parts)) >= limit:
            break
    return _join_parts(parts).first(limit) if parts else None


def _find_parts(folder: Path, name: str) -> list[Path]:
    """List name-0.npz, name-1.npz, ... Raises DataError where one in between is missing."""
    count = len(list(folder.glob(f"{name}-*.npz")))
    files = [folder / f"{name}-{number}.npz" for number in range(count)]
    if missing := [file for file in files if not file.is_file()]:
        raise DataError(f"{missing[0]} is missing, others of its kind are there. Fetch it again.")
    return files


def read_pictures(file: Path, limit: int | None) -> Tensor:
    """Read the pictures of a file without labels: uint8 (N, 3, H, W). Raises DataError."""
    with _open_arrays(file) as arrays:
        return _images_of(arrays, limit)


def write_packed(file: Path, split: Split, order: Tensor) -> None:
    """Write the pictures of a split in the given order, without loss."""
    arrays = {"labels": split.labels[order].numpy().astype(np.int16)}
    arrays["classes"] = np.array(split.classes)
    if split.boxes is not None:
        arrays["boxes"] = split.boxes[order].numpy()
    _save_arrays(file, arrays | _encode_images(split.images[order]))


def write_pictures(file: Path, images: Tensor) -> None:
    """Write uint8 (N, C, H, W) for `read_pictures`, without loss."""
    _save_arrays(file, _encode_images(images))


def _save_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # none is named allow_pickle


def _read_file(file: Path, limit: int | None) -> Split:
    with _open_arrays(file) as arrays:
        images = _images_of(arrays, limit)
        labels = torch.from_numpy(arrays["labels"][:limit].astype(np.int64))
        classes = tuple(map(str, arrays["classes"]))
        boxes = torch.from_numpy(arrays["boxes"][:limit]) if "boxes" in arrays else None
    return Split(images, labels, classes, boxes)


@contextmanager
def _open_arrays(file: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Open the arrays of a file, and turn each error while they are read into a sentence."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except KeyError as error:
        raise DataError(
            f"{file} is not a packed data set: {error.args[0]}. "
            "Make it again with python -m model.training pack."
        ) from None
    except Exception as error:  # zip, header and JPEG damage each raise something of their own
        raise DataError(f"{file} is damaged ({error}). Fetch or pack it again.") from None


def _images_of(arrays: Mapping[str, np.ndarray], limit: int | None) -> Tensor:
    if "images" in arrays:
        images = arrays["images"][:limit]
    else:
        images = _decode_blob(arrays["blob"], arrays["offsets"], limit)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images))


def _decode_blob(blob: np.ndarray, offsets: np.ndarray, limit: int | None) -> np.ndarray:
    """Decode pictures that lie end to end: uint8 (N, H, W, 3)."""
    if offsets[-1] != len(blob) or (np.diff(offsets) <= 0).any():
        raise ValueError("the offsets do not fit the pictures")
    if limit:
        offsets = offsets[: limit + 1]
    images = None
    for i, (start, stop) in enumerate(pairwise(offsets)):
        picture = np.asarray(Image.open(io.BytesIO(blob[start:stop].tobytes())).convert("RGB"))
        if images is None:
            images = np.empty((len(offsets) - 1, *picture.shape), np.uint8)
        if picture.shape != images.shape[1:]:
            raise ValueError(f"picture {i} has another size than the first")
        images[i] = picture
    if images is None:
        raise ValueError("it holds no pictures")
    return images


def _join_parts(parts: list[Split]) -> Split:
    if any(part.classes != parts[0].classes for part in parts):
        raise DataError("The packed files name different classes. Pack the data set again.")
    if any(part.images.shape[1:] != parts[0].images.shape[1:] for part in parts):
        raise DataError("The packed files hold pictures of different sizes. Pack them again.")
    if len(parts) == 1:
        return parts[0]
    boxes = [part.boxes for part in parts if part.boxes is not None]
    return Split(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels for part in parts]),
        parts[0].classes,
        torch.cat(boxes) if len(boxes) == len(parts) else None,
    )


def _encode_images(images: Tensor) -> dict[str, np.ndarray]:
    if images.shape[1] == 1:
        return {"images": images[:, 0].numpy()}
    encoded = [_encode_webp(picture) for picture in images.permute(0, 2, 3, 1).numpy()]
    blob = np.frombuffer(b"".join(encoded), np.uint8)
    return {"blob": blob, "offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64)}


def _encode_webp(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=50, method=2)
    return file.getvalue()
