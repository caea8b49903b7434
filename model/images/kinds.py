"""Recognise a picture's format by its first bytes, and name what is not taken."""

from __future__ import annotations

import codecs
import zlib

from model.errors import ImageRejected

_TAKEN = "Saccade opens JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC."

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
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphe", "HEIF"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
)
_SAVE_JPEG = "Export it as JPEG or PNG."
_FRAME = "Save one frame as JPEG or PNG, or open the clip on the page Video."
_DICOM = (
    "Export it as PNG from its viewer; or in Python, save pydicom.dcmread(file).pixel_array "
    "as a 16-bit TIFF."
)
_NIFTI = (
    "Export one slice as PNG from its viewer; or in Python, save a slice of "
    "nibabel.load(file).get_fdata() as a float TIFF."
)
# files that are refused by name: (offset, bytes found there, the file's kind, the cure)
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftypcrx", "a camera's raw picture", _SAVE_JPEG),
    (4, b"ftyp", "a video", _FRAME),
    (4, b"moov", "a video", _FRAME),
    (0, b"\x1aE\xdf\xa3", "a video", _FRAME),
    (8, b"AVI ", "a video", _FRAME),
    (0, b"\0\0\x01\xba", "a video", _FRAME),
    (0, b"FLV", "a video", _FRAME),
    (8, b"WAVE", "a sound file", "Choose a picture."),
    (0, b"ID3", "a sound file", "Choose a picture."),
    (0, b"OggS", "a sound or video file", "Choose a picture."),
    (0, b"%PDF", "a PDF", "Export the page as PNG."),
    (0, b"%!PS", "a PostScript drawing", "Export the page as PNG."),
    (0, b"8BPS", "a Photoshop file", _SAVE_JPEG),
    (0, b"gimp xcf", "a GIMP file", _SAVE_JPEG),
    (0, b"\0\0\x01\0", "an icon", "Save it as PNG."),
    (0, b"\0\0\x02\0", "a mouse pointer", "Save it as PNG."),
    (0, b"icns", "an icon", "Save it as PNG."),
    (0, b"DDS ", "a texture (DDS)", "Save it as PNG."),
    (0, b"\xabKTX", "a texture (KTX)", "Save it as PNG."),
    (0, b"qoif", "a QOI picture", "Save it as PNG."),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", "Save it as PNG, or as a float TIFF."),
    (0, b"#?RADIANCE", "a Radiance picture", "Save it as PNG, or as a float TIFF."),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows drawing (WMF)", "Save it as PNG."),
    (40, b" EMF", "a Windows drawing (EMF)", "Save it as PNG."),
    (4, b"FORM", "a DjVu document", "Export the page as PNG."),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw picture", _SAVE_JPEG),
    (0, b"IIRO", "a camera's raw picture", _SAVE_JPEG),
    (0, b"IIU\0", "a camera's raw picture", _SAVE_JPEG),
    (0, b"FOVb", "a camera's raw picture", _SAVE_JPEG),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _SAVE_JPEG),
    (0, b"version https://git-lfs", "a Git LFS pointer", "Fetch the file with git lfs pull."),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _SAVE_JPEG),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _SAVE_JPEG),
    (0, b"\xff\x0a", "a JPEG XL picture", _SAVE_JPEG),
    (128, b"DICM", "a DICOM picture", _DICOM),
    (344, b"n+1\0", "a NIfTI volume", _NIFTI),
    (344, b"ni1\0", "a NIfTI volume", _NIFTI),
    (4, b"n+2\0", "a NIfTI volume", _NIFTI),
    (4, b"ni2\0", "a NIfTI volume", _NIFTI),
    (0, b"\x89HDF\r\n", "an HDF5 file", "Save one picture of it as PNG."),
    (0, b"SIMPLE  =", "a FITS picture", "Export it as PNG."),
    (0, b"\x93NUMPY", "a NumPy array", "Save it as PNG."),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document", "Take the picture out of it first."),
    (0, b"\x1f\x8b", "a compressed archive", "Unpack it first."),
    (0, b"BZh", "a compressed archive", "Unpack it first."),
    (0, b"\xfd7zXZ", "a compressed archive", "Unpack it first."),
    (0, b"7z\xbc\xaf", "a compressed archive", "Unpack it first."),
    (0, b"Rar!", "a compressed archive", "Unpack it first."),
)


def kind_of(data: bytes) -> str | None:
    """Name the format that these first bytes belong to, in Pillow's word; None if none is taken."""
    for offset, mark, kind in _SIGNATURES:
        if data.startswith(mark, offset):
            avif = kind == "HEIF" and b"avif" in data[8 : min(64, int.from_bytes(data[:4], "big"))]
            return "AVIF" if avif else kind
    return None


def recognise_kind(data: bytes) -> str:
    """Recognise the format by the file's first bytes, in Pillow's word, or raise ImageRejected."""
    if kind := kind_of(data):
        return kind
    if data.startswith(b"\x1f\x8b"):
        data = _first_unpacked(data) or data
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
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8")()
    try:  # the last character may be cut
        text = decoder.decode(head, final=len(head) < 4096).lower()
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c.isspace() or c == "\ufeff" for c in text) else None


def _first_unpacked(data: bytes) -> bytes:
    """The first bytes of a gzip archive's content if that is known by name, such as NIfTI."""
    try:
        head = zlib.decompressobj(wbits=31).decompress(data[:4096], 512)
    except zlib.error:
        return b""
    return head if any(head.startswith(mark, at) for at, mark, *_ in _FOREIGN if at) else b""
