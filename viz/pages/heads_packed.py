"""Pictures of a survey out of a packed data set that a visitor uploads."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from model.errors import DataError, ImageRejected
from model.survey.blocks import open_entry
from model.survey.sources.listed_picture import ListedPicture
from model.survey.sources.packed_files import PackedFile
from viz.pages.shared.picture import MAX_SIDE
from viz.server.queue import Cost
from viz.server.results import computed_once

PACKED = ".npz"
MEGABYTES = 64
"""Of a packed file that is uploaded: Tiny ImageNet's 5,000 test pictures have 7."""
UNPACKED = 256 << 20
"""Bytes that its arrays may have."""

Found = Mapping[str, Image.Image]


@computed_once(
    "packed pictures",
    key=lambda upload, names: (upload.file_id, names),
    size=lambda found: sum(3 * photo.width * photo.height for photo in found.values()),
    cost=lambda upload, names: Cost(bytes=2 * UNPACKED, seconds=2.0),
)
def packed_pictures(upload: UploadedFile, names: Sequence[str]) -> Found:
    """Open pictures of an uploaded packed file by the names that a survey gives them.

    Returns:
        Those that are in it, by name; none where it is damaged or too large.
    """
    data, stem = upload.getvalue(), f"{upload.name}#"
    wanted = {name: name.removeprefix(stem) for name in names if name.startswith(stem)}
    numbers = {name: int(text) for name, text in wanted.items() if text.isdecimal()}
    try:
        if not numbers or not _is_small(data):
            return {}
        with TemporaryDirectory(prefix="saccade-") as folder:
            file = Path(folder) / "uploaded.npz"
            file.write_bytes(data)
            packed = PackedFile(file, Path(folder), described=False)
            there = {name: n for name, n in numbers.items() if n < len(packed)}
            return dict(_open((name, packed.picture(n)) for name, n in there.items()))
    except (DataError, OSError, zipfile.BadZipFile):
        return {}


def _is_small(data: bytes) -> bool:
    """Whether the arrays of a file that was compressed have a bounded size."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return sum(info.file_size for info in archive.infolist()) <= UNPACKED


def _open(entries: Iterator[tuple[str, ListedPicture]]) -> Iterator[tuple[str, Image.Image]]:
    for name, entry in entries:
        try:
            if entry.pixels is None or max(entry.pixels[:2]) <= MAX_SIDE:
                yield name, open_entry(entry, MAX_SIDE)
        except (ImageRejected, OSError, ValueError, TypeError):
            continue  # the page says how many are missing
