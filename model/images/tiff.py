"""Open a TIFF: whole, by parts at a fraction of its size, or sample by sample."""

from __future__ import annotations

from PIL import Image, TiffImagePlugin

from model.errors import ImageRejected
from model.images import tiff_samples
from model.images.colours import to_rgb
from model.images.limits import MAX_PIXELS, MAX_RAW_PARTS
from model.images.pared import Watch, WatchedFile
from model.images.sentences import AGAIN, damaged, too_many
from model.images.tiff_directory import (
    COMPRESSION,
    LENGTH,
    ORIENTATION,
    ROWS,
    STRIP_OFFSETS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
    write_tiff,
)

_OLD_JPEG = 6


def open_tiff(
    directory: Directory,
    factor: int,
    bands: tuple[int, ...] | None,
    value_range: tuple[float, float] | str | None,
    watch: Watch,
) -> tuple[Image.Image, str]:
    """Decode at one `factor`-th of the size, as RGB and not yet upright, with a note.

    Args:
        directory: what `read_directory` returned.
        factor: 1, 2, 4, 8 or 16.
        bands: which samples of a pixel are shown, one or three.
        value_range: the values that become black and white, "data" for the lowest and highest.
        watch: stops the work once it took too long.
    """
    _check(directory)
    if bands is not None or value_range is not None or tiff_samples.needed(directory):
        return tiff_samples.open_samples(directory, factor, bands, value_range, watch)
    if factor == 1:
        return _whole(directory, watch), ""
    return _by_parts(directory, factor, watch), ""


def orientation(directory: Directory) -> int:
    """EXIF's number for how to turn the picture."""
    return directory.one(ORIENTATION, 1)


def _check(directory: Directory) -> None:
    if directory.one(COMPRESSION, 1) == _OLD_JPEG:
        raise ImageRejected(f"This TIFF uses the JPEG of 1992, which is not read here. {AGAIN}")
    width, height = directory.part_size
    if directory.tiled and width * height > MAX_PIXELS:
        raise ImageRejected(f"This TIFF is built of tiles larger than the picture. {AGAIN}")


def _decode(data: bytes, watch: Watch) -> Image.Image:
    with TiffImagePlugin.TiffImageFile(WatchedFile(data, watch)) as image:
        image.load()
        return to_rgb(image)


def _whole(directory: Directory, watch: Watch) -> Image.Image:
    columns, rows = directory.grid
    count = columns * rows * directory.planes
    if directory.one(COMPRESSION, 1) == 1 and count > MAX_RAW_PARTS:
        raise ImageRejected(too_many("TIFF", "strips or tiles", count, MAX_RAW_PARTS))
    parts = [directory.part_bytes(index) for index in range(count)]
    if sum(map(len, parts)) > len(directory.data):
        raise ImageRejected(damaged("TIFF"))  # parts that share their bytes would be unpacked often
    return _decode(write_tiff(directory, {}, parts), watch)


def _by_parts(directory: Directory, factor: int, watch: Watch) -> Image.Image:
    """Decode one tile or strip after the other, each as a small TIFF, and make it smaller."""
    if directory.planes > 1:
        raise ImageRejected(
            f"This TIFF is large and stores its colours apart, which is not read here. {AGAIN}"
        )
    (width, height), (part_width, part_height) = directory.size, directory.part_size
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    columns, rows = directory.grid
    for index in range(columns * rows):
        watch.check()
        left, top = index % columns * part_width, index // columns * part_height
        rest = min(part_height, height - top)
        first = -top % factor  # rows to skip until one that belongs to the small picture
        if part_height % factor and first >= rest:
            continue
        part = _part(directory, index, rest, watch)
        part = part.crop((0, 0, min(part_width, width - left), rest))
        if part_height % factor == 0 and left % factor == 0:
            part = part.reduce(factor)
        else:
            size = (-(-part.width // factor), -(-(rest - first) // factor))
            box = (0, first, part.width, rest)
            part = part.resize(size, Image.Resampling.NEAREST, box)
        small.paste(part, (left // factor, (top + first) // factor))
    return small


def _part(directory: Directory, index: int, rows: int, watch: Watch) -> Image.Image:
    width, height = directory.part_size
    rows = height if directory.tiled else rows
    changes: dict[int, tuple[int, ...]] = {
        **{WIDTH: (width,), LENGTH: (rows,), ROWS: (rows,)},
        **{TILE_WIDTH: (), TILE_LENGTH: (), TILE_OFFSETS: (), STRIP_OFFSETS: ()},
    }
    return _decode(write_tiff(directory, changes, directory.part_bytes(index)), watch)
