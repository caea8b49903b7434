"""AVIF and HEIC are decoded in a process of its own, which can be ended."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from model.errors import ImageRejected
from model.images import decoder_process, open_image
from tests.fuzz.hostile_pictures import encoded, smooth


def heic(image: Image.Image, **options) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90, **options)
    return file.getvalue()


def avif(image: Image.Image, **options) -> bytes:
    if not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    return encoded(image, "AVIF", quality=90, **options)


# Each of these takes seconds, and the process is the same for both.
LARGE = pytest.mark.parametrize("write", [pytest.param(heic, marks=pytest.mark.slow), avif])


@pytest.mark.parametrize("write", [heic, avif])
def test_it_is_the_picture(write):
    image = smooth(64, 48)
    opened = open_image(write(image))
    assert (opened.mode, opened.size) == ("RGB", (64, 48))
    assert np.abs(np.asarray(opened, int) - np.asarray(image, int)).mean() < 4
    assert open_image(write(image), max_side=16).size == (16, 12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = avif(smooth(64, 48), exif=exif.tobytes())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert open_image(data).tobytes() == expected.tobytes()


@pytest.mark.parametrize("write", [heic, avif])
def test_transparency_lies_on_white(write):
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert min(open_image(write(image)).getpixel((32, 32))) > 250


@pytest.mark.parametrize("write", [heic, avif])
def test_damaged_files_are_refused(write):
    data = write(smooth(64, 48))
    for cut in (data[: len(data) // 2], data[:60], data[:-40] + bytes(40)):
        try:
            opened = open_image(cut)
        except ImageRejected:
            continue
        assert opened.size == (64, 48)


@pytest.mark.parametrize("write", [heic, avif])
def test_a_phone_s_largest_photo_is_halved_and_a_larger_one_named(write, monkeypatch):
    monkeypatch.setattr(decoder_process, "MAX_PIXELS", 2_000)
    data = write(smooth(64, 48))
    assert open_image(data).size == (32, 24)
    monkeypatch.setattr(decoder_process, "MAX_PHONE_PIXELS", 3_000)
    with pytest.raises(ImageRejected, match=r"64 × 48 pixels.*At most"):
        open_image(data)


def test_a_large_claim_is_refused_by_its_header():
    data = avif(smooth(64, 48))
    data = data.replace(struct.pack(">II", 64, 48), struct.pack(">II", 9_000, 6_000))
    with pytest.raises(ImageRejected):
        open_image(data)


@LARGE
def test_the_process_is_ended_when_its_time_is_over(write, monkeypatch):
    monkeypatch.setattr(decoder_process, "MAX_SECONDS", 0.001)
    with pytest.raises(ImageRejected, match="too long"):
        open_image(write(smooth(900, 900)))


@LARGE
def test_the_process_gets_no_more_memory_than_its_share(write, monkeypatch, tmp_path):
    program = decoder_process._PROGRAM.read_text(encoding="utf-8")
    small = tmp_path / "program.py"
    small.write_text(program.replace("MEMORY = 600_000_000", "MEMORY = 3_000_000"))
    monkeypatch.setattr(decoder_process, "_PROGRAM", small)
    with pytest.raises(ImageRejected, match="damaged"):
        open_image(write(smooth(1200, 1200)))


def test_without_the_plug_in_a_sentence_names_it(monkeypatch, tmp_path):
    (tmp_path / "pillow_heif.py").write_text("raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImageRejected, match="pillow-heif"):
        open_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
