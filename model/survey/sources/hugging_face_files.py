"""Pictures in a Hugging Face data set on disk, as `Dataset.save_to_disk` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from model.errors import DataError
from model.survey.sources.listed_picture import ListedPicture

INFO = "dataset_info.json"


def list_hugging_face(folder: Path) -> Iterator[ListedPicture]:
    """List the pictures of the Arrow files in a folder, in the order that `state.json` gives.

    A picture lies whole in its Arrow file, so its bytes are named by their place there. The
    `datasets` library is not needed.

    Raises:
        DataError: the files are damaged, or no column holds pictures.
    """
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        files = [folder / each["filename"] for each in state["_data_files"]]
        column, label, names = _find_columns(info["features"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} is no data set that save_to_disk wrote, or it is damaged ({error}). Give "
            "the folder of one split, which holds dataset_info.json and state.json."
        ) from None
    for file in files:
        try:
            yield from _list_file(file, column, label, names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file} is damaged ({error}). Save the data set again.") from None


def _find_columns(features: dict[str, Any]) -> tuple[str, str | None, list[str]]:
    """Name the column of pictures, the column of labels, and the classes."""
    kinds = {name: each.get("_type") for name, each in features.items()}
    pictures = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    if not pictures:
        raise ValueError("none of its columns holds pictures")
    label = labels[0] if labels else None
    return pictures[0], label, features[label]["names"] if label else []


def _list_file(
    file: Path, column: str, label: str | None, names: list[str]
) -> Iterator[ListedPicture]:
    number = 0
    with pa.memory_map(str(file)) as mapped:
        start, size = mapped.read_buffer().address, mapped.size()
        mapped.seek(0)
        for batch in pa.ipc.open_stream(mapped):
            pictures, labels = batch[column], batch[label] if label else None
            held = pictures.field("bytes")
            values = held.buffers()[2]
            places = held.offset, held.buffers()[1], 8 if pa.types.is_large_binary(held.type) else 4
            for row in range(len(batch)):
                of_class = labels[row].as_py() if labels is not None else None
                named = f"{file.name}#{number}"
                number += 1
                entry_label = None if of_class is None or of_class < 0 else names[of_class]
                if values is None or not held[row].is_valid:
                    path = pictures.field("path")[row].as_py()
                    yield _outside(named, file, path, entry_label)
                    continue
                first, last = _span(row, *places)
                begin = values.address - start + first
                if not 0 <= begin <= size - (last - first):
                    raise DataError(
                        f"{file} is compressed, so its pictures lie nowhere in it. Save the data "
                        "set again with save_to_disk."
                    )
                yield ListedPicture(named, str(file), begin, last - first, entry_label)


def _span(row: int, offset: int, places: pa.Buffer, width: int) -> tuple[int, int]:
    """Where a value begins and ends, in the buffer of all values."""
    at = (row + offset) * width
    pair = places[at : at + 2 * width].to_pybytes()
    return int.from_bytes(pair[:width], "little"), int.from_bytes(pair[width:], "little")


def _outside(name: str, file: Path, path: str | None, label: str | None) -> ListedPicture:
    """A picture that the data set names and does not hold."""
    if path and (found := file.parent / path).is_file():
        return ListedPicture(name, str(found), 0, found.stat().st_size, label)
    return ListedPicture(
        name, str(file), label=label, problem=f"The data set names {path}, not there."
    )
