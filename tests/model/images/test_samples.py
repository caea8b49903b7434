"""Deep, floating-point and many-band pictures: which values become which greys."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.errors import ImageRejected
from model.images import open_image, open_picture
from tests.fuzz.hostile_pictures import chunk, encoded, grey_tags, tiff

tifffile = pytest.importorskip("tifffile")
CHANCE = np.random.default_rng(0)


def written(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", **options})
    return file.getvalue()


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)[..., 0].astype(int)


@given(
    st.sampled_from(["u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8"]),
    st.sampled_from(["<", ">"]),
    st.sampled_from([None, "zlib"]),
    st.sampled_from([None, (16, 32)]),
    st.booleans(),
    st.integers(1, 5),
)
@settings(max_examples=150, deadline=None)
def test_a_chosen_band_and_range_is_a_formula(kind, order, packing, tile, apart, bands):
    """Against NumPy's own arithmetic in float64, from what tifffile wrote."""
    values = np.random.default_rng(bands).integers(0, 120, (23, 37, bands)).astype(kind)
    several = {"planarconfig": "separate" if apart else "contig"} if bands > 1 else {}
    data = written(
        values[..., 0] if bands == 1 else values.transpose(2, 0, 1) if apart else values,
        byteorder=order,
        compression=packing,
        predictor=packing is not None and kind[0] != "f",
        tile=tile,
        **several,
    )
    band = bands - 1
    shown = grey(open_image(data, bands=band, value_range=(20, 100)))
    exact = np.clip((values[..., band].astype(float) - 20) / 80, 0, 1) * 255
    assert np.abs(shown - exact).max() <= 0.5001


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_deflate", "packbits", "raw"])
@pytest.mark.parametrize("predictor", [1, 3])
def test_floats_of_libtiff(packing, predictor):
    values = np.linspace(0, 1, 40 * 30, dtype=np.float32).reshape(30, 40)
    info = {317: predictor} if predictor > 1 and packing in ("tiff_lzw", "tiff_deflate") else {}
    data = encoded(Image.fromarray(values), "TIFF", compression=packing, tiffinfo=info)
    assert np.abs(grey(open_image(data)) - values.astype(float) * 255).max() <= 0.5001


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero(bits, order):
    values = np.linspace(0, 2**bits - 1, 16 * 16).reshape(16, 16).round().astype(f"u{bits // 8}")
    data = written(values, photometric="miniswhite", byteorder=order)
    exact = 255 * (1 - values.astype(float) / (2**bits - 1))
    assert np.abs(grey(open_image(data)) - exact).max() <= 0.5001


def test_one_value_of_white_is_zero():
    data = written(np.full((16, 16), 3000, np.uint16), photometric="miniswhite")
    assert abs(grey(open_image(data))[0, 0] - 243) <= 1


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
@pytest.mark.parametrize(("bits", "whole"), [(12, 4095), (10, 1023), (14, 16383)])
def test_fewer_bits_in_sixteen_are_shown_by_the_bits_they_use(kind, bits, whole):
    values = np.linspace(0, whole, 32 * 32).reshape(32, 32).round().astype(np.uint16)
    opened = open_picture(encoded(Image.fromarray(values), kind))
    assert np.abs(grey(opened.image) - values.astype(float) * 255 / whole).max() <= 0.5001
    assert f"{bits} of 16 bits" in opened.note and f"{whole:,}" in opened.note


def deep_png(samples: np.ndarray) -> bytes:
    """Write samples (rows, columns, 2 to 4) of 16 bits; each row is filtered in another way."""
    rows, columns, count = samples.shape
    lines = samples.astype(">u2").reshape(rows, -1).view(np.uint8).astype(int)
    step = 2 * count
    left = np.pad(lines, ((0, 0), (step, 0)))[:, :-step]
    up = np.pad(lines, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(up, ((0, 0), (step, 0)))[:, :-step]
    a, b, c = (np.abs(left + up - corner - near) for near in (left, up, corner))
    paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
    guesses = [0 * lines, left, up, (left + up) // 2, paeth]
    body = b"".join(
        bytes((y % 5,)) + ((lines[y] - guesses[y % 5][y]) % 256).astype(np.uint8).tobytes()
        for y in range(rows)
    )
    kind = {2: 4, 3: 2, 4: 6}[count]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_colours_of_16_bits_keep_them_until_they_are_scaled(count, bits):
    whole = 2**bits - 1
    samples = CHANCE.integers(0, whole + 1, (11, 9, count))
    samples[0, 0, 0] = whole
    if count != 3:
        samples[..., -1] = 65_535  # nothing shines through
    opened = open_picture(deep_png(samples))
    colours = samples[..., :1] if count == 2 else samples[..., :3]
    gap = np.abs(np.asarray(opened.image, int) - colours * 255 / whole)
    assert gap.max() <= 0.5001
    assert bool(opened.note) == (bits < 16)


def test_colours_of_16_bits_lie_on_white_and_take_a_range():
    samples = np.zeros((4, 4, 4), int)
    samples[..., 0], samples[0, 0, 3] = 3_000, 65_535
    opened = open_image(deep_png(samples), value_range=(0, 4_000))
    assert opened.getpixel((0, 0)) == (191, 0, 0)
    assert opened.getpixel((1, 1)) == (255, 255, 255)


def test_twelve_packed_bits():
    values = np.linspace(0, 4095, 20 * 10).reshape(10, 20).round().astype(int)
    bits = (values[..., None] >> np.arange(11, -1, -1)) & 1
    body = np.packbits(bits.reshape(10, -1), axis=1).tobytes()
    data = tiff(grey_tags(20, 10, len(body), t258=(3, [12])), body)
    assert np.abs(grey(open_image(data)) - values * 255 / 4095).max() <= 0.5001


def test_a_png_says_how_many_bits_are_used():
    rows = b"".join(b"\0" + struct.pack(">4H", 0, 500, 1000, 2000) for _ in range(4))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 0, 0, 0, 0))
    body = chunk(b"sBIT", b"\x0c") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    opened = open_picture(b"\x89PNG\r\n\x1a\n" + header + body)
    assert grey(opened.image)[0].tolist() == [0, 31, 62, 125]
    assert not opened.note


def test_a_tiff_says_what_its_largest_value_is():
    values = np.array([[0, 1000, 2000]] * 3, "<u2")
    tags = grey_tags(3, 3, 18, t258=(3, [16]), t281=(3, [4095]))
    opened = open_picture(tiff(tags, values.tobytes()))
    assert grey(opened.image)[0].tolist() == [0, 62, 125]


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_the_range_of_the_data_on_demand(kind):
    values = np.linspace(20_000, 30_000, 64).reshape(8, 8).round().astype(np.uint16)
    data = encoded(Image.fromarray(values), kind)
    shown = grey(open_image(data, value_range="data"))
    assert (shown.min(), shown.max()) == (0, 255)
    assert grey(open_image(data, value_range=(0, 40_000))).max() == round(255 * 0.75)


def test_many_bands_say_which_are_shown():
    values = CHANCE.random((9, 8, 7), np.float32)
    opened = open_picture(written(values, planarconfig="contig"))
    assert np.abs(np.asarray(opened.image) - values[..., :3].astype(float) * 255).max() <= 0.5001
    assert "7 bands; bands 1 to 3 are shown" in opened.note
    swapped = open_image(written(values, planarconfig="contig"), bands=(6, 0, 3))
    assert np.abs(np.asarray(swapped) - values[..., [6, 0, 3]].astype(float) * 255).max() <= 0.5001


def test_two_bands_show_the_first():
    opened = open_picture(written(CHANCE.random((9, 8, 2), np.float32), planarconfig="contig"))
    assert "2 bands; band 1 is shown" in opened.note


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        ({"bands": 9}, "0 to 2"),
        ({"bands": (0, 1)}, "one or three"),
        ({"bands": "red"}, "one number or three"),
        ({"bands": object()}, "one number or three"),
        ({"value_range": "auto"}, "black below white"),
        ({"value_range": (3, 3)}, "black below white"),
        ({"value_range": (float("nan"), 3)}, "black below white"),
        ({"value_range": 7}, "black below white"),
    ],
)
def test_a_choice_that_cannot_be_is_a_sentence(choice, word):
    data = written(CHANCE.integers(0, 99, (9, 8, 3)).astype("u2"), planarconfig="contig")
    with pytest.raises(ImageRejected, match=word):
        open_image(data, **choice)


def test_bands_of_a_photo_are_not_chosen():
    with pytest.raises(ImageRejected, match="TIFF"):
        open_image(encoded(Image.new("RGB", (8, 8)), "JPEG"), bands=0)


def test_a_deep_tiff_above_the_bound_keeps_every_second_sample(monkeypatch):
    from model.images import tiff_samples

    values = CHANCE.random((41, 53), np.float32)
    data = written(values, tile=(16, 16))
    monkeypatch.setattr(tiff_samples, "MAX_SAMPLE_BYTES", 6_000)
    shown = grey(open_image(data))
    assert np.abs(shown - values[::2, ::2].astype(float) * 255).max() <= 0.5001


@pytest.mark.parametrize("hole", [np.nan, np.inf, -9999.0])
def test_holes_do_not_decide_the_range(hole):
    values = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    exact = (values.astype(float) + 3) / 8 * 255
    values[0, 3] = hole
    text = [(42113, 2, 0, "-9999", True)] if hole == -9999.0 else []
    opened = open_picture(written(values, extratags=text))
    shown = grey(opened.image)
    assert shown[0, 3] == 0
    assert np.abs(np.delete(shown - exact, 3)).max() <= 0.5001
    assert "from -3 to 5" in opened.note


@pytest.mark.parametrize(("low", "high"), [(280, 310), (20, 30), (-1000, 3000), (0, 9000.5)])
def test_values_that_fill_little_of_a_scale_are_shown_by_their_range(low, high):
    """Kelvin, degrees, Hounsfield units: on 0..65535 they would all be black."""
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    opened = open_picture(written(values))
    wide = high == 9000.5
    assert (grey(opened.image).max() == 255) != wide
    assert bool(opened.note) != wide


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_range_of_a_photo_is_not_chosen(kind):
    with pytest.raises(ImageRejected, match="this is neither"):
        open_image(encoded(Image.new("RGB", (8, 8)), kind), value_range=(0, 100))


def test_nothing_but_holes_is_black():
    assert grey(open_image(written(np.full((8, 8), np.nan, np.float32)))).max() == 0


def test_deep_colours_use_the_bits_that_they_use():
    values = CHANCE.integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    values[0, 0] = 4095
    opened = np.asarray(open_image(written(values, photometric="rgb")))
    assert np.abs(opened - values.astype(float) * 255 / 4095).max() <= 0.5001


def test_deep_colours_with_transparency_lie_on_white():
    values = np.zeros((8, 8, 4), np.uint16)
    values[4:, :, 3] = 65535
    data = written(values, photometric="rgb", extrasamples=["unassalpha"])
    assert [grey(open_image(data))[row, 0] for row in (0, 7)] == [255, 0]


def test_raw_pictures_are_named():
    body = np.zeros(16, np.uint8).tobytes()
    for more in ({"t50706": (1, [1, 4, 0, 0])}, {"t254": (4, [1]), "t330": (4, [8])}):
        with pytest.raises(ImageRejected, match="raw picture"):
            open_image(tiff(grey_tags(4, 4, 16, **more), body))
