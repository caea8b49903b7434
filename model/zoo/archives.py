"""ZIP archives from outside, bounded before anything in them is unpacked."""

from __future__ import annotations

import stat
import zipfile
from typing import IO

from model.errors import ModelRejected

MAX_BYTES = 1_500_000_000  # of weights; ViT-L in float32 has 1.2 GB
MAX_ENTRIES = 20_000
MAX_DIRECTORY = 60 * MAX_ENTRIES  # bytes of the list of entries, which is read whole
MAX_RATIO = 3  # trained weights hardly shrink
SMALL = 1_000_000  # bytes: what nobody need count


def open_archive(name: str, file: IO[bytes], size: int) -> zipfile.ZipFile:
    """Open a ZIP archive whose entries are plain files, and together of a plausible size.

    Args:
        name: The archive's name, for messages.
        file: The archive.
        size: Its size in bytes.

    Raises:
        ModelRejected: It has too many entries, would unpack to too much, holds links, needs a
            password, or is packed in a way that costs more than it should.
        zipfile.BadZipFile: It is damaged.
    """
    guarded = _Guarded(name, file)
    archive = zipfile.ZipFile(guarded)
    guarded.longest = None
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ModelRejected(f"{name} holds {len(entries):,} files: no model has so many.")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ModelRejected(f"{name} is damaged: two files in it have one name. Save it again.")
    if sum(entry.file_size for entry in entries) > min(MAX_BYTES, max(MAX_RATIO * size, SMALL)):
        raise ModelRejected(
            f"{name} unpacks to far more than a model's tensors. Save the model again."
        )
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelRejected(
                f"{name} is packed in a way that is rarely used. Zip the files again as usual "
                "(deflate)."
            )
        if entry.flag_bits & 1:
            raise ModelRejected(f"{name} asks for a password. Zip the files without one.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ModelRejected(f"{name} holds links in place of files. Zip the files themselves.")
    return archive


class _Guarded:
    """A file from which a reader takes no more than `longest` bytes at once."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.archive, self.file = name, file
        self.longest: int | None = MAX_DIRECTORY
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if self.longest is not None and size > self.longest:
            raise ModelRejected(f"{self.archive} holds more files than any model has.")
        return self.file.read(size)
