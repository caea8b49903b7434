"""Bring a decoded picture to RGB of 8 bits: transparency, deep greys, floats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import ImageRejected

_ROWS_AT_ONCE = 256
_PARTS_OF_SCALE = 8
"""Values that span less than this part of a scale would all look alike on it."""
_USUAL_BITS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Scaling:
    """How samples become 8 bits.

    Args:
        bits: bits of an unsigned sample; 0 for floats and signed numbers.
        stated: the largest value that the file says its samples have, or 0.
        value_range: (black, white), "data" for the lowest and highest value, or None.
        inverted: whether the lowest value is white.
    """

    bits: int = 16
    stated: int = 0
    value_range: tuple[float, float] | str | None = None
    inverted: bool = False


def to_rgb(image: Image.Image, scaling: Scaling | None = None) -> Image.Image:
    """Convert any Pillow mode to RGB, transparency laid on white."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        scaling = scaling or Scaling(16 if image.mode.startswith("I;16") else 0)
        return scale_grey(image, scaling)[0]
    if not image.has_transparency_data:
        return image.convert("RGB")
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and max(transparent) > 255:
        # a transparent colour in 16 bits, while Pillow keeps the upper 8 of each channel
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    layered = image if image.mode == "RGBA" else image.convert("RGBA")
    picture = Image.new("RGB", image.size, "white")
    picture.paste(layered, mask=layered.getchannel("A"))
    return picture


def scale_grey(image: Image.Image, scaling: Scaling) -> tuple[Image.Image, str]:
    """Scale a picture of deep grey to 8 bits, with a note; Pillow alone would clip at 255."""
    samples = np.asarray(image)[..., None]
    picture, note = scale_samples(samples, scaling)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        mask = Image.fromarray(np.asarray(image) == transparent)
        picture.paste("white", mask=mask)
    return picture, note


def scale_samples(samples: NDArray[np.generic], scaling: Scaling) -> tuple[Image.Image, str]:
    """Scale (rows, columns, 1 or 3) to 8 bits: RGB, and a note if a range was chosen for it.

    Samples of whole numbers are shown by the narrowest of 8, 10, 12, 14 and 16 bits that holds
    them all, floats from 0 to the narrowest of 1, 255 and 65535, and from the lowest to the
    highest value where none does or they fill little of it. Holes (NaN and infinite values) count
    for nothing and are shown as the lowest value. The note names a range that the samples
    themselves decided.
    """
    single = samples.shape[2] == 1
    low, high, note = _range(samples, scaling)
    grey = np.empty(samples.shape, np.uint8)
    for rows, values in _blocks(samples):
        values -= low
        values *= 255.0 / (high - low or 1.0)
        np.nan_to_num(values, copy=False, nan=0.0)
        np.clip(values, 0, 255, out=values)
        np.rint(values, out=values)
        grey[rows] = values
    if scaling.inverted:
        np.subtract(255, grey, out=grey)
    image = Image.fromarray(grey[:, :, 0] if single else grey)
    return image.convert("RGB"), note


def _blocks(samples: NDArray[np.generic]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Walk through the rows, some at a time, as floats; what is infinite is not a number."""
    for top in range(0, len(samples), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        values = samples[rows].astype(np.float32)
        if samples.dtype.kind == "f":
            values[~np.isfinite(values)] = np.nan
        yield rows, values


def _extremes(samples: NDArray[np.generic]) -> tuple[float, float]:
    """The lowest and the highest value, holes apart; zeros if there is none."""
    low, high = np.inf, -np.inf
    for _, values in _blocks(samples):
        low = min(low, float(np.fmin.reduce(values, axis=None, initial=np.inf)))
        high = max(high, float(np.fmax.reduce(values, axis=None, initial=-np.inf)))
    return (low, high) if low <= high else (0.0, 0.0)


def _range(samples: NDArray[np.generic], scaling: Scaling) -> tuple[float, float, str]:
    """The values of black and white, and a note."""
    given = scaling.value_range
    if given is not None and given != "data":
        black, white = _given_range(given)
        return black, white, ""
    low, high = _extremes(samples)
    if given == "data":
        return low, high, ""
    if scaling.bits:
        return _range_of_bits(low, high, scaling)
    if (full := _standard_scale(low, high)) is not None:
        return 0.0, full, ""
    return low, high, f"Values from {low:,.6g} to {high:,.6g} are shown from black to white."


def _standard_scale(low: float, high: float) -> float | None:
    """The white of 0..1, 0..255 or 0..65535 if the values fill a good part of it."""
    if low < 0:
        return None
    for full in (1.0, 255.0, 65535.0):
        if high <= full:
            fills = full == 1.0 or low == high or high - low >= full / _PARTS_OF_SCALE
            return full if fills else None
    return None


def _range_of_bits(low: float, high: float, scaling: Scaling) -> tuple[float, float, str]:
    whole = float(2**scaling.bits - 1)
    if 0 < scaling.stated < whole and high <= scaling.stated:
        return 0.0, float(scaling.stated), ""
    used = next((bits for bits in _USUAL_BITS if high < 2**bits), scaling.bits)
    if scaling.bits <= 8 or low == high or used >= scaling.bits:
        return 0.0, whole, ""
    top = 2**used - 1
    note = f"The values use {used} of {scaling.bits} bits: {top:,} is shown as "
    return 0.0, float(top), note + ("black." if scaling.inverted else "white.")


def _given_range(given: tuple[float, float] | str) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ImageRejected(
            'A range of values is given as (black, white) with black below white, or as "data".'
        )
    return low, high
