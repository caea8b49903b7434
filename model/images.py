"""Open a picture from outside: any bytes in, an upright RGB image or a clear error out.

Every picture that the project did not make itself comes in here. Nothing is decoded before the
file's kind, its size in bytes and its size in pixels are known. Only Pillow's decoders of six
formats ever run on an unknown file, and every error that they raise on a damaged one becomes
`ImageRejected`.
"""

import io
import os
import re
import stat
from pathlib import Path
from typing import IO

import numpy as np
from PIL import (  # noqa: F401 - a plugin that is imported here is registered for every thread
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from model.errors import ImageRejected

MAX_PIXELS = 24_000_000
MAX_BYTES = 100_000_000
MAX_ASPECT = 20

_TAKEN = "Saccade opens JPEG, PNG, WebP, GIF, BMP and TIFF."
_AGAIN = "Export or download it again, as JPEG or PNG."

# formats that are opened: (offset, bytes found there, Pillow's name of the format)
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
)
_SAVE_JPEG = "Export it as JPEG or PNG."
# files that are refused by name: (offset, bytes found there, the file's kind, the cure)
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftypavi", "an AVIF picture", _SAVE_JPEG),
    (4, b"ftyphe", "a HEIC picture", "Export it as JPEG."),
    (4, b"ftypmif1", "a HEIC picture", "Export it as JPEG."),
    (4, b"ftypmsf1", "a HEIC picture", "Export it as JPEG."),
    (4, b"ftypcrx", "a camera's raw picture", _SAVE_JPEG),
    (4, b"ftyp", "a video", "Save one frame as JPEG or PNG."),
    (4, b"moov", "a video", "Save one frame as JPEG or PNG."),
    (0, b"\x1aE\xdf\xa3", "a video", "Save one frame as JPEG or PNG."),
    (8, b"AVI ", "a video", "Save one frame as JPEG or PNG."),
    (0, b"\0\0\x01\xba", "a video", "Save one frame as JPEG or PNG."),
    (0, b"FLV", "a video", "Save one frame as JPEG or PNG."),
    (8, b"WAVE", "a sound file", "Choose a picture."),
    (0, b"ID3", "a sound file", "Choose a picture."),
    (0, b"OggS", "a sound or video file", "Choose a picture."),
    (0, b"%PDF", "a PDF", "Export the page as PNG."),
    (0, b"8BPS", "a Photoshop file", _SAVE_JPEG),
    (0, b"\0\0\x01\0", "an icon", "Save it as PNG."),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _SAVE_JPEG),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _SAVE_JPEG),
    (0, b"\xff\x0a", "a JPEG XL picture", _SAVE_JPEG),
    (128, b"DICM", "a DICOM picture", "Export it as PNG."),
    (0, b"SIMPLE  =", "a FITS picture", "Export it as PNG."),
    (0, b"\x93NUMPY", "a NumPy array", "Save it as PNG."),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document", "Take the picture out of it first."),
    (0, b"\x1f\x8b", "a compressed archive", "Unpack it first."),
    (0, b"7z\xbc\xaf", "a compressed archive", "Unpack it first."),
    (0, b"Rar!", "a compressed archive", "Unpack it first."),
)

_UPRIGHT = {  # EXIF orientation -> the turn that sets the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 0x0112, 0x0142, 0x0143


def open_image(
    source: bytes | str | os.PathLike[str] | IO[bytes], max_side: int | None = None
) -> Image.Image:
    """Open a picture from outside as an upright PIL image of mode RGB.

        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
        >>> image = open_image(file.getvalue(), max_side=320)
        >>> image.mode, image.size
        ('RGB', (320, 240))

    It takes the first frame or page, applies EXIF orientation, lays transparency on white and
    scales deep greys to 8 bits. Safe in threads.

    Args:
        source: the file's bytes, its path, or an open binary file, which is read from its start.
        max_side: largest length of the longer side in pixels; None keeps the size. A JPEG is
            decoded at a fraction of its size where that suffices.

    Raises:
        ImageRejected: for a file that is damaged, is not a picture of the six formats, or is
            larger than MAX_BYTES, MAX_PIXELS or MAX_ASPECT allow. No other error is raised.
    """
    data = _read(source)
    kind = _recognise(data)
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            _check_size(image)
            if max_side:
                image.draft(None, _within(image.size, max_side))
            image.load()
            picture = _turn_upright(_to_rgb(image), image)
    except ImageRejected:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected(_too_large(_megapixels(error))) from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise ImageRejected(_damaged(data, kind, error)) from error
    picture.info.clear()  # a photo's EXIF holds the place where it was taken
    if max_side and max(picture.size) > max_side:
        picture = picture.resize(_within(picture.size, max_side), Image.Resampling.BICUBIC)
    return picture


# -- reading ------------------------------------------------------------------------------------


def _read(source: bytes | str | os.PathLike[str] | IO[bytes]) -> bytes:
    """Read the file, never more than MAX_BYTES of it."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        data = _read_path(Path(source))
    elif hasattr(source, "read"):
        data = _read_file(source)
    else:
        raise ImageRejected(
            f"A picture is expected as bytes, a path or an open file, not as a "
            f"{type(source).__name__}. Save it to a file first."
        )
    if not data:
        raise ImageRejected(f"The file is empty. {_AGAIN}")
    if len(data) > MAX_BYTES:
        raise ImageRejected(_too_heavy(len(data)))
    return data


def _read_path(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageRejected(f"“{path.name}” is a folder. Choose a picture inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageRejected(f"“{path.name}” is no ordinary file. Choose a picture file.")
        if status.st_size > MAX_BYTES:
            raise ImageRejected(_too_heavy(status.st_size))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageRejected(f"There is no file “{path}”. Check its name and folder.") from error
    except ImageRejected:
        raise
    except (OSError, ValueError) as error:
        raise ImageRejected(
            f"“{path.name}” cannot be read ({_cause(error)}). Check that you may open it."
        ) from error


def _read_file(file: IO[bytes]) -> bytes:
    try:
        if file.seekable():
            file.seek(0)
        data = file.read(MAX_BYTES + 1)
    except (AttributeError, OSError, ValueError) as error:
        raise ImageRejected(
            f"The file cannot be read ({_cause(error)}). Open it again, in binary mode."
        ) from error
    if not isinstance(data, bytes):
        raise ImageRejected("The file was opened as text. Open it in binary mode.")
    return data


def _recognise(data: bytes) -> str:
    """Recognise the format by the file's first bytes, not its name; returns Pillow's word."""
    for offset, mark, kind in _SIGNATURES:
        if data.startswith(mark, offset):
            return kind
    for offset, mark, name, cure in _FOREIGN:
        if data.startswith(mark, offset):
            raise ImageRejected(f"This is {name}. {cure}")
    text = _as_text(data[:4096])
    if text is None:
        raise ImageRejected(f"This file is not a picture. {_TAKEN}")
    if "<svg" in text:
        raise ImageRejected("This is an SVG drawing, not made of pixels. Save it as PNG.")
    if "<html" in text or "<!doctype html" in text:
        raise ImageRejected("This is a web page, not the picture on it. Save the picture itself.")
    raise ImageRejected(f"This file holds text, not a picture. {_TAKEN}")


def _as_text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore").lower()
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c.isspace() or c == "\ufeff" for c in text) else None


# -- sizes --------------------------------------------------------------------------------------


def _check_size(image: Image.Image) -> None:
    """Refuse a picture by its header alone, before a pixel is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageRejected(_too_large(_pixels(image.size)))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageRejected(
            f"The picture is {_pixels(image.size)}: too long and thin to look at. "
            f"Crop it, so that one side is at most {MAX_ASPECT} times the other."
        )
    # libtiff allocates a whole tile, which may be far larger than the picture it belongs to
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) > MAX_PIXELS:
        raise ImageRejected(f"This TIFF is built of tiles larger than the picture. {_AGAIN}")


def _stated_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Read (width, height) from the header, for messages, in formats where that is simple."""
    if kind == "PNG" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "BMP" and len(data) >= 26 and data[14] >= 40:
        width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (18, 22))
        return abs(width), abs(height)
    return None


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Shrink a size, shape kept, until its longer side is at most `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


# -- converting ---------------------------------------------------------------------------------


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _scale_grey(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and max(transparent) > 255:
        # a transparent colour in 16 bits, while Pillow keeps the upper 8 of each channel
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    layered = image.convert("RGBA")
    picture = Image.new("RGB", image.size, "white")
    picture.paste(layered, mask=layered.getchannel("A"))
    return picture


def _scale_grey(image: Image.Image) -> Image.Image:
    """Scale deep grey (16-bit, 32-bit or float) to 8 bits; Pillow alone would clip at 255.

    The scale is the narrowest of 0..1 (floats), 0..255 and 0..65535 that holds all values, and
    lowest to highest where none does.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    scales = {"F": (1.0, 255.0, 65535.0), "I": (255.0, 65535.0)}.get(image.mode, (65535.0,))
    full = next((scale for scale in scales if low >= 0 and high <= scale), None)
    if full is None:
        values -= low
        full = high - low or 1.0
    grey = np.rint(values * (255.0 / full)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[np.asarray(image) == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _turn_upright(picture: Image.Image, original: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(original.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block is no reason to refuse sound pixels
        turn = None
    return picture if turn is None else picture.transpose(turn)


# -- messages -----------------------------------------------------------------------------------


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]:,} × {size[1]:,} pixels"


def _megapixels(error: Exception) -> str:
    """Read the size from the error of Pillow's own limit, which passes on no header."""
    pixels = re.search(r"\d+", str(error))
    return f"{int(pixels[0]) / 1e6:,.0f} megapixels" if pixels else "hundreds of megapixels"


def _too_large(stated: str) -> str:
    return (
        f"The picture is too large: {stated}. "
        f"At most {MAX_PIXELS // 1_000_000} megapixels are taken: make it smaller and try again."
    )


def _too_heavy(size: int) -> str:
    return (
        f"The file is too large: {size / 1e6:,.0f} MB. "
        f"At most {MAX_BYTES // 1_000_000} MB are taken: save it as JPEG or make it smaller."
    )


def _damaged(data: bytes, kind: str, error: Exception) -> str:
    name = "WebP" if kind == "WEBP" else kind
    size = _stated_size(data, kind)
    if size and 0 in size:
        return f"This {name} holds no pixels: it says it is {_pixels(size)}. {_AGAIN}"
    if "truncated" in str(error).lower():
        return f"This {name} stops before its end, as if it had been copied in part. {_AGAIN}"
    return f"This {name} is damaged or of a rare kind that cannot be read here. {_AGAIN}"


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
