"""Photos of phones and cameras open at a fraction of their size, and say so where they do not."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import ImageRejected
from model.images import MAX_PIXELS, MAX_REDUCIBLE_PIXELS, open_image, opening, tiff
from tests.fuzz.hostile_pictures import encoded, large_tiled_tiff, png_that_claims, smooth

ROOT = Path(__file__).parents[3]


def difference(picture: Image.Image, expected: Image.Image) -> float:
    assert picture.size == expected.size
    return float(np.abs(np.asarray(picture, int) - np.asarray(expected, int)).mean())


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ((6016, 4016), (6016, 4016)),
        ((5712, 4284), (5712, 4284)),
        ((8064, 6048), (4032, 3024)),
        ((4284, 5712), (4284, 5712)),
        ((16320, 12240), (4080, 3060)),
    ],
)
def test_the_sizes_of_cameras_open_as_jpeg(size, whole):
    data = encoded(Image.new("RGB", size, "teal"), "JPEG", quality=50)
    assert max(open_image(data, max_side=1024).size) == 1024
    assert open_image(data).size == whole
    assert whole[0] * whole[1] <= MAX_PIXELS


def test_a_photo_of_an_iphone_opens_as_png_too():
    data = encoded(Image.new("L", (5712, 4284), 7), "PNG", compress_level=1)
    assert open_image(data, max_side=512).size == (512, 384)


def test_a_reduced_photo_is_the_photo(monkeypatch):
    image = smooth(640, 480)
    data = encoded(image, "JPEG", quality=95)
    monkeypatch.setattr(opening, "MAX_PIXELS", 20_000)
    assert difference(open_image(data), image.reduce(4)) < 2


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (png_that_claims(8000, 6000), ("8,000 × 6,000 pixels, 48.0 megapixels", "most 25")),
        (png_that_claims(8000, 6000), ("as JPEG, 220",)),
    ],
)
def test_beyond_the_limit_both_numbers_are_said(data, numbers):
    with pytest.raises(ImageRejected) as caught:
        open_image(data)
    assert all(number in str(caught.value) for number in numbers)


def test_jpegs_beyond_the_limit_too():
    data = encoded(smooth(16, 16), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    data = data[:at] + struct.pack(">HH", 15_000, 20_000) + data[at + 4 :]
    with pytest.raises(ImageRejected, match=r"300\.0 megapixels\. At most 220 megapixels"):
        open_image(data)
    assert MAX_REDUCIBLE_PIXELS == 220_000_000


# TIFF by parts

STORED = ("raw", "tiff_lzw", "tiff_deflate", "packbits")


@pytest.mark.parametrize("packing", STORED)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "1", "RGBA"])
def test_a_large_tiff_is_reduced_part_by_part(packing, mode, monkeypatch):
    """The parts make up what the whole picture reduced at once would be."""
    image = smooth(301, 203).convert(mode)
    data = encoded(image, "TIFF", compression=packing, tiffinfo={278: 6})
    monkeypatch.setattr(opening, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(tiff, "_PIXELS_AT_ONCE", 5_000)
    assert difference(open_image(data), image.convert("RGB").reduce(2)) == 0


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("packing", [None, "zlib"])
def test_a_large_tiff_of_tiles(apart, packing, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    image, file = smooth(301, 203), io.BytesIO()
    values = np.asarray(image)
    tifffile.imwrite(
        file,
        values.transpose(2, 0, 1) if apart else values,
        tile=(32, 48),
        photometric="rgb",
        planarconfig="separate" if apart else "contig",
        compression=packing,
    )
    monkeypatch.setattr(opening, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(tiff, "_PIXELS_AT_ONCE", 5_000)
    assert difference(open_image(file.getvalue()), image.reduce(2)) == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "YCbCr", "CMYK"])
@pytest.mark.parametrize("rows", [16, 203])
def test_a_large_tiff_of_jpegs(mode, rows, monkeypatch):
    image = smooth(301, 203).convert(mode)
    data = encoded(image, "TIFF", compression="jpeg", tiffinfo={278: rows})
    monkeypatch.setattr(opening, "MAX_PIXELS", 20_000)
    assert difference(open_image(data), image.convert("RGB").reduce(2)) < 2


def test_a_tiff_in_one_large_piece_is_told_what_to_do(monkeypatch):
    data = encoded(smooth(301, 203), "TIFF", tiffinfo={278: 203})
    monkeypatch.setattr(opening, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(tiff, "MAX_PIXELS", 20_000)
    with pytest.raises(ImageRejected, match="Save it in tiles"):
        open_image(data)


@pytest.mark.slow
def test_memory_stays_bounded_for_the_largest_tiff(tmp_path):
    """213 megapixels would be 640 MB as RGB; decoded part by part they take a fraction."""
    path = tmp_path / "large.tif"
    path.write_bytes(large_tiled_tiff(5_000_000))
    program = (
        "import resource, sys\n"
        "from model.images import ImageRejected, open_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try:\n"
        "    open_image(sys.argv[1], max_side=1024)\n"
        "except ImageRejected as error:\n"
        "    assert 'too long' in str(error)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert int(done.stdout) < 200_000  # KiB
