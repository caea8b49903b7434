"""Every picture that should open opens right, and everything else is one sentence."""

import gzip
import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from model.errors import ImageRejected
from model.images import MAX_BYTES, MAX_PIXELS, open_image

ROOT = Path(__file__).parents[3]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def photo(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """A smooth picture, so that lossy formats stay close to it."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = np.stack([x, y, (x + y) / 2], axis=-1)
    return Image.fromarray(np.rint(channels * 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG written by hand, for the kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = (png_chunk(b"IHDR", header), *more, png_chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + png_chunk(b"IEND", b"")


def sentence(source) -> str:
    with pytest.raises(ImageRejected) as caught:
        open_image(source)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 250
    return message


# What opens


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_opens_as_the_picture_it_is(kind):
    original = photo()
    opened = open_image(encoded(original, kind))
    assert (opened.mode, opened.size) == ("RGB", original.size)
    difference = np.abs(np.asarray(opened, int) - np.asarray(original, int)).mean()
    assert difference < {"JPEG": 4, "WEBP": 4, "GIF": 20}.get(kind, 1e-9)


def test_bytes_paths_and_open_files_are_the_same(tmp_path):
    data = encoded(photo(), "PNG")
    path = tmp_path / "ein Bild.png"
    path.write_bytes(data)
    half_read = io.BytesIO(data)
    half_read.read(20)
    with path.open("rb") as file:
        sources = [data, bytearray(data), memoryview(data), path, str(path), file, half_read]
        pictures = [open_image(source).tobytes() for source in sources]
    assert set(pictures) == {photo().tobytes()}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(np.asarray(open_image(data)), expected)


def test_nothing_of_the_exif_block_is_handed_on():
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    opened = open_image(encoded(photo(), "JPEG", exif=exif))
    assert opened.info == {}
    assert b"home" not in encoded(opened, "JPEG")


@pytest.mark.filterwarnings("ignore")
def test_a_broken_exif_block_does_not_matter():
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert open_image(data).size == photo().size


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_on_white(kind):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 4, 8))
    image.paste((0, 0, 0, 128), (4, 4, 8, 8))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    opened = open_image(encoded(image, kind, **options))
    assert opened.getpixel((0, 0)) == (0, 0, 255)
    assert opened.getpixel((6, 0)) == (255, 255, 255)
    assert opened.getpixel((6, 6)) == (127, 127, 127)


def test_grey_with_alpha_lies_on_white():
    image = Image.new("LA", (4, 4), (0, 0))
    image.putpixel((1, 1), (90, 255))
    opened = open_image(encoded(image, "PNG"))
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert opened.getpixel((1, 1)) == (90, 90, 90)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_a_transparent_palette_colour_lies_on_white(transparency):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putpixel((2, 2), 1)
    opened = open_image(encoded(image, "PNG", transparency=transparency))
    assert opened.getpixel((0, 0)) == (10, 20, 30)
    assert opened.getpixel((2, 2)) == (255, 255, 255)


def test_one_transparent_colour_of_8_bits_lies_on_white():
    image = photo()
    opened = open_image(encoded(image, "PNG", transparency=image.getpixel((0, 0))))
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert opened.getpixel((30, 30)) == image.getpixel((30, 30))


def test_one_transparent_colour_of_16_bits_does_not_stop_it():
    rows = b"".join(b"\0" + struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC) * 4 for _ in range(4))
    opened = open_image(
        png(4, 4, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">HHH", 0xFFFF, 0, 0)))
    )
    assert opened.getpixel((0, 0)) == (0x12, 0x56, 0x9A)


def test_transparent_16_bit_grey_lies_on_white():
    rows = b"".join(b"\0" + struct.pack(">HHHH", 0, 700, 0, 65535) for _ in range(4))
    opened = open_image(png(4, 4, 16, 0, rows, png_chunk(b"tRNS", struct.pack(">H", 700))))
    assert [opened.getpixel((x, 0))[0] for x in range(4)] == [0, 255, 0, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    values = np.linspace(0, 65535, 64 * 8).reshape(8, 64).round().astype(np.uint16)
    opened = np.asarray(open_image(encoded(Image.fromarray(values), kind)))
    assert np.array_equal(opened, np.rint(values / 257)[..., None].repeat(3, -1).astype(np.uint8))


def test_big_endian_16_bit_tiff():
    values = np.linspace(0, 65535, 64).reshape(8, 8).round().astype(">u2")
    tags = {256: (4, 8), 257: (4, 8), 258: (3, 16), 259: (3, 1), 262: (3, 1), 273: (4, 8)}
    tags |= {277: (3, 1), 278: (4, 8), 279: (4, 128)}
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + (struct.pack(">H2x", value) if kind == 3 else struct.pack(">I", value))
        for tag, (kind, value) in sorted(tags.items())
    )
    data = b"MM\0*" + struct.pack(">I", 8 + 128) + values.tobytes()
    data += struct.pack(">H", len(tags)) + entries + bytes(4)
    opened = np.asarray(open_image(data))[..., 0]
    assert np.array_equal(opened, np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0, 1, (0, 255)), (0, 200, (0, 200)), (0, 65535, (0, 255)), (-7, 12, (0, 255))],
)
def test_float_tiff_is_brought_to_8_bits(low, high, shown):
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    opened = np.asarray(open_image(encoded(Image.fromarray(values), "TIFF")))
    assert (opened.min(), opened.max()) == shown


def test_float_tiff_with_holes():
    values = np.full((4, 4), 0.5, np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    opened = open_image(encoded(Image.fromarray(values), "TIFF"))
    assert [opened.getpixel((x, 0))[0] for x in range(3)] == [0, 0, 128]


def test_32_bit_tiff_is_scaled():
    values = np.linspace(0, 2**31 - 1, 64).reshape(8, 8).astype(np.int32)
    opened = np.asarray(open_image(encoded(Image.fromarray(values), "TIFF")))
    assert (opened.min(), opened.max()) == (0, 255)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", mode) for mode in ("CMYK", "L")),
        *(("PNG", mode) for mode in ("L", "1", "P")),
        *(("TIFF", mode) for mode in ("CMYK", "YCbCr", "L", "1", "P")),
        *(("BMP", mode) for mode in ("L", "1", "P")),
        ("GIF", "P"),
    ],
)
def test_other_modes_become_rgb(kind, mode):
    image = photo(mode=mode)
    opened = open_image(encoded(image, kind))
    assert (opened.mode, opened.size) == ("RGB", image.size)
    difference = np.asarray(opened, int) - np.asarray(image.convert("RGB"), int)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert open_image(data).getpixel((4, 4)) == (255, 0, 0)


def test_a_phone_s_jpeg_of_several_pictures():
    """MPO: a JPEG that carries a second picture behind the first."""
    data = encoded(photo(), "MPO", save_all=True, append_images=[photo((8, 8))])
    assert open_image(data).size == photo().size


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_max_side_bounds_the_longer_side_and_keeps_the_shape(kind):
    data = encoded(photo((800, 400)), kind)
    small = open_image(data, max_side=100)
    assert small.size == (100, 50)
    expected = photo((100, 50))
    assert np.abs(np.asarray(small, int) - np.asarray(expected, int)).mean() < 5
    assert open_image(data, max_side=1000).size == (800, 400)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(FORMATS))
@settings(max_examples=60, deadline=None)
def test_sizes_survive(width, height, kind):
    data = encoded(photo((width, height)), kind)
    if max(width, height) > 20 * min(width, height):
        sentence(data)
    else:
        assert open_image(data).size == (width, height)


def test_many_threads_at_once():
    data = [encoded(photo((64, 20 + i)), kind) for i, kind in enumerate(FORMATS)] * 4
    sizes, threads = {}, []
    for i, item in enumerate(data):
        work = threading.Thread(target=lambda i=i, item=item: sizes.update({i: open_image(item)}))
        threads.append(work)
        work.start()
    for work in threads:
        work.join()
    assert [sizes[i].size[1] for i in range(len(data))] == [20 + i for i in range(6)] * 4


# What is refused, by name


def test_an_empty_file():
    assert "empty" in sentence(b"")
    assert "empty" in sentence(io.BytesIO())


def test_text_named_jpg(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("my homework, naïvely\n" * 400)
    assert "text" in sentence(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file(kind):
    data = encoded(photo((300, 200)), kind)
    message = sentence(data[: len(data) // 2])
    assert "stops before its end" in message or "damaged" in message
    if kind == "JPEG":
        assert "JPEG stops before its end" in message


def test_a_file_of_zeros_and_one_of_noise():
    assert "not a picture" in sentence(bytes(5000))
    assert "not a picture" in sentence(b"\x9b" + np.random.default_rng(0).bytes(5000))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "SVG drawing"),
        (b"<SVG></SVG>", "SVG drawing"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video"),
        (b"\0\0\0\x14ftypqt  ", "video"),
        (b"\x1aE\xdf\xa3webm", "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"PK\x03\x04\x14\0", "archive"),
        (b"\x1f\x8b\x08", "archive"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\x93NUMPY\1\0", "NumPy"),
        (bytes(128) + b"DICM", "pydicom"),
        (bytes(344) + b"n+1\0", "nibabel"),
        (gzip.compress(bytes(344) + b"n+1\0" + bytes(999), mtime=0), "nibabel"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"DDS |\0\0\0", "texture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"FUJIFILMCCD-RAW 0201", "raw"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("<svg></svg>".encode("utf-16"), "SVG drawing"),
        (b"\xff" * 5000, "is not a picture"),
    ],
)
def test_files_of_another_kind_are_named(data, word):
    assert word in sentence(data)


def test_folders_missing_files_and_pipes(tmp_path):
    assert "folder" in sentence(tmp_path)
    assert "no file" in sentence(tmp_path / "missing.jpg")
    sentence("a\0b.jpg")
    sentence("")
    os.mkfifo(tmp_path / "pipe")
    assert "ordinary" in sentence(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(photo(), "PNG"))
    path.chmod(0)
    assert "may open" in sentence(path)


@pytest.mark.parametrize("source", [None, 3, photo(), np.zeros((4, 4, 3), np.uint8), [b"x"]])
def test_things_that_are_no_source(source):
    assert type(source).__name__ in sentence(source)


def test_files_opened_wrongly(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photo(), "PNG"))
    closed = path.open("rb")
    closed.close()
    sentence(closed)
    with path.open(encoding="utf-8") as text, path.open("ab") as writing:
        assert "binary" in sentence(text)
        sentence(writing)
    assert "binary" in sentence(io.StringIO("words"))


@pytest.mark.parametrize(("width", "height"), [(1, 5000), (5000, 1), (21, 1), (40, 900)])
def test_extreme_shapes(width, height):
    assert f"{width:,} × {height:,}" in sentence(encoded(photo((width, height)), "PNG"))


def test_the_shape_limit_itself_is_taken():
    assert open_image(encoded(photo((20, 1)), "PNG")).size == (20, 1)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_pictures_of_no_pixels(width, height):
    assert "no pixels" in sentence(png(width, height, 8, 2, b""))


def test_one_pixel_too_many_is_refused_before_it_is_decoded():
    """The pixels are not even there, so only the header can have been read."""
    message = sentence(png(5000, 5001, 8, 2, b""))
    assert "5,000 × 5,001 pixels" in message and "At most 25 megapixels" in message
    assert "stops before" in sentence(png(5000, 5000, 8, 2, b""))
    assert MAX_PIXELS == 5000 * 5000


def test_too_many_bytes(tmp_path):
    class Endless(io.RawIOBase):
        def seekable(self):
            return False

        def read(self, size=-1):
            assert 0 < size <= MAX_BYTES + 1
            return bytes(size)

    assert "100 MB" in sentence(Endless())
    path = tmp_path / "huge.bmp"
    with path.open("wb") as file:
        file.truncate(10**12)
    assert "1,000,000 MB" in sentence(path)


def test_a_tile_larger_than_its_picture():
    """A few compressed bytes would otherwise be unpacked into a tile of gigabytes."""
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32768, 323: 32768, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    body = zlib.compress(bytes(100))[:8]
    data = b"II*\0" + struct.pack("<I", 16) + body + struct.pack("<H", len(tags)) + entries
    assert "tiles" in sentence(data + bytes(4))


@pytest.mark.parametrize("bomb", ["png", "jpeg", "tiff"])
def test_memory_stays_bounded_under_a_bomb(bomb, tmp_path):
    """20,000 × 20,000 pixels would be 1.2 GB as RGB; the whole process must not notice."""
    black = zlib.compressobj()
    rows = b"".join(black.compress(bytes(2501)) for _ in range(20_000)) + black.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    data = {
        "png": b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", rows)
        + png_chunk(b"IEND", b""),
        "jpeg": encoded(photo((16, 16)), "JPEG"),
        "tiff": encoded(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4"),
    }[bomb]
    if bomb == "jpeg":  # the size in the frame header, overwritten
        at = data.index(b"\xff\xc0") + 5
        data = data[:at] + struct.pack(">HH", 20_000, 20_000) + data[at + 4 :]
    path = tmp_path / "bomb"
    path.write_bytes(data)
    program = (
        "import resource, sys\n"
        "from model.images import ImageRejected, open_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try:\n"
        "    open_image(sys.argv[1])\n"
        "except ImageRejected as error:\n"
        "    print(peak() - before, '|', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    grown, message = done.stdout.split("|")
    assert int(grown) < 40_000  # KiB
    assert "400 megapixels" in message or "20,000 × 20,000" in message


# Whatever else somebody may do to a file


def _real_files() -> list[bytes]:
    image = photo((40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encoded(image, kind) for kind in FORMATS]
    files += [
        encoded(image, "JPEG", progressive=True, exif=exif),
        encoded(image.convert("CMYK"), "JPEG"),
        encoded(image.convert("P"), "PNG", transparency=3),
        encoded(image.convert("RGBA"), "WEBP", lossless=True),
        encoded(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), "PNG"),
    ]
    for compression in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        files.append(encoded(image, "TIFF", compression=compression, exif=exif))
    files.append(encoded(image.convert("1"), "TIFF", compression="group4"))
    return files


REAL = _real_files()


def open_or_refuse(data: bytes) -> None:
    try:
        opened = open_image(data)
    except ImageRejected:
        return
    assert opened.mode == "RGB"
    assert opened.width * opened.height <= MAX_PIXELS


@given(st.sampled_from(REAL), st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_open_or_are_refused(original, draw):
    data = bytearray(original)
    edits = st.tuples(
        st.integers(0, len(data) - 1) | st.integers(0, min(200, len(data) - 1)),
        st.binary(min_size=1, max_size=4) | st.just(b"\xff\xff\xff\xff"),
    )
    for at, new in draw.draw(st.lists(edits, min_size=1, max_size=6)):
        data[at : at + len(new)] = new
    open_or_refuse(bytes(data))


@given(st.sampled_from(REAL), st.floats(0, 1), st.binary(max_size=20))
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_truncated_and_continued_files_open_or_are_refused(original, share, tail):
    open_or_refuse(original[: int(share * len(original))] + tail)


@given(st.sampled_from([b"", *(data[:12] for data in REAL)]), st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_noise_opens_or_is_refused(head, body):
    open_or_refuse(head + body)
