"""Files that appear complete or not at all, also where the disk is full."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model.errors import CheckpointError

_OF_TORCH = re.compile(
    "PytorchStreamWriter|inline_container|iostream"
)  # a full disk, to torch.save
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside a file and move into place, so that readers see the old file or the new.

    Args:
        path: The file; its folder is made where it is missing.
        write: Writes the whole content to the path that it gets.

    Raises:
        CheckpointError: The disk is full, or the folder cannot be written; what was there before
            is there still, and nothing half-written lies beside it.
    """
    unfinished: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        unfinished = Path(name)
        write(unfinished)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    except BaseException as error:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()
        if isinstance(error, OSError) or _OF_TORCH.search(str(error)):
            raise CheckpointError(_why_not_written(path, error)) from error
        raise


def _why_not_written(path: Path, error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else errno.ENOSPC
    if number in _FULL:
        why, cure = "the disk is full", "Free some space, or give a folder on another disk"
    elif number in _FORBIDDEN:
        why, cure = "nothing may be written there", "Give another folder, or change its rights"
    else:
        why = getattr(error, "strerror", None) or str(error)[:100]
        cure = "Give another folder"
    return f"{path} could not be written: {why}. {cure}. What was there before is unchanged."
