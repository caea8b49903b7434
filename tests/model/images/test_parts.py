"""Files of very many parts are refused by counting them, and metadata costs nothing."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.errors import ImageRejected
from model.images import (
    bmp,
    gif,
    jpeg,
    limits,
    open_image,
    opening,
    pared,
    png,
    tiff_directory,
    webp,
)
from tests.fuzz import hostile_pictures as hostile
from tests.fuzz.hostile_pictures import encoded, segment, smooth

SIZE = 2_000_000
REFUSED = {
    "jpeg_of_empty_segments": "segments",
    "jpeg_of_comments": "segments",
    "jpeg_of_exif_segments": "segments",
    "jpeg_of_tables": "bytes of tables",
    "jpeg_of_scans": "scans",
    "jpeg_of_long_scans": "scans",
    "jpeg_that_claims": "too large",
    "progressive_jpeg_that_claims": "progressive",
    "png_of_empty_chunks": "chunks",
    "png_of_texts": "chunks",
    "png_of_empty_pixels": "chunks",
    "gif_of_comments": "blocks",
    "bmp_of_short_runs": "too long",
    "webp_of_chunks": "chunks",
    "webp_of_frames": "chunks",
    "tiff_of_strips": "strips or tiles",
    "tiff_of_strips_that_share": "damaged",
    "tiff_of_long_strips_that_share": "damaged",
    "tiff_of_strips_without_lengths": "damaged",
    "webp_that_claims": "too large",
    "gif_that_claims": "too large",
    "tiff_of_packed_strips_that_share": "damaged",
    "tiff_of_a_long_tag": "values of tag 258",
    "tiff_of_tags_that_share": "tags",
}
OPENED = (
    "jpeg_of_large_exif_segments",
    "jpeg_of_photoshop_blocks",
    "jpeg_with_exif_directory",
    "jpeg_of_fill_bytes",
    "jpeg_of_junk_bytes",
    "png_with_exif_directory",
    "png_of_packed_texts",
    "gif_of_one_long_comment",
    "gif_of_frames",
    "bmp_of_line_ends",
    "tiff_of_a_long_unknown_tag",
)
"""What the pixels do not need is left out before a decoder sees the file."""


@pytest.mark.parametrize(("name", "word"), [*REFUSED.items()])
def test_files_of_too_many_parts_are_refused(name, word, monkeypatch):
    monkeypatch.setattr(bmp, "MAX_RUNS", 100_000)
    with pytest.raises(ImageRejected) as caught:
        open_image(hostile.KINDS[name](SIZE))
    message = str(caught.value)
    assert word.replace("too long", "runs") in message
    assert message.endswith(".") and len(message) < 250


@pytest.mark.parametrize("name", OPENED)
def test_what_pixels_do_not_need_is_left_out(name):
    assert open_image(hostile.KINDS[name](SIZE), max_side=64).mode == "RGB"


def test_the_decoders_see_no_metadata():
    note = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0") + segment(0xED, b"Photoshop 3.0\0")
    data = encoded(smooth(20, 10), "JPEG", comment="taken at home")
    left = jpeg.pare(data[:2] + note + data[2:]).data
    assert b"Exif" not in left and b"Photoshop" not in left and b"home" not in left
    text = hostile.chunk(b"tEXt", b"place\0home")
    data = encoded(smooth(20, 10), "PNG")
    assert png.pare(data[:33] + text + data[33:]).data == data


@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_a_pared_file_is_the_same_picture(kind, width, height):
    pare = {"JPEG": jpeg.pare, "PNG": png.pare, "GIF": gif.pare, "WEBP": webp.pare}[kind]
    data = encoded(smooth(width, height), kind)
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(pare(data).data)) as after:
        assert before.convert("RGB").tobytes() == after.convert("RGB").tobytes()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_runs_are_unpacked_as_pillow_does(draw):
    """Files whose runs fill each row exactly, where there is one reading only."""
    width, height = draw.draw(st.integers(1, 12)), draw.draw(st.integers(1, 6))
    codes, expected = b"", []
    for _ in range(height):
        row: list[int] = []
        while len(row) < width:
            count = draw.draw(st.integers(1, width - len(row)))
            values = draw.draw(st.lists(st.integers(0, 255), min_size=count, max_size=count))
            if count < 3 or draw.draw(st.booleans()):
                values = values[:1] * count
                codes += bytes((count, values[0]))
            else:
                codes += bytes((0, count, *values)) + bytes(count & 1)
            row += values
        codes += b"\0\0"
        expected.append(row)
    data = hostile.bmp_of_runs(codes + b"\0\1", width, height)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), np.array(expected[::-1]))
        truth = image.convert("RGB").tobytes()
    assert open_image(data).tobytes() == truth


def test_runs_of_four_bits():
    data = hostile.bmp_of_runs(b"\5\x12\0\0\0\5\x12\x34\x50\0\0\1", 5, 2, bits=4)
    unpacked = bmp.pare(data).data
    rows = np.frombuffer(unpacked[-16:], np.uint8).reshape(2, 8)[:, :5]
    assert rows.tolist() == [[1, 2, 1, 2, 1], [1, 2, 3, 4, 5]]


def test_a_scan_counts_the_more_the_larger_the_picture():
    data = hostile.jpeg_of_scans_at_the_limit(0)
    assert open_image(data).size == (600, 600)
    at = data.index(b"\xff\xc2") + 5
    larger = data[:at] + struct.pack(">HH", 12_200, 12_200) + data[at + 4 :]
    with pytest.raises(ImageRejected, match="scans"):
        open_image(larger)


def test_the_watch_stops_what_no_count_foresaw(monkeypatch):
    monkeypatch.setattr(pared, "MAX_SECONDS", -1.0)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF"):
        with pytest.raises(ImageRejected, match=f"This {kind} takes too long"):
            open_image(encoded(smooth(64, 48), kind))


def test_names_and_values_are_quoted_in_short(tmp_path):
    for source in (tmp_path / ("x" * 250), "y" * 100_000, type("Z" * 10_000, (), {})()):
        with pytest.raises(ImageRejected) as caught:
            open_image(source)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError("big"), RecursionError(), struct.error("short")]
)
def test_every_error_of_a_decoder_becomes_the_sentence(error, monkeypatch):
    def fail(data):
        raise error

    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP"):
        data = encoded(smooth(8, 8), kind)
        monkeypatch.setitem(opening._FORMATS, kind, (fail, None))
        with pytest.raises(ImageRejected, match="damaged"):
            open_image(data)


def test_strips_of_a_file_are_bounded_by_its_tags():
    directory = tiff_directory.read_directory(encoded(smooth(64, 48), "TIFF"))
    assert directory.size == (64, 48) and directory.bands == 3
    assert set(directory.tags) <= set(tiff_directory._NEEDED)
    assert limits.MAX_STRIPS == 100_000
