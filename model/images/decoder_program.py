"""The program that `decoder_process` starts; it imports Pillow and nothing of the project.

    python -I decoder_program.py KIND MAX_PIXELS KEPT_PIXELS MAX_SIDE SECONDS PATH

reads a file from its input and writes "WIDTH HEIGHT" and the bytes of RGB. It ends with 3 if
there is no plug-in for KIND, with 4 if the picture is too large, and with 5 if it is damaged.
A picture of more than KEPT_PIXELS is written at a half of its size.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

NO_PLUG_IN, TOO_LARGE, DAMAGED = 3, 4, 5
MEMORY = 600_000_000


def main(
    kind: str, max_pixels: int, kept_pixels: int, max_side: int, seconds: float, path: str
) -> int:
    """Decode standard input to standard output."""
    sys.path[:] = path.split(os.pathsep)
    from PIL import Image as images

    images.MAX_IMAGE_PIXELS = None
    try:
        plug_in = _plug_in(kind)
    except ImportError:
        return NO_PLUG_IN
    data = sys.stdin.buffer.read()
    bound_process(seconds)
    try:
        image = plug_in(io.BytesIO(data))
        del data
        if image.width * image.height > max_pixels:
            sys.stdout.write(f"{image.width} {image.height}")
            return TOO_LARGE
        image.load()
        picture = _upright_rgb(image, max_side, kept_pixels)
        sys.stdout.buffer.write(b"%d %d\n" % picture.size + picture.tobytes())
        return 0
    except Exception:  # decoders raise nearly anything on a damaged file
        return DAMAGED


def _plug_in(kind: str) -> type[ImageFile]:
    if kind == "AVIF":
        from PIL import AvifImagePlugin, features

        if not features.check("avif"):
            raise ImportError
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        return AvifImagePlugin.AvifImageFile
    from pillow_heif import HeifImageFile, options

    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return HeifImageFile


def bound_process(seconds: float) -> None:
    """Bound memory and processor time of this process from here on, where the system can."""
    try:
        import resource
        import signal
    except ImportError:  # Windows
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _upright_rgb(image: Image, max_side: int, kept_pixels: int) -> Image:
    from PIL import Image as images
    from PIL import ImageOps

    factor = 2 if image.width * image.height > kept_pixels else 1
    if max_side and max(image.size) > max_side:
        factor = max(factor, max(image.size) // (2 * max_side))
    if factor > 1:
        image = _kept_exif(image, image.reduce(factor))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = _kept_exif(image, images.new("RGB", layered.size, "white"))
        image.paste(layered, mask=layered.getchannel("A"))
    picture = _kept_exif(image, image.convert("RGB"))
    return ImageOps.exif_transpose(picture)


def _kept_exif(image: Image, other: Image) -> Image:
    if "exif" in image.info:
        other.info["exif"] = image.info["exif"]
    return other


if __name__ == "__main__":
    _, kind, *numbers, path = sys.argv
    sizes = [int(number) for number in numbers[:3]]
    sys.exit(main(kind, sizes[0], sizes[1], sizes[2], float(numbers[3]), path))
