"""A folder that transformers has written: `save_pretrained`, a Trainer's output, or a clone."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from model.bundle import Bundle
from model.errors import ModelNotFound, ModelRejected
from model.preprocessing import Resize
from model.tokens import pair
from model.zoo.hubs.fetching import import_library
from model.zoo.hubs.hugging_face import open_repository
from model.zoo.hubs.hugging_face_repository import PILLOW_FILTERS, Repository
from model.zoo.weights_files import read_named

CONFIG = "config.json"
WEIGHTS = re.compile(r"(pytorch_)?model(-\d{5}-of-\d{5})?\.(safetensors|bin)")
MAX_CONFIG_BYTES = 5_000_000
_MAX_NUMBER = 10_000_000
_MAX_PARTS = 2_000  # layers, heads, registers, and so on
_COUNTED = re.compile(r"layer|depth|head|register|stage|num_channels")
_PROCESSOR = "preprocessor_config.json"


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the folder's configs, each number in it bounded. Raises ModelRejected."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        _check_numbers(values, "")
    except ModelRejected:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise ModelRejected(
            f"{path.name} cannot be used: {str(error)[:200]}. Fetch or save it again."
        ) from error
    return values


def _check_numbers(value: Any, key: str) -> None:
    """Raise ValueError for a number that no model has, before anything is built from it."""
    if isinstance(value, dict):
        if "auto_map" in value:
            raise ModelRejected(
                "The config names a program of its own (auto_map), which Saccade never runs. Open "
                "a model of an architecture that transformers has itself."
            )
        for inner, each in value.items():
            _check_numbers(each, str(inner))
    elif isinstance(value, list):
        for each in value:
            _check_numbers(each, key)
    elif isinstance(value, int | float):
        most = _MAX_PARTS if _COUNTED.search(key) else _MAX_NUMBER
        if not (0 if key.startswith("num_") else -most) <= value <= most:
            shown = "".join(c for c in key if c.isprintable())[:60]
            raise ValueError(f"its {shown} is a number that no model has")


def is_hugging_face_config(path: Path) -> bool:
    """Say whether a file is the config.json of a model of transformers."""
    try:
        small = path.stat().st_size <= MAX_CONFIG_BYTES
        values = json.loads(path.read_bytes()) if small else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "model_type" in values and "sha256" not in values


def read_facts(config_file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read from a config, and the image processor's beside it, what a file of weights lacks.

    Returns:
        Arguments of `load_own_file`, and fields of the bundle.

    Raises:
        ModelRejected: One of the two is damaged, or names a program of its own.
    """
    config = read_json(config_file)
    seen = config.get("vision_config")
    seen = seen if isinstance(seen, dict) else config
    act = seen.get("hidden_act")
    heads, epsilon = seen.get("num_attention_heads"), seen.get("layer_norm_eps")
    facts = {
        "heads": heads if type(heads) is int else None,
        "norm_eps": epsilon if isinstance(epsilon, float) else None,
        "activation": act if isinstance(act, str) else None,
        "classes": _labels(config),
    }
    fields: dict[str, Any] = {}
    processor_file = config_file.with_name(_PROCESSOR)
    if processor_file.is_file():
        processor = read_json(processor_file)
        normalises = processor.get("do_normalize", True)
        facts |= {
            "mean": processor.get("image_mean") if normalises else 0.0,
            "std": processor.get("image_std") if normalises else 1.0,
        }
        fields = _resize(processor)
    return {name: value for name, value in facts.items() if value is not None}, fields


def _labels(config: dict[str, Any]) -> list[str] | None:
    """Return the names of a classifier's classes by their numbers; None where they have none."""
    labels = config.get("id2label")
    if not isinstance(labels, dict) or "ForImageClassification" not in str(
        config.get("architectures")
    ):
        return None
    try:
        named = [str(labels[number]) for number in sorted(labels, key=int)]
    except ValueError as error:
        raise ModelRejected("config.json numbers its labels by words. Mend id2label.") from error
    return named if named and not named[0].startswith("LABEL_") else None


def _resize(processor: dict[str, Any]) -> dict[str, Any]:
    """Read how photos are resized, where both sides are given."""
    size, resample = processor.get("size"), processor.get("resample")
    if not isinstance(size, dict) or not isinstance(size.get("height"), int):
        return {}
    height, width = size["height"], size.get("width")
    sides = (height, width if isinstance(width, int) else height)
    kind = PILLOW_FILTERS.get(resample if isinstance(resample, int) else 3, "bicubic")
    try:
        return {"resize": Resize(sides, sides, kind)}
    except ValueError as error:
        raise ModelRejected(f"{_PROCESSOR} resizes photos to {sides}. {error}") from error


class Folder(Repository):
    """The files of one model in a folder; their weights are read as any stranger's."""

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.name)

    @property
    def full_name(self) -> str:
        """The name for messages, and on the card."""
        return f"Hugging Face folder/{self.path.name}"

    def fetch(self, auto: Any, file: str, **options: Any) -> Any:
        """Open one of the files with `auto.from_pretrained`, without a network."""
        return self._open(auto, self.name, file, trust_remote_code=False, **options)

    def _open(self, auto: Any, folder: str, file: str, **options: Any) -> Any:
        try:
            return auto.from_pretrained(folder, local_files_only=True, **options)
        except Exception as error:  # libraries raise nearly anything on a damaged file
            raise ModelRejected(
                f"{file} of {self.path.name} cannot be used ({type(error).__name__}). It may be "
                "damaged or missing, or too new for the installed library: update that first."
            ) from error

    def image_processor(self) -> Any:
        """Read how a photo is prepared; ViT's own way where the folder does not say."""
        if (self.path / _PROCESSOR).is_file():
            return super().image_processor()
        config = self.config()
        size = getattr(getattr(config, "vision_config", config), "image_size", 224)
        height, width = pair(size)
        size = {"height": height, "width": width}
        return import_library("transformers").ViTImageProcessor(size=size)

    def load_weights(self, auto: Any, config: Any, **options: Any) -> Any:
        """Load the weights, which our own reader has copied into a file of tensors."""
        tensors = read_named(find_weights(self.path))
        with tempfile.TemporaryDirectory() as folder:
            # Tensors that share their numbers are written one by one.
            copied = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
            save_file(copied, Path(folder) / "model.safetensors", metadata={"format": "pt"})
            return self._open(auto, folder, "The weights", config=config, **options)


def find_weights(folder: Path) -> Path:
    """Return a folder's file of weights, or the first of several. Raises ModelNotFound."""
    found = sorted(path for path in folder.iterdir() if WEIGHTS.fullmatch(path.name))
    safe = [path for path in found if path.suffix == ".safetensors"]
    if not found:
        raise ModelNotFound(
            f"{folder.name} holds {CONFIG}, but neither model.safetensors nor pytorch_model.bin. "
            "Lay the weights beside it."
        )
    return (safe or found)[0]


def open_folder(path: Path, trained: bool) -> Bundle[nn.Module]:
    """Open a folder with config.json and weights, of any architecture that a hub's may have.

    Raises:
        ModelNotFound: A file of it is missing, or the package transformers.
        ModelRejected: It makes no model that Saccade can show.
    """
    path = path.resolve()
    for file in (CONFIG, _PROCESSOR):
        if (path / file).is_file():
            read_json(path / file)
    bundle = open_repository(Folder(str(path)), trained)
    if not (path / _PROCESSOR).is_file():
        note = f"Normalisation and resizing are assumed: the folder has no {_PROCESSOR}."
        bundle = replace(bundle, card=bundle.card.changed(note=note))
    return replace(bundle, name=bundle.name.removeprefix("Hugging Face folder/"))
