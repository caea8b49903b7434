"""Read a PNG of 16-bit colours with all its bits; Pillow keeps the upper 8 of each sample."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from model.images.colours import Scaling, scale_samples, to_rgb
from model.images.pared import Pared, Watch, WatchedFile

_RGB, _GREY_ALPHA, _RGB_ALPHA = 2, 4, 6
_LARGE = 8_000_000
"""Pixels from which the lower bytes are read only where the upper ones alone show little; then of
every second row and column."""
_LITTLE = 64
"""Upper bytes below this one: the samples use 14 bits or fewer."""


def has_deep_colours(data: bytes) -> bool:
    """Whether a PNG has 16 bits a sample, and more than one sample a pixel."""
    return data[24:26] in (bytes((16, kind)) for kind in (_RGB, _GREY_ALPHA, _RGB_ALPHA))


def open_deep_colours(
    pared: Pared, value_range: tuple[float, float] | str | None, watch: Watch
) -> tuple[Image.Image, str]:
    """Decode and scale to 8 bits: RGB on white, and a note if a range was chosen for it."""
    upper = _decode(pared.data, watch, "B")
    large = upper.width * upper.height > _LARGE
    if large and value_range is None and np.asarray(upper)[..., :3].max() >= _LITTLE:
        return to_rgb(upper), ""
    step = 2 if large else 1
    samples = np.asarray(upper)[::step, ::step].astype(np.uint16)
    transparent = upper.info.get("transparency")
    del upper
    if pared.data[25] == _GREY_ALPHA:
        colours, alpha = _grey_and_alpha(samples)
    else:
        samples <<= 8
        samples |= np.asarray(_decode(pared.data, watch, "L"))[::step, ::step]
        colours, alpha = samples[..., :3], None
        if samples.shape[2] == 4:
            alpha = (samples[..., 3] >> 8).astype(np.uint8)
    if isinstance(transparent, tuple):
        hidden = (colours == np.array(transparent, np.uint16)).all(axis=-1)
        alpha = np.where(hidden, 0, 255).astype(np.uint8)
    stated = (1 << pared.significant_bits) - 1
    picture, note = scale_samples(colours, Scaling(16, stated, value_range))
    if alpha is None:
        return picture, note
    on_white = Image.new("RGB", picture.size, "white")
    on_white.paste(picture, mask=Image.fromarray(alpha))
    return on_white, note


def _grey_and_alpha(
    read: NDArray[np.uint16],
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Take grey and alpha of 16 bits out of pixels that were read as four samples of 8."""
    grey = (read[..., :1] << 8 | read[..., 1:2]).astype(np.uint16)
    return grey, read[..., 2].astype(np.uint8)


def _decode(data: bytes, watch: Watch, byte: str) -> Image.Image:
    """Decode the upper ("B") or the lower ("L") byte of every sample.

    Pillow takes the first byte of each big-endian sample, and of a little-endian one the second:
    told that the samples are little-endian, it takes the lower bytes. Grey with alpha has as many
    bytes a pixel as RGBA of 8 bits, and is read as that, whole.
    """
    if data[25] == _GREY_ALPHA:
        data = _as_rgba_of_8_bits(data)
    with PngImagePlugin.PngImageFile(WatchedFile(data, watch)) as image:
        image.tile = [_of_byte(tile, byte) for tile in image.tile]
        image.load()
        return image


def _of_byte(tile: PngImagePlugin.ImageFile._Tile, byte: str) -> PngImagePlugin.ImageFile._Tile:
    names = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    changed = tuple(n.replace(";16B", f";16{byte}") if isinstance(n, str) else n for n in names)
    return tile._replace(args=changed if isinstance(tile.args, tuple) else changed[0])


def _as_rgba_of_8_bits(data: bytes) -> bytes:
    header = b"IHDR" + data[16:24] + bytes((8, _RGB_ALPHA)) + data[26:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
