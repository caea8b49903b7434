"""Cards on disk: a JSON file beside the weights file, of the same name."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.card import Card
from model.errors import CheckpointError

MOST_QUOTED = 200  # characters of a file in a sentence
_REQUIRED = {"task": str, "config": dict, "sha256": str}
_OF_PHOTOS = ("normalisation", "resize")


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card of a weights file, without opening the weights.

    Args:
        path: The weights file; the card lies beside it and ends in .json.

    Returns:
        The card. Keys that this version does not know are kept.

    Raises:
        CheckpointError: The card is missing, damaged or incomplete, or a value has a wrong type.
    """
    path = Path(path)
    try:
        return Card(**_read_values(path))
    except ValidationError as error:
        raise CheckpointError(_sentence(path, error)) from error


def read_task(path: Path) -> str:
    """Read what a checkpoint does, "classify" or "caption"; a file is read again once it changed.

    Raises CheckpointError where the card is missing, damaged or incomplete.
    """
    return _task_and_title(path)[0]


def read_title(path: Path) -> str:
    """Read how a checkpoint is called on the pages, "" if it has no title; as `read_task`."""
    return _task_and_title(path)[1]


def _task_and_title(path: Path) -> tuple[str, str]:
    try:
        found = card_path(path).stat()
    except (OSError, ValueError):
        return _parse_task_and_title(path)  # says what is wrong
    return _parse_task_and_title(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _parse_task_and_title(path: Path, *changes_with_the_file: int) -> tuple[str, str]:
    values = _read_values(path)
    title = values.get("title")
    return values["task"], title if isinstance(title, str) else ""


def card_path(path: Path) -> Path:
    """Return the path of the card that belongs to a weights file."""
    return path.with_suffix(".json")


def card_as_json(card: Card) -> bytes:
    """Write a card as text, keys in their order."""
    return json.dumps(card.as_dict(), indent=2, ensure_ascii=False).encode() + b"\n"


def read_checkpoint_file(path: Path) -> bytes:
    """Read one of the two files of a checkpoint. Raises CheckpointError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"There is no file {path}. A checkpoint is a pair: NAME.safetensors and NAME.json."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def _read_values(path: Path) -> dict[str, Any]:
    """Read a card as plain values, which have at least task, config and sha256."""
    path = card_path(path)
    data = read_checkpoint_file(path)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name}, the card of a checkpoint, is not readable as JSON. Fetch it again."
        ) from error
    missing = [
        key
        for key, kind in _REQUIRED.items()
        if not isinstance(values, dict) or not isinstance(values.get(key), kind)
    ]
    if missing:
        raise CheckpointError(
            f"{path.name} is not the card of a checkpoint: it has no {' and no '.join(missing)}."
        )
    return values


def _sentence(path: Path, error: ValidationError) -> str:
    """Say in one sentence which value of a card has a wrong type, and what to do."""
    first = error.errors(include_url=False, include_input=False)[0]
    # The choices of a union come last in a location: "float", or a whole description in brackets.
    place = [str(part) for part in first["loc"] if part not in ("float", "int")]
    where = ".".join(part for part in place if "[" not in part)
    where = "".join(c for c in where if c.isprintable())[:60]
    why = f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    if where.startswith("classes"):
        return f"The card of {path.name} has classes that are no names. Mend it."
    if where.startswith(_OF_PHOTOS):
        return unprepared(path, why)
    return f"The card of {path.name} has a value of a wrong type ({why}). Mend it."


def unprepared(path: Path, why: object) -> str:
    """Say that a card does not tell how a photo becomes what the model takes."""
    shown = "".join(c for c in str(why) if c.isprintable())
    shown = shown if len(shown) <= MOST_QUOTED else shown[: MOST_QUOTED - 1] + "…"
    return (
        f"The card of {path.name} does not say how a photo is normalised and resized ({shown}). "
        "Train the model again, or fetch its card again."
    )
