"""Open a TIFF: whole, by parts at a fraction of its size, or sample by sample."""

from __future__ import annotations

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from model.errors import ImageRejected
from model.images import tiff_samples
from model.images.colours import to_rgb
from model.images.jpeg import pare
from model.images.limits import MAX_PIXELS, MAX_RAW_PARTS
from model.images.pared import Watch, WatchedFile
from model.images.sentences import AGAIN, damaged, pixels, too_many
from model.images.tiff_directory import (
    COMPRESSION,
    JPEG_TABLES,
    LENGTH,
    ORIENTATION,
    PHOTOMETRIC,
    ROWS,
    Directory,
    Tags,
    write_tiff,
)

_OLD_JPEG, _JPEG = 6, 7
_GREY, _RGB, _YCBCR = 1, 2, 6
_NO_YCBCR = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
"""A JPEG segment that says that the colours are stored as they are."""
_PIXELS_AT_ONCE = 4_000_000


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
    if bands is not None or value_range is not None or tiff_samples.needs_own_reading(directory):
        return tiff_samples.open_samples(directory, factor, bands, value_range, watch)
    if factor == 1:
        return _whole(directory, watch), ""
    known = directory.one(PHOTOMETRIC, 1) in (_GREY, _RGB, _YCBCR) and directory.planes == 1
    if directory.one(COMPRESSION, 1) == _JPEG and known:
        return _by_jpegs(directory, factor, watch), ""
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


def _decode(data: bytes, watch: Watch, factor: int = 1) -> Image.Image:
    with TiffImagePlugin.TiffImageFile(WatchedFile(data, watch)) as image:
        image.load()
        if image.mode == "RGB" and factor > 1:
            return image.reduce(factor)
        picture = to_rgb(image)
        return picture.reduce(factor) if factor > 1 else picture


def _whole(directory: Directory, watch: Watch) -> Image.Image:
    columns, rows = directory.grid
    count = columns * rows * directory.planes
    if directory.one(COMPRESSION, 1) == 1 and count > MAX_RAW_PARTS:
        raise ImageRejected(too_many("TIFF", "strips or tiles", count, MAX_RAW_PARTS))
    parts = [directory.part_bytes(index) for index in range(count)]
    return _decode(write_tiff(directory, {}, parts), watch)


def _by_parts(directory: Directory, factor: int, watch: Watch) -> Image.Image:
    """Decode some rows of tiles or strips after the other, as small TIFFs, and reduce each."""
    (width, height), part_height = directory.size, directory.part_size[1]
    columns, rows = directory.grid
    at_once = max(1, _PIXELS_AT_ONCE // (width * part_height))
    if part_height % factor:
        at_once = -(-at_once // factor) * factor
    if width * min(height, at_once * part_height) > MAX_PIXELS:
        raise ImageRejected(
            f"This TIFF of {pixels(directory.size)} is stored in pieces of "
            f"{pixels(directory.part_size)}; at most {MAX_PIXELS // 1_000_000} megapixels are "
            "unpacked at once. Save it in tiles, or as JPEG."
        )
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for first in range(0, rows, at_once):
        watch.check()
        top = first * part_height
        changes: Tags = {LENGTH: (min(height - top, at_once * part_height),), ROWS: (part_height,)}
        parts = [
            directory.part_bytes(plane * columns * rows + index)
            for plane in range(directory.planes)
            for index in range(first * columns, min(rows, first + at_once) * columns)
        ]
        small.paste(
            _decode(write_tiff(directory, changes, parts), watch, factor), (0, top // factor)
        )
    return small


def _by_jpegs(directory: Directory, factor: int, watch: Watch) -> Image.Image:
    """Decode tiles or strips that are JPEGs, each at a fraction of its size."""
    (width, height), (part_width, part_height) = directory.size, directory.part_size
    if (part_width % factor and part_width < width) or part_height % factor:
        return _by_parts(directory, factor, watch)
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    columns, rows = directory.grid
    tables = bytes(directory.tags.get(JPEG_TABLES, ())).removesuffix(b"\xff\xd9")
    heading = tables or b"\xff\xd8"
    if directory.one(PHOTOMETRIC, 1) != _YCBCR:
        heading += _NO_YCBCR
    for index in range(columns * rows):
        watch.check()
        pared = pare(heading + directory.part_bytes(index)[2:])
        with JpegImagePlugin.JpegImageFile(WatchedFile(pared.data, watch)) as image:
            if image.width > part_width or image.height > part_height:
                raise ImageRejected(damaged("TIFF"))
            image.draft(None, (image.width // factor, image.height // factor))
            image.load()
            part = image if image.mode == "RGB" else to_rgb(image)
            place = index % columns * part_width, index // columns * part_height
            small.paste(part, (place[0] // factor, place[1] // factor))
    return small
