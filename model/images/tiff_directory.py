"""Read the first directory of a TIFF, within bounds, and write small TIFFs for a decoder."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from model.errors import ImageRejected
from model.images.limits import MAX_BANDS, MAX_STRIPS, MAX_TAGS
from model.images.sentences import damaged, too_many

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES, MAX_VALUE = 273, 274, 277, 278, 279, 281
PLANAR, PREDICTOR, PALETTE = 284, 317, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
_HOLE = 42113
"""GDAL's tag for the value that stands for no value, written as text."""
_SUBFILE, _SUB_DIRECTORIES, _DNG = 254, 330, 50706
JPEG_TABLES = 347

_NEEDED = {  # tag -> the most values that it may hold
    **dict.fromkeys((WIDTH, LENGTH, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES), 1),
    **{_SUBFILE: 1, _SUB_DIRECTORIES: 100, _DNG: 4, _HOLE: 64},
    **dict.fromkeys((ROWS, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, 332), 1),
    **dict.fromkeys((BITS, MAX_VALUE, EXTRA_SAMPLES, SAMPLE_FORMAT), MAX_BANDS),
    **dict.fromkeys((STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES), MAX_STRIPS),
    **{PALETTE: 3 * 65536, JPEG_TABLES: 65536, 292: 1, 293: 1, 529: 3, 530: 2, 531: 1, 532: 6},
}
_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 7: "B", 16: "Q"}
_STRIPS = (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES)

_SHORT = {BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT, EXTRA_SAMPLES, PREDICTOR}

Tags = dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class Directory:
    """The tags of a TIFF that its pixels need.

    Args:
        data: the whole file.
        order: "<" or ">", as struct writes it.
        tags: tag -> its values. Fractions are two values each.
        kinds: tag -> the number of its type in the file.
    """

    data: bytes
    order: str
    tags: Tags
    kinds: dict[int, int]

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return self.tags.get(tag, (default,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture."""
        return self.one(WIDTH, 0), self.one(LENGTH, 0)

    @property
    def bands(self) -> int:
        """Samples of a pixel."""
        return self.one(SAMPLES, 1)

    @property
    def tiled(self) -> bool:
        """Whether the picture is cut into tiles, not into strips."""
        return TILE_OFFSETS in self.tags

    @property
    def planes(self) -> int:
        """How often the grid of parts repeats: once for each band if they are stored apart."""
        return self.bands if self.one(PLANAR, 1) == 2 else 1

    @property
    def part_size(self) -> tuple[int, int]:
        """(width, height) of a tile, or of a strip; the last strip may be lower."""
        width, height = self.size
        if self.tiled:
            return self.one(TILE_WIDTH, width), self.one(TILE_LENGTH, height)
        return width, min(height, self.one(ROWS, height))

    @property
    def grid(self) -> tuple[int, int]:
        """(columns, rows) of tiles or strips."""
        (width, height), (part_width, part_height) = self.size, self.part_size
        return -(-width // part_width), -(-height // part_height)

    @property
    def hole(self) -> float | None:
        """The value that stands for no value, if the file names one."""
        try:
            return float(bytes(self.tags.get(_HOLE, ())).strip(b"\0 "))
        except ValueError:
            return None

    def part_bytes(self, index: int) -> bytes:
        """The stored bytes of one tile or strip."""
        offsets = self.tags[TILE_OFFSETS if self.tiled else STRIP_OFFSETS]
        lengths = self.tags.get(TILE_BYTES if self.tiled else STRIP_BYTES)
        start = offsets[index]
        end = start + lengths[index] if lengths else len(self.data)
        return self.data[start:end]


def read_directory(data: bytes) -> Directory:
    """Read the first directory; ImageRejected if it is damaged or its parts are too many."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, entry, value = ("Q", "HHQ", 12) if big else ("I", "HHI", 8)
    (at,) = _unpack(order + head, data, 8 if big else 4)
    (count,) = _unpack(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    if count > MAX_TAGS:
        raise ImageRejected(too_many("TIFF", "tags", count, MAX_TAGS))
    tags: Tags = {}
    kinds = {}
    for place in range(at, at + count * (value + (8 if big else 4)), value + (8 if big else 4)):
        tag, kind, length = _unpack(order + entry, data, place)
        if tag not in _NEEDED or kind not in _FORMATS:
            continue
        if length > _NEEDED[tag]:
            parts = "strips or tiles" if tag in _STRIPS else f"values of tag {tag}"
            raise ImageRejected(too_many("TIFF", parts, length, _NEEDED[tag]))
        letters = _FORMATS[kind] * length
        size = struct.calcsize(order + letters)
        start = place + value
        if size > (8 if big else 4):
            (start,) = _unpack(order + head, data, start)
        tags[tag], kinds[tag] = _unpack(order + letters, data, start), kind
    directory = Directory(data, order, {tag: held for tag, held in tags.items() if held}, kinds)
    _check(directory)
    return directory


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    if at + struct.calcsize(form) > len(data):
        raise ImageRejected(damaged("TIFF", ValueError("truncated")))
    return struct.unpack_from(form, data, at)


def _check(directory: Directory) -> None:
    """Refuse a directory whose numbers do not belong together."""
    raw = directory.one(_SUBFILE, 0) & 1 and _SUB_DIRECTORIES in directory.tags
    if raw or _DNG in directory.tags or directory.data[8:10] == b"CR":
        raise ImageRejected("This is a camera's raw picture. Export it as JPEG or PNG.")
    part_width, part_height = directory.part_size
    if not all(directory.size):
        raise ImageRejected(damaged("TIFF", size=directory.size))
    bands = directory.bands
    if not (part_width and part_height and 0 < bands <= MAX_BANDS):
        raise ImageRejected(damaged("TIFF"))
    columns, rows = directory.grid
    parts = directory.tags.get(TILE_OFFSETS if directory.tiled else STRIP_OFFSETS, ())
    if columns * rows * directory.planes > MAX_STRIPS:
        raise ImageRejected(
            too_many("TIFF", "strips or tiles", columns * rows * directory.planes, MAX_STRIPS)
        )
    count = columns * rows * directory.planes
    lengths = directory.tags.get(TILE_BYTES if directory.tiled else STRIP_BYTES, ())
    if len(parts) < count or (len(lengths) < count and (lengths or count > 1)):
        raise ImageRejected(damaged("TIFF"))
    if sum(lengths[:count]) > 2 * len(directory.data):
        raise ImageRejected(damaged("TIFF"))  # parts that share their bytes are unpacked often


def write_tiff(directory: Directory, changes: Tags, parts: bytes | list[bytes]) -> bytes:
    """Write a TIFF with the directory's needed tags, some changed, and these strips or tiles.

    Args:
        changes: tag -> values; no values take the tag away. Tags of offsets are written anew.
        parts: the bytes of each strip or tile.
    """
    parts = [parts] if isinstance(parts, bytes) else parts
    order, tags = directory.order, directory.tags | changes
    for tag in (*_STRIPS, ORIENTATION, _HOLE, _SUBFILE, _SUB_DIRECTORIES):
        tags.pop(tag, None)
    tiled = TILE_WIDTH in tags and bool(tags[TILE_WIDTH])
    offsets, place = [], 8
    for part in parts:
        offsets.append(place)
        place += len(part) + (len(part) & 1)
    tags[TILE_OFFSETS if tiled else STRIP_OFFSETS] = tuple(offsets)
    tags[TILE_BYTES if tiled else STRIP_BYTES] = tuple(map(len, parts))
    entries, values, at = [], b"", place
    held = sorted((tag, numbers) for tag, numbers in tags.items() if numbers)
    after = at + 2 + 12 * len(held) + 4
    for tag, numbers in held:
        kind = 4 if tag in _STRIPS or tag in changes else directory.kinds.get(tag, 4)
        if tag in (
            BITS,
            COMPRESSION,
            PHOTOMETRIC,
            SAMPLES,
            SAMPLE_FORMAT,
            EXTRA_SAMPLES,
            PREDICTOR,
        ):
            kind = 3
        kind = 4 if kind == 16 else kind
        form = _FORMATS[kind]
        packed = struct.pack(f"{order}{len(numbers)}{form[0]}", *numbers)
        count = len(numbers) // len(form)
        if len(packed) > 4:
            place = after + len(values)
            values += packed + bytes(len(packed) & 1)
            packed = struct.pack(f"{order}I", place)
        entries.append(struct.pack(f"{order}HHI", tag, kind, count) + packed.ljust(4, b"\0"))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    padded = [piece for part in parts for piece in (part, bytes(len(part) & 1))]
    number = struct.pack(f"{order}H", len(entries))
    return b"".join((head, *padded, number, *entries, bytes(4), values))
