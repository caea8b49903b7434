"""Read a TIFF of deep, floating-point or many samples, choose bands, and bring them to 8 bits."""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from model.errors import ImageRejected
from model.images.colours import Scaling, scale_samples
from model.images.limits import MAX_SAMPLE_BYTES
from model.images.pared import Watch, WatchedFile
from model.images.sentences import AGAIN, damaged, pixels
from model.images.tiff_directory import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    FILL_ORDER,
    LENGTH,
    MAX_VALUE,
    PALETTE,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    ROWS,
    SAMPLE_FORMAT,
    SAMPLES,
    TILE_LENGTH,
    TILE_WIDTH,
    WIDTH,
    Directory,
    write_tiff,
)

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_NONE, _DEFLATE = 1, (8, 32946)
_BY_BYTES = {_NONE, 5, 8, 32773, 32946, 34925, 50000}
"""Compressions that know nothing of samples: none, LZW, deflate, PackBits, LZMA, Zstandard."""
_TYPES = {
    **{(_UNSIGNED, bits): f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(_SIGNED, bits): f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(_FLOAT, bits): f"f{bits // 8}" for bits in (16, 32, 64)},
}


def needs_own_reading(directory: Directory) -> bool:
    """Whether Pillow cannot show this picture as it should be: deep grey, floats, many bands."""
    bits, photometric, bands = _bits(directory), directory.one(PHOTOMETRIC, 0), directory.bands
    if directory.one(COMPRESSION, 1) not in _BY_BYTES:
        return False
    if directory.one(SAMPLE_FORMAT, _UNSIGNED) in (_SIGNED, _FLOAT) or bits > 16:
        return True
    alpha = len(directory.tags.get(EXTRA_SAMPLES, ()))
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        return bits > 8 or bands > 1 + min(alpha, 1) or (bands > 1 and bits != 8)
    if photometric == _RGB:
        return bands not in (3, 4) or bits not in (8, 16) or (bits == 16 and bands == 3)
    return photometric == _CMYK and bands not in (4, 5)


def open_samples(
    directory: Directory,
    factor: int,
    bands: tuple[int, ...] | None,
    value_range: tuple[float, float] | str | None,
    watch: Watch,
) -> tuple[Image.Image, str]:
    """Read the chosen bands, every `factor`-th sample, and scale them; returns RGB and a note."""
    _check(directory)
    chosen = _choose(directory, bands)
    size = directory.size
    itemsize = 2 if _bits(directory) <= 16 and not _is_float(directory) else 4
    while math.prod(size) // factor**2 * len(chosen) * itemsize > MAX_SAMPLE_BYTES:
        factor *= 2
    samples = _read(directory, chosen, factor, watch)
    if (hole := directory.hole) is not None and samples.dtype == np.float32:
        samples[samples == np.float32(hole)] = np.nan
    grey = directory.one(PHOTOMETRIC, 0) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    scaling = Scaling(
        bits=_bits(directory) if _format(directory) == _UNSIGNED else 0,
        stated=max(directory.tags.get(MAX_VALUE, (0,))),
        value_range=value_range,
        inverted=directory.one(PHOTOMETRIC, 0) == _WHITE_IS_ZERO,
    )
    image, note = scale_samples(samples, scaling)
    if bands is None and directory.bands > len(chosen) and (grey or directory.bands > 4):
        numbers = " to ".join(str(band + 1) for band in sorted({chosen[0], chosen[-1]}))
        shown = f"bands {numbers}" if len(chosen) > 1 else f"band {numbers}"
        note = f"The file has {directory.bands} bands; {shown} are shown. {note}".strip()
        note = note.replace("band 1 are", "band 1 is")
    return image, note


def _bits(directory: Directory) -> int:
    return directory.one(BITS, 1)


def _format(directory: Directory) -> int:
    return directory.one(SAMPLE_FORMAT, _UNSIGNED)


def _is_float(directory: Directory) -> bool:
    return _format(directory) == _FLOAT


def _check(directory: Directory) -> None:
    bits = directory.tags.get(BITS, (1,))
    formats = directory.tags.get(SAMPLE_FORMAT, (_UNSIGNED,))
    packed = _format(directory) == _UNSIGNED and 1 <= bits[0] < 16
    if len({*bits}) > 1 or len({*formats}) > 1:
        raise ImageRejected(f"The bands of this TIFF are of different types. {AGAIN}")
    if not packed and (formats[0], bits[0]) not in _TYPES:
        raise ImageRejected(
            f"This TIFF holds samples of {bits[0]} bits and kind {formats[0]}, "
            "which are not read here. Save it with 8 or 16 bits, or as 32-bit floats."
        )
    if directory.one(COMPRESSION, 1) not in _BY_BYTES:
        raise ImageRejected(
            "Bands and ranges can be chosen in TIFFs that are not compressed, or by LZW, deflate "
            "or PackBits; this one is compressed as a photo. Open it without choosing."
        )
    if PALETTE in directory.tags and directory.one(PHOTOMETRIC, 0) == 3:
        raise ImageRejected("This TIFF has a palette of colours, not bands. Open it as it is.")
    part = directory.part_size
    if _row_bytes(directory) * part[1] > MAX_SAMPLE_BYTES:
        raise ImageRejected(
            f"This TIFF is built of parts that are too large: {pixels(part)} of "
            f"{directory.bands} bands. Save it in tiles or strips."
        )


def _choose(directory: Directory, bands: tuple[int, ...] | None) -> tuple[int, ...]:
    """The bands that are shown, counted from zero: one as grey, three as red, green, blue."""
    count = directory.bands
    if bands is None:
        extra = len(directory.tags.get(EXTRA_SAMPLES, ()))
        grey = directory.one(PHOTOMETRIC, 0) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
        one = count < 3 or (grey and count - extra == 1 and count == 2)
        return (0,) if one else (0, 1, 2)
    if len(bands) not in (1, 3) or not all(0 <= band < count for band in bands):
        raise ImageRejected(
            f"This TIFF has {count:,} bands: choose one or three of 0 to {count - 1:,}."
        )
    return tuple(bands)


def _read(
    directory: Directory, chosen: tuple[int, ...], factor: int, watch: Watch
) -> NDArray[np.generic]:
    """Read every `factor`-th sample of some bands: (rows, columns, bands)."""
    (width, height), (part_width, part_height) = directory.size, directory.part_size
    small = (-(-height // factor), -(-width // factor), len(chosen))
    unsigned = _format(directory) == _UNSIGNED and _bits(directory) <= 16
    out = np.zeros(small, np.uint16 if unsigned else np.float32)
    columns, rows = directory.grid
    apart = directory.planes > 1
    for row in range(rows):
        top = row * part_height
        first = -top % factor
        rest = min(part_height, height - top)
        if first >= rest:
            continue
        for column in range(columns):
            left = column * part_width
            start = -left % factor
            for place, band in enumerate(chosen):
                watch.check()
                if apart or place == 0:
                    index = row * columns + column + (band * rows * columns if apart else 0)
                    stored = part_height if directory.tiled else rest
                    samples = _part(directory, index, stored, watch)
                taken = samples[first:rest:factor, start : width - left : factor]
                y, x = (top + first) // factor, (left + start) // factor
                piece = taken[..., 0 if apart else band]
                with np.errstate(all="ignore"):
                    out[y : y + piece.shape[0], x : x + piece.shape[1], place] = piece
    return out


def _row_bytes(directory: Directory) -> int:
    bands = 1 if directory.planes > 1 else directory.bands
    return -(-directory.part_size[0] * bands * _bits(directory) // 8)


def _part(directory: Directory, index: int, rows: int, watch: Watch) -> NDArray[np.generic]:
    """Unpack one tile or strip: (rows, columns, bands)."""
    bits, width = _bits(directory), directory.part_size[0]
    bands = 1 if directory.planes > 1 else directory.bands
    stride = _row_bytes(directory)
    raw = _unpack(directory, index, stride, rows, watch)
    lines = np.frombuffer(raw, np.uint8).reshape(rows, stride)
    predictor = directory.one(PREDICTOR, 1)
    if (_format(directory), bits) not in _TYPES:
        if predictor != 1:
            raise ImageRejected(damaged("TIFF"))
        return _packed(lines, bits, width * bands).reshape(rows, width, bands)
    kind = np.dtype(directory.order + _TYPES[_format(directory), bits])
    if predictor == 3:
        summed = np.add.accumulate(lines.reshape(rows, -1, bands), axis=1, dtype=np.uint8).reshape(
            rows, kind.itemsize, width * bands
        )
        shuffled = np.ascontiguousarray(summed.transpose(0, 2, 1))
        return shuffled.view(kind.newbyteorder(">")).reshape(rows, width, bands)
    samples = lines.view(kind).reshape(rows, width, bands)
    if predictor == 2:
        native = samples.view(directory.order + f"u{kind.itemsize}")
        native = native.astype(native.dtype.newbyteorder("="))
        np.add.accumulate(native, axis=1, dtype=native.dtype, out=native)
        return native.view(kind.newbyteorder("="))
    if predictor != 1:
        raise ImageRejected(damaged("TIFF"))
    return samples


def _packed(lines: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """Take samples of an odd number of bits, such as 12, out of bytes: (rows, count)."""
    out = np.empty((len(lines), count), np.uint16)
    for y, line in enumerate(lines):
        single = np.unpackbits(line)[: count * bits].reshape(count, bits)
        out[y] = single @ (1 << np.arange(bits - 1, -1, -1, dtype=np.uint16))
    return out


def _unpack(directory: Directory, index: int, stride: int, rows: int, watch: Watch) -> bytes:
    """Undo the compression of one tile or strip."""
    stored, packing = directory.part_bytes(index), directory.one(COMPRESSION, 1)
    size = stride * rows
    if packing == _NONE:
        raw = stored[:size]
    elif packing in _DEFLATE:
        raw = zlib.decompressobj().decompress(stored, size)
    else:
        raw = _by_libtiff(directory, stored, stride, rows, watch)
    if len(raw) < size:
        raise ImageRejected(damaged("TIFF", ValueError("truncated")))
    return raw


def _by_libtiff(directory: Directory, stored: bytes, stride: int, rows: int, watch: Watch) -> bytes:
    """Have libtiff unpack a part, as if it were a grey picture of one byte a sample."""
    changes: dict[int, tuple[int, ...]] = {
        **{WIDTH: (stride,), LENGTH: (rows,), ROWS: (rows,), BITS: (8,), SAMPLES: (1,)},
        **{PHOTOMETRIC: (_BLACK_IS_ZERO,), PLANAR: (1,), PREDICTOR: (1,), SAMPLE_FORMAT: (1,)},
        **{TILE_WIDTH: (), TILE_LENGTH: (), EXTRA_SAMPLES: (), PALETTE: (), MAX_VALUE: ()},
        FILL_ORDER: (),
    }
    small = write_tiff(directory, changes, stored)
    with TiffImagePlugin.TiffImageFile(WatchedFile(small, watch)) as image:
        return image.tobytes()
