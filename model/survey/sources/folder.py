"""Pictures in a folder of any depth; ImageFolder's layout among them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from model.images import looks_like_a_picture
from model.survey.sources.listed_picture import ListedPicture


def list_folder(folder: Path) -> Iterator[ListedPicture]:
    """List the pictures below a folder in the order of their names.

    A picture's class is the folder below `folder` in which it lies, as torchvision's ImageFolder
    has it; pictures that lie in `folder` itself have none. One folder's names are in memory at a
    time.
    """
    for path in _walk(folder):
        name = path.relative_to(folder)
        label = name.parts[0] if len(name.parts) > 1 else None
        yield ListedPicture(name.as_posix(), str(path), 0, path.stat().st_size, label)


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif looks_like_a_picture(path := Path(entry.path)) and path.is_file():
            yield path
