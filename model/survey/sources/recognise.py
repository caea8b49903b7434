"""Tell in which form a data set lies, and list its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model.errors import DataError
from model.survey.sources import hugging_face_files
from model.survey.sources.folder import list_folder
from model.survey.sources.hugging_face_files import list_hugging_face
from model.survey.sources.listed_picture import ListedPicture
from model.survey.sources.packed_files import find_packed, list_packed
from model.survey.sources.tar_shards import list_tars


def list_pictures(source: Path, room: Path) -> Iterator[ListedPicture]:
    """List the pictures of a data set in an order that is the same on every machine.

    Args:
        source: a folder of pictures of any depth, a tar file or a folder of them, a packed split
            (its .npz, or its name without the ending), or a Hugging Face data set on disk.
        room: a folder where a compressed packed file may be unpacked.

    Raises:
        DataError: there is nothing of the kind.
    """
    if source.suffix == ".tar" and source.is_file():
        return list_tars([source])
    if source.suffix in (".gz", ".tgz", ".zip", ".zst") and source.is_file():
        raise DataError(
            f"{source} is compressed, so no picture in it can be reached by itself. Unpack it, "
            "and give the folder or the .tar."
        )
    if source.is_dir():
        if (source / hugging_face_files.INFO).is_file():
            return list_hugging_face(source)
        if tars := sorted(source.glob("*.tar")):
            return list_tars(tars)
        return list_folder(source)
    if packed := find_packed(source):
        return list_packed(packed, room)
    raise DataError(
        f"There are no pictures at {source}. Give a folder, a .tar or a folder of them, a packed "
        "split such as data/val, or a data set that save_to_disk wrote."
    )
