"""Pictures in tar files as webdataset writes them: files of one sample share their name's stem."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from model.images import ENDINGS
from model.survey.sources.listed_picture import ListedPicture

LABEL = "cls"
LONGEST_LABEL = 200


def list_tars(files: list[Path]) -> Iterator[ListedPicture]:
    """List the pictures of tar files, in the order of the files and of their members.

    A picture's class is what stands in the file beside it that ends in .cls: a name or a number.
    A tar that is cut off gives the pictures before the cut, and one entry that names the problem.
    """
    for file in files:
        try:
            yield from _list_tar(file)
        except (tarfile.TarError, EOFError) as error:
            yield ListedPicture(
                file.name,
                str(file),
                problem=f"{file.name} is cut off or damaged ({error}). "
                "Fetch it again; what comes after the cut is not counted.",
            )


def _list_tar(file: Path) -> Iterator[ListedPicture]:
    picture: ListedPicture | None = None
    label, sample, end = None, None, file.stat().st_size
    with tarfile.open(file, "r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would keep every header
            stem, _, ending = member.name.rpartition("/")[2].partition(".")
            if (key := (member.name.rpartition("/")[0], stem)) != sample:
                if picture:
                    yield replace(picture, label=label)
                picture, label, sample = None, None, key
            if member.offset_data + member.size > end:
                raise tarfile.ReadError("unexpected end of data")
            if ending.lower() in ENDINGS and member.isfile():
                name = f"{file.name}/{member.name}"
                picture = ListedPicture(name, str(file), member.offset_data, member.size)
            elif ending == LABEL and (content := tar.extractfile(member)):
                label = content.read(LONGEST_LABEL).decode(errors="replace").strip()
    if picture:
        yield replace(picture, label=label)
