"""Pictures in the project's packed form (see `model.datasets.packed`)."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from model.errors import DataError
from model.survey.sources.listed_picture import ListedPicture


def find_packed(source: Path) -> list[Path]:
    """Find the files of a packed split: NAME.npz, or NAME for it or for its numbered parts."""
    if source.suffix == ".npz" and source.is_file():
        return [source]
    whole = source.with_name(f"{source.name}.npz")
    if whole.is_file():
        return [whole]
    count = len(list(source.parent.glob(f"{source.name}-*.npz"))) if source.name else 0
    return [source.with_name(f"{source.name}-{number}.npz") for number in range(count)]


def list_packed(files: list[Path], room: Path) -> Iterator[ListedPicture]:
    """List the pictures of packed files, in their order.

    The bytes of a picture are read where they lie. In a file that was compressed as a whole they
    lie nowhere, so they are unpacked once, into the folder `room`.

    Raises:
        DataError: a file is missing or damaged, or holds other arrays.
        OSError: there is no room to unpack them.
    """
    for file in files:
        try:
            yield from _list_file(file, room)
        except (KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{file} is damaged or no packed data set ({error}). Fetch it again, or pack it "
                "with python -m model.training pack."
            ) from None
        except FileNotFoundError:
            raise DataError(f"{file} is missing, others of its kind are there. Fetch it.") from None


def _list_file(file: Path, room: Path) -> Iterator[ListedPicture]:
    with np.load(file, allow_pickle=False) as arrays:
        labels = arrays.get("labels")
        classes = [str(name) for name in arrays["classes"]] if "classes" in arrays else []
        boxes = arrays.get("boxes")
        offsets = None if "images" in arrays else arrays["offsets"]
    where, start, shape = _find_array(file, "images" if offsets is None else "blob", room)
    for number in range(shape[0] if offsets is None else len(offsets) - 1):
        if offsets is None:
            size, pixels = int(np.prod(shape[1:])), shape[1:]
            begin = start + number * size
        else:
            begin, pixels = start + int(offsets[number]), None
            size = int(offsets[number + 1] - offsets[number])
        yield ListedPicture(
            f"{file.name}#{number}",
            str(where),
            begin,
            size,
            None if labels is None else classes[labels[number]],
            None if boxes is None else _box(boxes[number]),
            pixels,
        )


def _box(row: np.ndarray) -> tuple[float, float, float, float]:
    """Read a box, whose last pixels are included, as edges."""
    left, top, right, bottom = map(float, row)
    return left, top, right + 1, bottom + 1


def _find_array(file: Path, name: str, room: Path) -> tuple[Path, int, tuple[int, ...]]:
    """Find a uint8 array: the file that holds its numbers, where they begin, and its shape."""
    member = f"{name}.npy"
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(member)
        with archive.open(info) as array:
            shape = _read_header(array)
            header = array.tell()
        if info.compress_type == zipfile.ZIP_STORED:
            return file, _begin_of(file, info) + header, shape
        target = room / f"{file.stem}-{member}"
        if not target.is_file() or target.stat().st_size != info.file_size:
            room.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as packed, target.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    return target, header, shape


def _read_header(array: IO[bytes]) -> tuple[int, ...]:
    version = npy.read_magic(array)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(array)
    if dtype != np.uint8 or fortran:
        raise ValueError(f"the pictures are {dtype} where uint8 was expected")
    return shape


def _begin_of(file: Path, info: zipfile.ZipInfo) -> int:
    """Find where a stored member's bytes begin, behind its own header in the ZIP file."""
    with file.open("rb") as raw:
        raw.seek(info.header_offset + 26)
        lengths = raw.read(4)
    name, extra = (int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
    return info.header_offset + 30 + name + extra
