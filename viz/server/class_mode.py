"""What a visitor may do: the one table of modes, and the file and the variable that choose.

On a laptop everything is allowed. ``SACCADE_MODE=class`` is for a server that others visit. A file
``saccade.toml`` beside ``app.py``, or where ``SACCADE_CONFIG`` says, changes single entries::

    [class]
    models = ["photos", "cifar10"]
    hubs = true
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.home import HOME
from viz.server.machine import machine_bytes

ModeName = Literal["laptop", "class"]
FILE = HOME / "saccade.toml"


class Mode(BaseModel):
    """What visitors may do in a mode, and how much of the machine they may use together."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ModeName = "laptop"
    models: list[str] | None = Field(
        default=None, description="Shipped models that are listed; all if it is not given"
    )
    hubs: bool = Field(default=True, description="Models of hubs open by their names")
    own_weights: bool = Field(default=True, description="Files with weights can be uploaded")
    video: bool = Field(default=True, description="Clips of one's own can be uploaded")
    camera: bool = Field(default=True, description="The browser's camera can take a photo")
    photo_megabytes: int = Field(default=64, gt=0, description="Largest photo, in MB")
    video_megabytes: int = Field(default=100, gt=0, description="Largest clip, in MB")
    weights_megabytes: int = Field(default=400, gt=0, description="Largest file of weights, in MB")
    session_megabytes: int = Field(
        default=800, gt=0, description="Files that one session may have uploaded at a time, in MB"
    )
    memory_megabytes: int | None = Field(
        default=None,
        gt=0,
        description="Caches, models, uploads and work together, in MB; half of the memory if it "
        "is not given",
    )
    longest_seconds: float = Field(
        default=float("inf"), gt=0, description="Longest estimate of one question, in seconds"
    )

    @property
    def budget_bytes(self) -> int:
        """Bytes for caches, models, uploads and work together."""
        given = self.memory_megabytes
        return machine_bytes() // 2 if given is None else given * 10**6

    def lists(self, model: str) -> bool:
        """Say whether a shipped model is listed in this mode."""
        return self.models is None or model in self.models


MODES: dict[ModeName, Mode] = {
    "laptop": Mode(),
    "class": Mode(
        name="class",
        hubs=False,
        own_weights=False,
        video=False,
        photo_megabytes=20,
        video_megabytes=20,
        session_megabytes=200,
        longest_seconds=60.0,
    ),
}
"""The modes as they are without a file."""

NO_HUBS = "This server opens no models of hubs. On a computer of your own, Saccade does."
NO_WEIGHTS = "This server takes no files with weights. On a computer of your own, Saccade does."

NO_VIDEO = "This server takes no clips. On a computer of your own, Saccade does."
NO_CAMERA = "This server takes no photos from a camera. Upload one on Explore instead."


def read_mode(environment: Mapping[str, str], file: Path = FILE) -> Mode:
    """Choose the mode as the environment says, with what the file changes of it.

    Args:
        environment: SACCADE_MODE names the mode, SACCADE_CONFIG another file.

    Raises:
        ValueError: the mode, or an entry of the file, is unknown; the message says which.

    >>> read_mode({"SACCADE_MODE": "class"}, Path("absent.toml")).hubs
    False
    """
    name = environment.get("SACCADE_MODE") or "laptop"
    known = get_args(ModeName)
    if name not in known:
        raise ValueError(f"SACCADE_MODE is {name!r}; it can be {' or '.join(known)}.")
    path = Path(environment.get("SACCADE_CONFIG", file))
    mode = MODES[name]  # type: ignore[index]  # it is among the known ones
    if not path.is_file():
        return mode
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = entries.keys() - set(known)
        if unknown:
            raise ValueError(f"it has sections for {', '.join(known)} only")
        return Mode(**(mode.model_dump() | entries.get(name, {})))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path.name} cannot be used: {where}: {first['msg']}.") from error
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be used: {error}.") from error


MODE = read_mode(os.environ)
"""The mode of this server."""
