"""Open a picture from outside, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from model.errors import ImageRejected
from model.images import bmp, decoder_process, gif, jpeg, png, png_samples, tiff, webp
from model.images.colours import Scaling, scale_grey, to_rgb
from model.images.kinds import kind_of, recognise_kind
from model.images.limits import ENDINGS, MAX_ASPECT, MAX_PIXELS, MAX_REDUCIBLE_PIXELS
from model.images.orientation import turn_upright
from model.images.pared import Pared, Watch, WatchedFile
from model.images.reading import read_bytes
from model.images.sentences import damaged, pixels, too_large
from model.images.tiff_directory import read_directory
from model.images.tiff_samples import needs_own_reading

Source = bytes | str | os.PathLike[str] | IO[bytes]

_FORMATS = {
    "JPEG": (jpeg.pare, JpegImagePlugin.JpegImageFile),
    "PNG": (png.pare, PngImagePlugin.PngImageFile),
    "GIF": (gif.pare, GifImagePlugin.GifImageFile),
    "WEBP": (webp.pare, WebPImagePlugin.WebPImageFile),
    "BMP": (bmp.pare, BmpImagePlugin.BmpImageFile),
}
_FACTORS = (1, 2, 4, 8)
_BLOCK = 16_384
_NO_RANGE = "A range of values can be chosen in a TIFF, or in a PNG of 16 bits; this is neither."


@dataclass(frozen=True)
class OpenedPicture:
    """A picture from outside, and what had to be decided to show it.

    Args:
        image: upright, of mode RGB.
        note: a sentence about bands or the range of values that were chosen, or "".
        bands: how many bands there are to choose from, 1 where only a range can be chosen, and 0
            for an ordinary photo.
    """

    image: Image.Image
    note: str = ""
    bands: int = 0


def open_image(
    source: Source,
    max_side: int | None = None,
    *,
    bands: int | Sequence[int] | None = None,
    value_range: tuple[float, float] | str | None = None,
) -> Image.Image:
    """Open a picture from outside as an upright PIL image of mode RGB.

        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
        >>> image = open_image(file.getvalue(), max_side=320)
        >>> image.mode, image.size
        ('RGB', (320, 240))

    It takes the first frame or page, applies EXIF orientation, lays transparency on white and
    scales deep greys to 8 bits. JPEGs and TIFFs above MAX_PIXELS are decoded at a half, a quarter
    or an eighth of their size. Safe in threads.

    Args:
        source: the file's bytes, its path, or an open binary file, which is read from its start.
        max_side: largest length of the longer side in pixels; None keeps the size. A JPEG is
            decoded at a fraction of its size where that suffices.
        bands: of a TIFF, which samples of a pixel are shown, counted from 0: one as grey, three as
            red, green and blue. The first, or the first three, by default.
        value_range: of a TIFF or a picture of deep grey, the values (black, white), or "data" for
            the lowest and the highest in the file. By default the bits that the values use.

    Raises:
        ImageRejected: for a file that is damaged, is not a picture of the formats in ENDINGS, or
            is larger than MAX_BYTES, MAX_PIXELS, MAX_REDUCIBLE_PIXELS or MAX_ASPECT allow, or is
            cut into more parts than any program writes. No other error is raised.
    """
    return open_picture(source, max_side, bands=bands, value_range=value_range).image


def open_picture(
    source: Source,
    max_side: int | None = None,
    *,
    bands: int | Sequence[int] | None = None,
    value_range: tuple[float, float] | str | None = None,
) -> OpenedPicture:
    """Open a picture as `open_image` does, with a note about what was chosen to show it."""
    data = read_bytes(source)
    kind = recognise_kind(data)
    try:
        chosen = _as_bands(bands)
        picture, orientation, note, count = _decode(data, kind, max_side, chosen, value_range)
        if max_side and max(picture.size) > max_side:
            picture = picture.resize(_within(picture.size, max_side), Image.Resampling.BICUBIC)
        picture = turn_upright(picture, orientation)
    except ImageRejected:
        raise
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise ImageRejected(damaged(kind, error, _stated_size(data, kind))) from error
    picture.info.clear()  # a photo's EXIF holds the place where it was taken
    return OpenedPicture(picture, note, count)


def looks_like_a_picture(path: Path) -> bool:
    """Whether a file is taken by its ending, or has none and begins as a picture does.

    Hidden files are not, such as those that macOS puts beside each file on a foreign disk.
    """
    if path.name.startswith("."):
        return False
    if path.suffix:
        return path.suffix.lower().removeprefix(".") in ENDINGS
    try:
        with path.open("rb") as file:
            return path.is_file() and kind_of(file.read(64)) is not None
    except OSError:
        return False


def _decode(
    data: bytes,
    kind: str,
    max_side: int | None,
    bands: tuple[int, ...] | None,
    value_range: tuple[float, float] | str | None,
) -> tuple[Image.Image, int, str, int]:
    """Decode a file: RGB, EXIF's number of how to turn it, a note, and the bands to choose from."""
    watch = Watch(kind)
    if kind == "TIFF":
        directory = read_directory(data)
        factor = _factor(directory.size, max_side, kind)
        picture, note = tiff.open_tiff(directory, factor, bands, value_range, watch)
        count = directory.bands if needs_own_reading(directory) else 0
        return picture, tiff.orientation(directory), note, count
    if bands is not None:
        raise ImageRejected(f"Bands can be chosen in a TIFF; this is a {kind}.")
    if kind in ("AVIF", "HEIF"):
        if value_range is not None:
            raise ImageRejected(_NO_RANGE)
        return decoder_process.decode(data, kind, max_side), 1, "", 0
    pare, plug_in = _FORMATS[kind]
    pared = pare(data)
    with plug_in(WatchedFile(pared.data, watch)) as image:
        factor = _factor(image.size, max_side, kind)
        if kind == "PNG" and png_samples.has_deep_colours(pared.data):
            picture, note = png_samples.open_deep_colours(pared, value_range, watch)
            return picture, pared.orientation, note, 1
        if factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))
        image.decodermaxblock = _BLOCK
        image.load()
        picture, note = _to_rgb(image, pared, value_range)
        return picture, pared.orientation, note, int(image.mode.startswith("I"))


def _to_rgb(
    image: ImageFile.ImageFile, pared: Pared, value_range: tuple[float, float] | str | None
) -> tuple[Image.Image, str]:
    if not image.mode.startswith("I"):
        if value_range is not None:
            raise ImageRejected(_NO_RANGE)
        return to_rgb(image), ""
    stated = (1 << pared.significant_bits) - 1
    return scale_grey(image, Scaling(16, stated, value_range))


# -- sizes --------------------------------------------------------------------------------------


def _factor(size: tuple[int, int], max_side: int | None, kind: str) -> int:
    """How many times smaller to decode; ImageRejected for a picture that is too large."""
    width, height = size
    if not width * height:
        raise ImageRejected(damaged(kind, size=size))
    if max(size) > MAX_ASPECT * min(size):
        raise ImageRejected(
            f"The picture is {pixels(size)}: too long and thin to look at. "
            f"Crop it, so that one side is at most {MAX_ASPECT} times the other."
        )
    reducible = kind in ("JPEG", "TIFF")
    if width * height > (MAX_REDUCIBLE_PIXELS if reducible else MAX_PIXELS):
        raise ImageRejected(too_large(size, reducible))
    needed = next(f for f in _FACTORS if width * height <= MAX_PIXELS * f * f)
    if kind == "TIFF":  # read whole if it fits: libtiff is faster than part by part
        return needed
    spared = max(width, height) // max_side if max_side else 1
    return max(needed, *(f for f in _FACTORS if f <= max(1, spared)))


def _stated_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Read (width, height) from the header, for messages, in formats where that is simple."""
    return {"PNG": png.stated_size, "BMP": bmp.stated_size}.get(kind, lambda data: None)(data)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Shrink a size, shape kept, until its longer side is at most `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _as_bands(bands: int | Sequence[int] | None) -> tuple[int, ...] | None:
    try:
        if bands is None:
            return None
        return (int(bands),) if isinstance(bands, int) else tuple(int(band) for band in bands)
    except (TypeError, ValueError) as error:
        raise ImageRejected("Bands are given as one number or three, counted from 0.") from error
