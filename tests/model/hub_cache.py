"""A cache of the Hugging Face hub, made of folders that a test has saved."""

from pathlib import Path

import pytest

REVISION = "0" * 40


def use_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the hub's library keep its files below a folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))


def cache(folder: Path, absent: tuple[str, ...] = ()) -> None:
    """Keep a folder ORG/NAME as if it had been fetched; of `absent` files it is known so."""
    from huggingface_hub import constants

    org, name = folder.absolute().parts[-2:]
    kept = Path(constants.HF_HUB_CACHE) / f"models--{org}--{name}"
    for part in ("refs", "snapshots", f".no_exist/{REVISION}"):
        (kept / part).mkdir(parents=True, exist_ok=True)
    (kept / "refs" / "main").write_text(REVISION, encoding="ascii")
    snapshot = kept / "snapshots" / REVISION
    if not snapshot.is_symlink():
        snapshot.symlink_to(folder.absolute(), target_is_directory=True)
    for file in absent:
        (kept / ".no_exist" / REVISION / file).touch()
