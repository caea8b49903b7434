"""Read a picture file, never more of it than is taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from model.errors import ImageRejected
from model.images.limits import MAX_BYTES
from model.images.sentences import AGAIN, cause, quote, too_heavy


def read_bytes(source: bytes | str | os.PathLike[str] | IO[bytes]) -> bytes:
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
            f"{quote(type(source).__name__)}. Save it to a file first."
        )
    if not data:
        raise ImageRejected(f"The file is empty. {AGAIN}")
    if len(data) > MAX_BYTES:
        raise ImageRejected(too_heavy(len(data)))
    return data


def _read_path(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageRejected(f"“{quote(path.name)}” is a folder. Choose a picture inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageRejected(f"“{quote(path.name)}” is no ordinary file. Choose a picture file.")
        if status.st_size > MAX_BYTES:
            raise ImageRejected(too_heavy(status.st_size))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageRejected(
            f"There is no file “{quote(path)}”. Check its name and folder."
        ) from error
    except ImageRejected:
        raise
    except (OSError, ValueError) as error:
        raise ImageRejected(
            f"“{quote(path.name)}” cannot be read ({cause(error)}). Check that you may open it."
        ) from error


def _read_file(file: IO[bytes]) -> bytes:
    try:
        if file.seekable():
            file.seek(0)
        data = file.read(MAX_BYTES + 1)
    except (AttributeError, OSError, ValueError) as error:
        raise ImageRejected(
            f"The file cannot be read ({cause(error)}). Open it again, in binary mode."
        ) from error
    if not isinstance(data, bytes):
        raise ImageRejected("The file was opened as text. Open it in binary mode.")
    return data
