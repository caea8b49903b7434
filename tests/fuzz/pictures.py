"""Hostile and mutated pictures, and the door that they come to."""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image

from model.images import ImageRejected, open_image
from tests.fuzz import hostile_pictures
from tests.fuzz.hostile_pictures import encoded, smooth

REFUSED = ImageRejected
_SIDE = 1024  # what the page asks for


def open_case(data: bytes) -> None:
    """Open as the page does."""
    opened = open_image(data, max_side=_SIDE)
    assert opened.mode == "RGB" and max(opened.size) <= _SIDE


def make_case(chance: random.Random, largest: int) -> tuple[str, bytes]:
    """One file of at most about `largest` bytes, with a word for what it is."""
    if chance.random() < 0.05:
        name, build = chance.choice(sorted(hostile_pictures.KINDS.items()))
        size = int(100 * (largest / 100) ** chance.random())
        return name, build(size)
    name, data = chance.choice(REAL)
    return f"mutated {name}", mutated(data, chance)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Overwrite, cut out, double or append some bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed)) if chance.random() < 0.5 else chance.randrange(200)
        at = min(at, len(changed) - 1)
        length = chance.choice((1, 1, 2, 4, 30))
        what = chance.randrange(6)
        if what < 3:
            changed[at : at + length] = chance.randbytes(length)
        elif what == 3:
            changed[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif what == 4:
            changed[at : at + length] = b"" if len(changed) > 64 else b"x"
        else:
            changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 50))
    return bytes(changed[: chance.choice((None, None, None, chance.randrange(1, len(changed))))])


def _real() -> list[tuple[str, bytes]]:
    image = smooth(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40))
    floats = Image.fromarray(np.linspace(-1, 2, 1200, dtype=np.float32).reshape(30, 40))
    files = [(kind, encoded(image, kind)) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    files += [
        ("JPEG", encoded(image, "JPEG", progressive=True, exif=exif)),
        ("JPEG", encoded(image.convert("CMYK"), "JPEG")),
        ("PNG", encoded(image.convert("P"), "PNG", transparency=3)),
        ("PNG", encoded(deep, "PNG")),
        ("PNG", hostile_pictures.deep_png(40, 30)),
        ("WEBP", encoded(image.convert("RGBA"), "WEBP", lossless=True)),
        ("WEBP", encoded(image, "WEBP", save_all=True, append_images=[image.rotate(90)])),
        ("GIF", encoded(image, "GIF", save_all=True, append_images=[image.rotate(90)])),
        ("BMP", hostile_pictures.bmp_of_runs(b"\x28\7\0\0\0\3abc\0\0\1" * 9 + b"\0\1", 40, 30)),
        ("TIFF", encoded(deep, "TIFF")),
        ("TIFF", encoded(floats, "TIFF", compression="tiff_deflate", tiffinfo={317: 3})),
        ("TIFF", encoded(image.convert("1"), "TIFF", compression="group4")),
        ("TIFF", encoded(image.convert("P"), "TIFF", compression="tiff_lzw")),
        ("TIFF", hostile_pictures.large_tiled_tiff(0)),
        ("TIFF", hostile_pictures.tiff_of_many_bands(0)),
    ]
    for compression in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        files.append(("TIFF", encoded(image, "TIFF", compression=compression, exif=exif)))
    try:
        files.append(("AVIF", encoded(image, "AVIF")))
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(image).save(file)
        files.append(("HEIC", file.getvalue()))
    except (ImportError, OSError, KeyError):
        pass  # Pillow without AVIF, or no plug-in
    return files


REAL = _real()
