"""The pictures of a survey in blocks, in one Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import DataError
from model.survey.sources.listed_picture import ListedPicture

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("label", pa.string()),
        ("box", pa.list_(pa.float64())),
        ("pixels", pa.list_(pa.int64())),
        ("problem", pa.string()),
    ]
)
DIGEST, BLOCK = b"digest", b"block"
BLOCKS_TOGETHER = 8
"""Blocks in a row group, which is read at once."""


@dataclass(frozen=True)
class PictureBlock:
    """Consecutive pictures of a listing: the smallest part of a survey."""

    number: int
    first: int
    """Number of the first picture."""
    entries: list[ListedPicture]


def write_listing(entries: Iterable[ListedPicture], file: Path, block: int) -> None:
    """Write a listing, some blocks at a time, so that its length costs no memory.

    Raises:
        DataError: there are no pictures.
        OSError: the disk is full, or the folder cannot be written to.
    """
    beside, digest, rest = file.with_name(f"{file.name}.part"), hashlib.sha256(), iter(entries)
    with pq.ParquetWriter(beside, SCHEMA, write_statistics=False) as writer:
        while group := list(islice(rest, block * BLOCKS_TOGETHER)):
            for entry in group:
                named = (entry.name, entry.size, entry.label, entry.box, entry.pixels)
                digest.update(repr(named).encode())
            writer.write_table(pa.Table.from_pylist([asdict(each) for each in group], SCHEMA))
        writer.add_key_value_metadata({DIGEST: digest.hexdigest(), BLOCK: str(block)})
    if not pq.read_metadata(beside).num_rows:
        beside.unlink()
        raise DataError("There are no pictures in it: check the path given with --data.")
    beside.replace(file)


class Listing:
    """A listing that was written.

    Args:
        file: the Parquet file.

    Raises:
        DataError: it is damaged.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._file = pq.ParquetFile(file)
            held = self._file.metadata.metadata
            self.digest, self.block = held[DIGEST].decode(), int(held[BLOCK])
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{file} is damaged ({error}). Delete it: the pictures are listed again."
            ) from None
        self.path = file
        self.pictures = self._file.metadata.num_rows
        self.blocks = -(-self.pictures // self.block)
        self._together = -(-self._file.metadata.row_group(0).num_rows // self.block)
        self._read: tuple[int, list[dict[str, Any]]] = (-1, [])

    def __reduce__(self) -> tuple[type[Listing], tuple[Path]]:
        """Be sent to a process as the file, which is opened there."""
        return Listing, (self.path,)

    def read_block(self, number: int) -> PictureBlock:
        """Read where the pictures of one block lie."""
        group, place = divmod(number, self._together)
        rows = self._read_group(group)[place * self.block : (place + 1) * self.block]
        return PictureBlock(number, number * self.block, [to_entry(row) for row in rows])

    def read_picture(self, number: int) -> ListedPicture:
        """Read where one picture lies."""
        return self.read_block(number // self.block).entries[number % self.block]

    def read_blocks(self, numbers: Iterable[int]) -> Iterator[PictureBlock]:
        """Read blocks one by one."""
        return map(self.read_block, numbers)

    def _read_group(self, group: int) -> list[dict[str, Any]]:
        if self._read[0] != group:
            self._read = (group, self._file.read_row_group(group).to_pylist())
        return self._read[1]


def to_entry(row: dict[str, Any]) -> ListedPicture:
    """Make a listed picture of a row of the listing."""
    lists = {name: None if row[name] is None else tuple(row[name]) for name in ("box", "pixels")}
    return ListedPicture(**(row | lists))
