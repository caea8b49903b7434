"""Open a picture from outside: any bytes in, an upright RGB image or a clear error out.

Every picture that the project did not make itself comes in here. Nothing is decoded before the
file's kind, its size in bytes, its size in pixels and the number of its parts are known. A decoder
sees only the parts of the file that the pixels need, and every error that it raises on a damaged
one becomes `ImageRejected`.
"""

from model.errors import ImageRejected
from model.images.limits import ENDINGS, MAX_ASPECT, MAX_BYTES, MAX_PIXELS, MAX_REDUCIBLE_PIXELS
from model.images.opening import OpenedPicture, looks_like_a_picture, open_image, open_picture

__all__ = [
    "ENDINGS",
    "MAX_ASPECT",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_REDUCIBLE_PIXELS",
    "ImageRejected",
    "OpenedPicture",
    "looks_like_a_picture",
    "open_image",
    "open_picture",
]
