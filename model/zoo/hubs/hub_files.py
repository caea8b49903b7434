"""Files of the Hugging Face hub: from this machine's cache, or fetched when their size is known."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from model.errors import ModelNotFound, ModelRejected
from model.zoo.hubs.fetching import import_library, is_reachable, not_fetched

MAX_BYTES = 4_000_000_000  # of all weights of a model: 700 million numbers in float32, and a head
SPARE_BYTES = 500_000_000  # of the disk, which stay free


def find_file(repository: str, file: str, name: str) -> Path | None:
    """Find a file of a repository, and fetch it where it is not here yet.

    Only this cache is looked at, never a folder that happens to have the repository's name.

    Args:
        repository: "ORG/NAME".
        file: the file's name there.
        name: the model's name, for messages.

    Returns:
        Its path in the cache; None where the repository has no such file.

    Raises:
        ModelNotFound: The file cannot be fetched.
        ModelRejected: It is too large for Saccade, or for the disk.
    """
    return find_files(repository, [file], name)[0]


def find_files(repository: str, files: Iterable[str], name: str) -> list[Path | None]:
    """Find several files as `find_file` does; their sizes are bounded together."""
    files = list(files)
    kept = [_cached(repository, file) for file in files]
    wanted = [file for file, place in zip(files, kept, strict=True) if place is _UNKNOWN]
    fetched = _fetch(repository, wanted, name) if wanted else {}
    paths = zip(files, kept, strict=True)
    return [fetched[file] if place is _UNKNOWN else place for file, place in paths]


def find_first(repository: str, files: Sequence[str], name: str) -> Path | None:
    """Find the first of several files that the repository has; one that is here comes first."""
    here = [place for file in files if (place := _cached(repository, file)) not in (None, _UNKNOWN)]
    if here:
        return here[0]
    return next(filter(None, (find_file(repository, file, name) for file in files)), None)


def find_those_there(repository: str, files: Sequence[str], name: str) -> list[Path]:
    """Find which of several optional files there are; without a network, those that are here."""
    kept = [_cached(repository, file) for file in files]
    here = [place for place in kept if place not in (None, _UNKNOWN)]
    if _UNKNOWN in kept and not (here and not is_reachable(_endpoint())):
        return [place for place in find_files(repository, files, name) if place is not None]
    return [place for place in here if place is not None]


_UNKNOWN = Path()  # neither in the cache, nor known to be absent


def _cached(repository: str, file: str) -> Path | None:
    hub = import_library("huggingface_hub")
    found = hub.try_to_load_from_cache(repository, file)
    if isinstance(found, str):
        return Path(found)
    return _UNKNOWN if found is None else None


def _fetch(repository: str, files: list[str], name: str) -> dict[str, Path | None]:
    hub = import_library("huggingface_hub")
    shown = f"{files[0]} of {repository}"
    if not is_reachable(_endpoint()):
        raise ModelNotFound(not_fetched(name, shown))
    try:
        sizes = {file: _size(repository, file) for file in files}
        check_room(name, sum(size or 0 for size in sizes.values()), hub.constants.HF_HUB_CACHE)
        return {
            file: None if size is None else Path(hub.hf_hub_download(repository, file))
            for file, size in sizes.items()
        }
    except (OSError, hub.errors.HfHubHTTPError) as error:
        raise ModelNotFound(
            f"The file {shown}, needed for {name}, could not be fetched. Check the model's "
            "name; it may be private, or the connection may have broken."
        ) from error


def _endpoint() -> str:
    return import_library("huggingface_hub").constants.ENDPOINT


def _size(repository: str, file: str) -> int | None:
    """Ask for the bytes of a file; None where there is no such file."""
    hub = import_library("huggingface_hub")
    try:
        return hub.hf_hub_download(repository, file, dry_run=True).file_size
    except hub.errors.RemoteEntryNotFoundError:
        return None


def check_room(name: str, size: int, folder: str) -> None:
    """Raise ModelRejected for files that are too large for Saccade, or for the disk."""
    if size > MAX_BYTES:
        raise ModelRejected(
            f"The weights of {name} have {size / 1e9:,.1f} GB, where {MAX_BYTES / 1e9:.0f} GB are "
            "the limit. Choose a smaller model."
        )
    free = shutil.disk_usage(_existing(Path(folder))).free
    if size > max(0, free - SPARE_BYTES):
        raise ModelRejected(
            f"The files of {name} have {size / 1e9:,.2f} GB, and the disk has {free / 1e9:,.2f} GB "
            "left. Make room on it first."
        )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
