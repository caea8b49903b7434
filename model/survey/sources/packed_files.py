"""Pictures in the project's packed form (see `model.datasets.packed`)."""

from __future__ import annotations

import math
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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
        yield from PackedFile(file, room)


class PackedFile:
    """The pictures of one packed file; iterating lists them all.

    Args:
        file: the .npz file.
        room: the folder to unpack into, as for `list_packed`.
        described: whether to read labels and boxes too.

    Raises:
        DataError: it is missing or damaged, or holds other arrays.
        OSError: there is no room to unpack it.
    """

    def __init__(self, file: Path, room: Path, described: bool = True) -> None:
        self.file = file
        with _packed(file):
            self._read(room, described)

    def _read(self, room: Path, described: bool) -> None:
        with np.load(self.file, allow_pickle=False) as arrays:
            known = set(arrays) if described else set()
            self._labels = arrays["labels"] if "labels" in known else None
            self._classes = list(map(str, arrays["classes"])) if "classes" in known else []
            self._boxes = arrays["boxes"] if "boxes" in known else None
            self._offsets = None if "images" in arrays else arrays["offsets"]
        name = "images" if self._offsets is None else "blob"
        self._where, self._start, self._shape = _find_array(self.file, name, room)

    def __len__(self) -> int:
        return self._shape[0] if self._offsets is None else max(0, len(self._offsets) - 1)

    def __iter__(self) -> Iterator[ListedPicture]:
        return map(self.picture, range(len(self)))

    def picture(self, number: int) -> ListedPicture:
        """Tell where one picture lies. Raises DataError."""
        with _packed(self.file):
            if self._offsets is None:
                size, pixels = math.prod(self._shape[1:]), self._shape[1:]
                begin = self._start + number * size
            else:
                first, last = map(int, self._offsets[number : number + 2])
                begin, size, pixels = self._start + first, last - first, None
            return ListedPicture(
                f"{self.file.name}#{number}",
                str(self._where),
                begin,
                size,
                None if self._labels is None else self._classes[self._labels[number]],
                None if self._boxes is None else _box(self._boxes[number]),
                pixels,
            )


@contextmanager
def _packed(file: Path) -> Iterator[None]:
    """Turn what a damaged file does into a sentence."""
    try:
        yield
    except (KeyError, ValueError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file} is damaged or no packed data set ({error}). Fetch it again, or pack it "
            "with python -m model.training pack."
        ) from None
    except FileNotFoundError:
        raise DataError(f"{file} is missing, others of its kind are there. Fetch it.") from None


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
