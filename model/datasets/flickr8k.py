"""Read Flickr8k as published: a folder of photos, a file of captions, a list for each split."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from model.datasets.published import load_pictures
from model.errors import DataError

SIDE = 160  # pixels to which the photos are squashed, so that no part is cut away
PHOTOS = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images")
CAPTIONS = "Flickr8k.token.txt"
SPLITS = {"train": "train", "val": "dev", "test": "test"}


def read_flickr8k(
    folder: Path, split: str, limit: int | None
) -> tuple[Tensor, list[list[str]]] | None:
    """Read the photos of a split, uint8 (N, 3, 160, 160), and the captions of each.

    Returns None where `folder` has no Flickr8k.token.txt. Raises DataError where another file is
    missing.
    """
    if not (folder / CAPTIONS).is_file():
        return None
    captions = _read_captions(folder / CAPTIONS)
    names = _read_lines(folder / f"Flickr_8k.{SPLITS[split]}Images.txt")[:limit]
    if missing := [name for name in names if name not in captions]:
        raise DataError(f"{CAPTIONS} in {folder} has no caption of {missing[0]}. Fetch it again.")
    photos = next((folder / name for name in PHOTOS if (folder / name).is_dir()), None)
    if photos is None:
        raise DataError(f"{folder} holds no folder of photos: expected {PHOTOS[0]}.")
    return load_pictures([photos / n for n in names], SIDE, cut=False), [captions[n] for n in names]


def _read_captions(file: Path) -> dict[str, list[str]]:
    """Read the captions of each photo from lines such as `name.jpg#0<tab>A dog runs .`"""
    found: dict[str, list[str]] = {}
    for line in _read_lines(file):
        name, tab, text = line.partition("\t")
        if not tab:
            raise DataError(f"{file} has a line without a caption: {line[:60]!r}. Fetch it again.")
        found.setdefault(name.partition("#")[0], []).append(text)
    return found


def _read_lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}). Fetch Flickr8k again.") from None
    return [line.strip() for line in lines if line.strip()]
