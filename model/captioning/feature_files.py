"""A row of image features out of a stranger's `.npy` or `.h5` file; nothing in it is run."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import ModelRejected

ENDINGS = (".npy", ".h5", ".hdf5")
MAX_FEATURES = 100_000  # numbers that stand for one image
MAX_CHUNK = 64_000_000  # bytes that HDF5 unpacks at once
_KINDS = "fiu"  # numpy's letters for real numbers


def read_features(path: Path, row: int, count: int) -> Tensor:
    """Read one image's features.

    Args:
        path: An array (images, features), or (features,) of one image; in HDF5 the dataset
            "features", as in the assignment, or the only one.
        row: Which image, from 0.
        count: How many numbers a captioner takes.

    Returns:
        (1, count), float32.

    Raises:
        ModelRejected: The file is damaged or of another kind; or there is no such row, or its
            numbers are not as many, or not finite.
    """
    try:
        values = _hdf5_row(path, row) if path.suffix != ".npy" else _numpy_row(path, row)
    except ModelRejected:
        raise
    except Exception as error:  # readers raise nearly anything on a damaged file
        raise ModelRejected(
            f"{path.name} cannot be read as an array of features. Save it with "
            "np.save(PATH, features)."
        ) from error
    if len(values) != count:
        raise ModelRejected(
            f"The features in {path.name} are {len(values):,} numbers an image, and this captioner "
            f"takes {count:,}. Choose the features that it was trained on."
        )
    if not np.isfinite(values).all():
        raise ModelRejected(f"Row {row} of {path.name} holds values that are not finite.")
    return torch.from_numpy(values)[None]


def _numpy_row(path: Path, row: int) -> np.ndarray:
    return _row(path, np.load(path, mmap_mode="r", allow_pickle=False), row)


def _hdf5_row(path: Path, row: int) -> np.ndarray:
    """Read a row of a dataset that lies in the file itself: no link leads to another file."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise ModelRejected(
            f"{path.name} needs the package h5py. Install it with: pip install h5py; or save the "
            'features with np.save("features.npy", features).'
        ) from error
    with h5py.File(path, "r") as file:
        names = [
            n for n in list(file)[:100] if isinstance(file.get(n, getlink=True), h5py.HardLink)
        ]
        sets = [name for name in names if isinstance(file[name], h5py.Dataset)]
        if not sets:
            raise ModelRejected(f"{path.name} holds no dataset of features.")
        if "features" not in sets and len(sets) > 1:
            raise ModelRejected(f"{path.name} holds several datasets, and none named features.")
        found = file["features" if "features" in sets else sets[0]]
        if found.external or found.is_virtual:
            raise ModelRejected(f"{path.name} refers to other files. Save the features themselves.")
        if np.prod(found.chunks or (1,), dtype=float) * found.dtype.itemsize > MAX_CHUNK:
            raise ModelRejected(f"{path.name} unpacks to more than features have.")
        return _row(path, found, row)


def _row(path: Path, array: Any, row: int) -> np.ndarray:
    """Read one row of an array, or of a dataset, as float32."""
    if array.dtype.kind not in _KINDS or array.ndim not in (1, 2):
        raise ModelRejected(
            f"{path.name} is no array of features: those are numbers (images, features), not "
            f"{str(array.dtype)[:20]} in {array.ndim} dimensions."
        )
    images = array.shape[0] if array.ndim == 2 else 1
    if array.shape[-1] > MAX_FEATURES:
        raise ModelRejected(f"{path.name} has {array.shape[-1]:,} numbers an image: too many.")
    if not 0 <= row < images:
        raise ModelRejected(f"{path.name} has {images:,} rows, from 0 on, and no row {row}.")
    return np.array(array[row] if array.ndim == 2 else array[:], dtype=np.float32)
