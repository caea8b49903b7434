"""Pictures that are small to store and dear to open: many parts, large claims, tight packing.

Each function builds one kind; `size` is about how many bytes the file shall have.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def smooth(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], -1).astype(np.uint8))


# -- JPEG ---------------------------------------------------------------------------------------


def segment(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body


def _jpeg_with(middle: bytes) -> bytes:
    data = encoded(smooth(64, 48), "JPEG")
    return data[:2] + middle + data[2:]


def jpeg_of_empty_segments(size: int) -> bytes:
    return _jpeg_with(segment(0xEF, b"") * (size // 4))


def jpeg_of_comments(size: int) -> bytes:
    return _jpeg_with(segment(0xFE, b"a") * (size // 5))


def jpeg_of_exif_segments(size: int) -> bytes:
    return _jpeg_with(segment(0xE1, b"Exif\0\0") * (size // 10))


def jpeg_of_large_exif_segments(size: int) -> bytes:
    return _jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * (size // 65_010))


def jpeg_of_photoshop_blocks(size: int) -> bytes:
    blocks = b"8BIM\x03\xed\0\0\0\0\0\0" * 5_000
    return _jpeg_with(segment(0xED, b"Photoshop 3.0\0" + blocks) * (size // len(blocks) + 1))


def jpeg_of_fill_bytes(size: int) -> bytes:
    return _jpeg_with(b"\xff" * size)


def jpeg_of_junk_bytes(size: int) -> bytes:
    data = encoded(smooth(64, 48), "JPEG")
    return data[:20] + b"\x13" * size + data[20:]


def jpeg_of_tables(size: int) -> bytes:
    return _jpeg_with(segment(0xDB, (b"\0" + b"\1" * 64) * 900) * (size // 58_500 + 1))


def jpeg_with_exif_directory(size: int) -> bytes:
    """5,000 entries, each of which points to the same bytes."""
    entries = b"".join(struct.pack("<HHII", i, 7, 60_000, 8) for i in range(5_000))
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5_000) + entries
    return _jpeg_with(segment(0xE1, block))


def jpeg_of_scans(size: int, width: int = 1600, height: int = 1200) -> bytes:
    """A progressive JPEG with scans of no new bits."""
    data = encoded(smooth(width, height), "JPEG", progressive=True, quality=50)
    at = data.rindex(b"\xff\xda")
    scan = segment(0xDA, b"\1\1\0\1\5\0")  # one component, frequencies 1 to 5
    scan += bytes(40)
    return data[:at] + scan * max(1, size // len(scan)) + data[at:]


def jpeg_of_scans_at_the_limit(size: int) -> bytes:
    """As many empty scans as are taken of as many pixels as are taken."""
    side = 12_000 if size > 4_000_000 else 600
    data = encoded(Image.new("L", (side, side)), "JPEG", progressive=True, quality=20)
    at, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[at:end] * (26 - data.count(b"\xff\xda")) + data[end:]


def jpeg_of_long_scans(size: int) -> bytes:
    """The last scan of a progressive JPEG again and again."""
    data = encoded(smooth(2000, 1500), "JPEG", progressive=True, quality=20)
    at, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    scan = data[at:end]
    return data[:end] + scan * max(1, min(5_000, size // len(scan))) + data[end:]


def jpeg_of_restarts(size: int) -> bytes:
    data = encoded(smooth(640, 480), "JPEG")
    return data[:-2] + b"\xff\xd0" * (size // 2) + data[-2:]


def jpeg_of_escaped_bytes(size: int) -> bytes:
    data = encoded(smooth(640, 480), "JPEG")
    return data[:-2] + b"\xff\0" * (size // 2) + data[-2:]


def jpeg_that_claims(size: int, width: int = 65_500, height: int = 65_500) -> bytes:
    data = encoded(smooth(16, 16), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :] + bytes(size)


def progressive_jpeg_that_claims(size: int) -> bytes:
    data = encoded(smooth(16, 16), "JPEG", progressive=True)
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", 14_000, 15_000) + data[at + 4 :] + bytes(min(size, 999))


def large_jpeg(size: int) -> bytes:
    side = 14_000 if size > 4_000_000 else 2_000
    return encoded(Image.new("RGB", (side, side), "teal"), "JPEG", quality=30)


# -- PNG ----------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def deep_png(width: int, height: int) -> bytes:
    """An honest picture of 12 bits in 16 a colour."""
    samples = np.asarray(smooth(width, height)).astype(">u2") << 4
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return _png(width, height, 16, 2, chunk(b"IDAT", zlib.compress(rows)))


def _png(width: int, height: int, depth: int, colour: int, *chunks: bytes, laced: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, laced))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def _idat(rows: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(rows, 1))


def png_that_claims(width: int, height: int) -> bytes:
    return _png(width, height, 8, 2, _idat(b""))


def png_of_empty_chunks(size: int) -> bytes:
    return _png(4, 4, 8, 0, chunk(b"abCd", b"") * (size // 12), _idat(bytes(20)))


def png_of_texts(size: int) -> bytes:
    return _png(4, 4, 8, 0, chunk(b"tEXt", b"a\0b") * (size // 15), _idat(bytes(20)))


def png_of_packed_texts(size: int) -> bytes:
    packed = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6)))
    return _png(4, 4, 8, 0, packed * (size // len(packed)), _idat(bytes(20)))


def png_of_empty_pixels(size: int) -> bytes:
    return _png(4, 4, 8, 0, chunk(b"IDAT", b"") * (size // 12), _idat(bytes(20)))


def png_with_exif_directory(size: int) -> bytes:
    count = 60_000
    entries = b"".join(struct.pack("<HHII", i, 7, size, 8) for i in range(count))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(size)
    return _png(4, 4, 8, 0, chunk(b"eXIf", block), _idat(bytes(20)))


def large_png(size: int, depth: int = 16, colour: int = 6, laced: int = 1) -> bytes:
    """As many pixels as are taken, of eight bytes each, packed a thousandfold."""
    side = 5_000 if size > 4_000_000 else 500
    stride = side * 8 + 1
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(b"\4" + bytes(stride - 1)) for _ in range(side + 7 * laced))
    return _png(side, side, depth, colour, chunk(b"IDAT", rows + packer.flush()), laced=laced)


def noisy_png(size: int) -> bytes:
    side = 2_500 if size > 4_000_000 else 300
    noise = np.random.default_rng(0).integers(0, 256, (side, side * 8 + 1), dtype=np.uint8)
    noise[:, 0] = 4
    return _png(side, side, 16, 6, _idat(noise.tobytes()))


# -- GIF, BMP, WebP -----------------------------------------------------------------------------


def _gif_with(middle: bytes) -> bytes:
    data = encoded(Image.new("P", (8, 8)), "GIF")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return data[:at] + middle + data[at:]


def gif_of_comments(size: int) -> bytes:
    return _gif_with(b"!\xfe\1a\0" * (size // 5))


def gif_of_one_comment(size: int) -> bytes:
    return _gif_with(b"!\xfe" + b"\1a" * (size // 2) + b"\0")


def gif_of_one_long_comment(size: int) -> bytes:
    return _gif_with(b"!\xfe" + (b"\xff" + b"a" * 255) * (size // 256) + b"\0")


def gif_of_unknown_bytes(size: int) -> bytes:
    return _gif_with(b"\0" * size)


def gif_of_frames(size: int) -> bytes:
    frame = b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a\1\0\1\0\0\0\0" + frame * (size // len(frame)) + b";"


def gif_of_clear_codes(size: int) -> bytes:
    """Codes that fill no pixel: of three bits each, all of them "clear the table"."""
    code = 0b100_100_100_100_100_100_100_100.to_bytes(3, "little") * 85
    block = b"\xff" + code
    frame = b",\0\0\0\0\xff\1\xff\1\0\2"
    return b"GIF89a\xff\1\xff\1\0\0\0" + frame + block * (size // 256) + b"\0;"


def bmp_of_runs(codes: bytes, width: int, height: int, bits: int = 8) -> bytes:
    palette = bytes(range(256)) * 4 if bits == 8 else bytes(64)
    start = 54 + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, 1 if bits == 8 else 2, len(codes), 0, 0, 0, 0
    )
    return struct.pack("<2sIHHI", b"BM", start + len(codes), 0, 0, start) + info + palette + codes


def bmp_of_line_ends(size: int) -> bytes:
    return bmp_of_runs(b"\0\0" * (size // 2), 5_000, 5_000)


def bmp_of_empty_runs(size: int) -> bytes:
    return bmp_of_runs(b"\0\2\0\0" * (size // 4), 5_000, 5_000)


def bmp_of_short_runs(size: int) -> bytes:
    return bmp_of_runs(b"\1\7" * (size // 2), 5_000, 5_000)


def bmp_of_short_runs_of_4_bits(size: int) -> bytes:
    return bmp_of_runs(b"\xff\x12" * (size // 2), 5_000, 5_000, bits=4)


def bmp_of_jumps(size: int) -> bytes:
    return bmp_of_runs(b"\0\2\xff\1" * (size // 4), 5_000, 5_000)


def riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)


def webp_of_chunks(size: int) -> bytes:
    data = encoded(smooth(16, 16), "WEBP")
    body = b"WEBP" + data[12:] + riff(b"abcd", b"") * (size // 8)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_of_frames(size: int) -> bytes:
    frames = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    at = data.rindex(b"ANMF")
    body = data[8:] + data[at:] * (size // len(data[at:]))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_that_claims(size: int) -> bytes:
    header = bytes(4) + (13_000).to_bytes(3, "little") * 2
    body = b"WEBP" + riff(b"VP8X", header) + encoded(smooth(16, 16), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_that_claims(size: int) -> bytes:
    data = encoded(Image.new("P", (8, 8)), "GIF")
    at = data.index(b",\0\0\0\0") + 5
    return data[:at] + struct.pack("<HH", 65_535, 65_535) + data[at + 4 :]


def large_webp(size: int) -> bytes:
    side = 5_000 if size > 4_000_000 else 500
    return encoded(Image.new("RGBA", (side, side), (9, 9, 9, 99)), "WEBP", lossless=True, method=0)


def noisy_webp(size: int) -> bytes:
    return encoded(_noise(size), "WEBP", lossless=True, method=0, quality=0)


def noisy_lossy_webp(size: int) -> bytes:
    return encoded(_noise(size), "WEBP", method=0, quality=80)


def noisy_gif(size: int) -> bytes:
    return encoded(_noise(size).convert("P"), "GIF", interlace=1)


def noisy_lzw_tiff(size: int) -> bytes:
    return encoded(_noise(size), "TIFF", compression="tiff_lzw")


def noisy_jpeg_tiff(size: int) -> bytes:
    return encoded(_noise(size), "TIFF", compression="jpeg")


def large_fax_tiff(size: int) -> bytes:
    return encoded(_noise(size).convert("1"), "TIFF", compression="group4")


def large_deep_tiff(size: int) -> bytes:
    noise = np.asarray(_noise(size)).astype(np.float32)[..., 0]
    return encoded(Image.fromarray(noise), "TIFF", compression="tiff_deflate", tiffinfo={317: 3})


def _noise(size: int) -> Image.Image:
    side = 4_600 if size > 4_000_000 else 300
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    return Image.fromarray(np.tile(tile, (side // 500 + 1, side // 500 + 1, 1))[:side, :side])


# -- TIFF ---------------------------------------------------------------------------------------


def tiff(tags: dict[int, tuple[int, Iterable[int]]], body: bytes = b"") -> bytes:
    """A little-endian TIFF: tag -> (type 3 or 4, values); pixels begin at byte 8."""
    values, entries = b"", []
    after = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = np.asarray(list(numbers), {1: "<u1", 3: "<u2", 4: "<u4", 7: "<u1"}[kind]).tobytes()
        count = len(packed) // {1: 1, 3: 2, 4: 4, 7: 1}[kind]
        if len(packed) > 4:
            place = after + len(values)
            values += packed + bytes(len(packed) & 1)
            packed = struct.pack("<I", place)
        entries.append(struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0"))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + values


def grey_tags(width: int, height: int, length: int, **more: tuple[int, Iterable[int]]) -> dict:
    return {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        273: (4, [8]),
        277: (3, [1]),
        278: (4, [height]),
        279: (4, [length]),
        **{int(tag.removeprefix("t")): value for tag, value in more.items()},
    }


def tiff_of_strips(size: int) -> bytes:
    count = size // 8
    offsets, lengths = np.full(count, 8), np.ones(count, int)
    tags = grey_tags(1, count, 1, t273=(4, offsets), t279=(4, lengths), t278=(4, [1]))
    return tiff(tags, b"\0")


def tiff_of_strips_that_share(size: int) -> bytes:
    """Strips that all are the same bytes."""
    count = 5_000
    offsets, lengths = np.full(count, 8), np.full(count, min(size, 5_000))
    tags = grey_tags(5_000, count, 1, t273=(4, offsets), t279=(4, lengths), t278=(4, [1]))
    return tiff(tags, bytes(min(size, 5_000)))


def tiff_of_long_strips_that_share(size: int) -> bytes:
    """Strips that all are the whole file."""
    count = 5_000
    offsets, lengths = np.full(count, 8), np.full(count, size)
    tags = grey_tags(5_000, count, 1, t273=(4, offsets), t279=(4, lengths), t278=(4, [1]))
    return tiff(tags, bytes(size))


def tiff_of_strips_without_lengths(size: int) -> bytes:
    tags = grey_tags(5_000, 5_000, 1, t273=(4, np.full(5_000, 8)), t278=(4, [1]))
    return tiff({tag: held for tag, held in tags.items() if tag != 279}, bytes(size))


def tiff_of_packed_strips_that_share(size: int) -> bytes:
    packed = zlib.compress(bytes(10**7))
    count = 5_000
    offsets, lengths = np.full(count, 8), np.full(count, len(packed))
    tags = grey_tags(5_000, count, 1, t273=(4, offsets), t279=(4, lengths), t278=(4, [1]))
    return tiff(tags | {259: (3, [8])}, packed)


def tiff_of_a_long_tag(size: int) -> bytes:
    return tiff(grey_tags(4, 4, 16, t258=(3, np.full(size // 2, 8))), bytes(16))


def tiff_of_a_long_unknown_tag(size: int) -> bytes:
    return tiff(grey_tags(4, 4, 16, t50000=(3, np.full(size // 2, 8))), bytes(16))


def tiff_of_tags_that_share(size: int) -> bytes:
    """60,000 tags that all point to the whole file."""
    body = bytes(size)
    entries = b"".join(struct.pack("<HHII", 1000 + i, 7, size, 8) for i in range(60_000))
    directory = struct.pack("<H", 60_000) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


def tiff_of_tiny_tiles(size: int) -> bytes:
    side = 16 * max(1, int((size / 264) ** 0.5))
    count = (side // 16) ** 2
    tags = grey_tags(side, side, 1, t322=(4, [16]), t323=(4, [16]))
    tags |= {324: (4, 8 + 256 * np.arange(count)), 325: (4, np.full(count, 256))}
    return tiff(
        {tag: held for tag, held in tags.items() if tag not in (273, 278, 279)}, bytes(size)
    )


def tiff_with_a_bomb(size: int) -> bytes:
    side = 14_800 if size > 4_000_000 else 1_000
    packer = zlib.compressobj(1)
    row = bytes(side * 3)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    tags = grey_tags(side, side, len(packed), t259=(3, [8]), t262=(3, [2]), t277=(3, [3]))
    return tiff(tags | {258: (3, [8, 8, 8])}, packed)


def large_tiled_tiff(size: int) -> bytes:
    """As many pixels as are taken, in tiles of 256, each packed a thousandfold."""
    side = 14_592 if size > 4_000_000 else 1_024
    packed = zlib.compress(bytes(256 * 256 * 3))
    count = (side // 256) ** 2
    tags = grey_tags(side, side, 1, t259=(3, [8]), t262=(3, [2]), t277=(3, [3]))
    tags |= {258: (3, [8, 8, 8]), 322: (4, [256]), 323: (4, [256])}
    tags |= {324: (4, 8 + len(packed) * np.arange(count)), 325: (4, np.full(count, len(packed)))}
    kept = {tag: held for tag, held in tags.items() if tag not in (273, 278, 279)}
    return tiff(kept, packed * count)


def tiff_of_many_bands(size: int) -> bytes:
    bands, side = (900, 5_000) if size > 4_000_000 else (50, 100)
    packed = zlib.compress(bytes(side * bands * 4))
    tags = grey_tags(side, side, 1, t259=(3, [8]), t277=(3, [bands]), t278=(4, [1]))
    tags |= {258: (3, [32] * bands), 339: (3, [3] * bands)}
    tags |= {273: (4, 8 + len(packed) * np.arange(side)), 279: (4, np.full(side, len(packed)))}
    return tiff(tags, packed * side)


# -- AVIF ---------------------------------------------------------------------------------------


def avif_that_claims_little(size: int) -> bytes:
    """A film frame of many pixels whose container says that it is 16 x 16."""
    side = 8_000 if size > 4_000_000 else 600
    data = encoded(Image.new("RGB", (side, side), "teal"), "AVIF", speed=10)
    return data.replace(struct.pack(">II", side, side), struct.pack(">II", 16, 16))


def large_avif(size: int) -> bytes:
    side = 5_000 if size > 4_000_000 else 300
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "AVIF", speed=10, quality=90)


KINDS: dict[str, Callable[[int], bytes]] = {
    name: build
    for name, build in list(globals().items())
    if callable(build)
    and name.split("_")[0]
    in ("jpeg", "progressive", "large", "png", "noisy", "gif", "bmp", "webp", "tiff", "avif")
    and name not in ("bmp_of_runs", "tiff", "png_that_claims")
}
"""Name -> how to build a file of about so many bytes."""
