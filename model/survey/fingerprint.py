"""Tell whether two parts of a survey were made alike, so that they may be added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from model.bundle import Bundle
from model.errors import SurveyError
from model.survey.picture_measures import SURVEYED
from model.survey.rankings import KEPT, RANKINGS

FORMAT = 2
"""Counted up when what a survey gathers changes."""
LIBRARIES = ("torch", "numpy", "pillow")
GATHERED = (*SURVEYED, *RANKINGS, str(KEPT))
"""What a survey gathers."""
NAMES = {
    "weights": "the model's weights or its preprocessing",
    "data": "the pictures (their names, sizes and classes)",
    "pictures": "the number of pictures",
    "block": "the pictures in a block (--block)",
    "batch": "the pictures in a batch (--batch)",
    "threads": "the threads of a process (--threads)",
    "device": "the processor",
    "sample": "the photos on which heads are switched off (--effects)",
    "measures": "the measures",
    "versions": "the versions of the libraries",
    "format": "the version of the survey",
}


@dataclass(frozen=True)
class Fingerprint:
    """All that decides the numbers of a survey, to the last bit."""

    weights: str
    """SHA-256 of the model's tensors and of how it prepares a picture."""
    data: str
    """SHA-256 of the listing: names, sizes and classes in their order."""
    pictures: int
    block: int
    batch: int
    threads: int
    device: str
    sample: int
    measures: tuple[str, ...]
    versions: tuple[str, ...]
    format: int = FORMAT

    def check(self, other: Fingerprint, whose: str) -> None:
        """Raise SurveyError, in a sentence, where another fingerprint differs."""
        for name, own in asdict(self).items():
            if own != (there := getattr(other, name)):
                raise SurveyError(
                    f"{whose} does not belong to this survey: {NAMES[name]} differ, "
                    f"{_short(there)} there and {_short(own)} here. Only parts that were made "
                    "alike are added, since another batch, thread or version changes the last "
                    "digits. Survey it again with the same settings, or into a folder of its own."
                )

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> Fingerprint:
        """Restore what `to_json` returned."""
        lists = {name: tuple(held[name]) for name in ("measures", "versions")}
        return cls(**(held | lists))


def take_fingerprint(
    bundle: Bundle,
    data: str,
    pictures: int,
    *,
    block: int,
    batch: int,
    sample: int = 0,
    measures: tuple[str, ...] = GATHERED,
    others: Sequence[Bundle] = (),
) -> Fingerprint:
    """Take a fingerprint in this process, with its threads and its libraries.

    Args:
        bundle: the model.
        data: SHA-256 of what tells these pictures from others.
        pictures: how many there are; 0 where it does not matter.
        block: pictures in a block.
        batch: pictures, or changes of one, that go through the model at once.
        sample: on how many pictures heads are switched off.
        measures: what is measured.
        others: further models that the numbers depend on.
    """
    return Fingerprint(
        weights=",".join(map(hash_model, (bundle, *others))),
        data=data,
        pictures=pictures,
        block=block,
        batch=batch,
        threads=torch.get_num_threads(),
        device=name_device(next(bundle.net.parameters()).device),
        sample=sample,
        measures=measures,
        versions=library_versions(),
    )


def hash_model(bundle: Bundle) -> str:
    """Hash a model's tensors and what turns a picture into its input."""
    digest = hashlib.sha256()
    for name, tensor in sorted(bundle.net.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    prepared = (bundle.tokens, bundle.mean, bundle.std, bundle.resize, bundle.bands)
    # Surveys were made before a layout had units; without them it is the same layout.
    digest.update(repr(prepared).replace(", units=None)", ")").encode())
    return digest.hexdigest()


def name_device(device: torch.device) -> str:
    """Name the processor, as far as it changes the last digits of a result."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU with {torch.backends.cpu.get_cpu_capability()}"


def library_versions() -> tuple[str, ...]:
    """List the libraries that compute, with their versions: "torch 2.13.0", ..."""
    return tuple(f"{name} {_version(name)}" for name in LIBRARIES)


def _version(name: str) -> str:
    loaded = {"torch": str(torch.__version__), "numpy": np.__version__}
    try:
        return loaded.get(name) or version(name)
    except PackageNotFoundError:
        return "unknown"


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 80 else f"{text[:12]}…"
