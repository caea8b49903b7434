"""A folder that transformers has written: `save_pretrained`, a Trainer's output, or a clone."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from model.bundle import Bundle
from model.errors import ModelNotFound, ModelRejected
from model.preprocessing import Resize
from model.zoo.foreign_formats import name_foreign_folder, names_in
from model.zoo.hubs.config_numbers import MAX_CONFIG_BYTES, read_json
from model.zoo.hubs.fetching import import_library
from model.zoo.hubs.hugging_face import open_repository
from model.zoo.hubs.hugging_face_repository import (
    CONFIG,
    PILLOW_FILTERS,
    PROCESSOR,
    PROCESSORS,
    WEIGHTS,
    Repository,
    image_part,
    may_be_weights,
    white_of,
)
from model.zoo.weights_files import check_weights, read_named, save_tensors


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
    if processor := _processor_beside(config_file):
        normalises = processor.get("do_normalize", True)
        facts |= {
            "mean": _divide(processor.get("image_mean") if normalises else 0.0, processor),
            "std": _divide(processor.get("image_std") if normalises else 1.0, processor),
        }
        fields = _resize(processor)
    return {name: value for name, value in facts.items() if value is not None}, fields


def _processor_beside(config_file: Path) -> dict[str, Any]:
    whole, images = config_file.with_name(PROCESSORS), config_file.with_name(PROCESSOR)
    if images.is_file():
        return read_json(images)
    return image_part(read_json(whole)) if whole.is_file() else {}


def _divide(values: Any, processor: dict[str, Any]) -> Any:
    """Turn means or deviations into those of values from 0 to 1; what is no number stays."""
    if isinstance(values, list):
        return [_divide(value, processor) for value in values]
    return values / white_of(processor) if isinstance(values, int | float) else values


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
        raise ModelRejected(f"{PROCESSOR} resizes photos to {sides}. {error}") from error


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

    def file(self, file: str) -> Path | None:
        """Find one of the files; None where there is no such file."""
        path = self.path / file
        return path if path.is_file() else None

    optional = file

    def tokenizer(self) -> Any:
        """Read the tokenizer."""
        auto = import_library("transformers").AutoTokenizer
        return self.open(auto, self.path, "tokenizer.json")

    def load_weights(self, auto: Any, config: Any, **options: Any) -> Any:
        """Load the weights, which our own reader has copied into a file of tensors."""
        weights = find_weights(self.path)
        with tempfile.TemporaryDirectory() as folder:
            if check_weights(weights):
                # The library maps a file that nobody shortens.
                shutil.copyfile(weights, Path(folder) / "model.safetensors")
            else:
                save_tensors(read_named(weights, as_written=True), Path(folder))
            return self.open(auto, Path(folder), "The weights", config=config, **options)


def find_weights(folder: Path) -> Path:
    """Return a folder's file of weights, or the first of several.

    Raises ModelNotFound where there is none, ModelRejected where they are another library's.
    """
    matches = [(p, WEIGHTS.fullmatch(p.name)) for p in folder.iterdir() if p.is_file()]
    # Of several, the one that is no variant such as model.fp16.safetensors comes first.
    ranked = sorted((bool(match["variant"]), path) for path, match in matches if match)
    found = [path for _, path in ranked]
    others = [path for path, _ in matches if may_be_weights(path.name)]
    if not found and len(others) == 1:  # under a name of its own
        return others[0]
    safe = [path for path in found if path.suffix == ".safetensors"]
    if not found and (foreign := name_foreign_folder(folder.name, names_in(folder))):
        raise ModelRejected(foreign)
    if not found:
        raise ModelNotFound(
            f"{folder.name} holds {CONFIG}, but neither model.safetensors nor pytorch_model.bin. "
            "Lay the weights beside it."
        )
    return (safe or found)[0]


def open_folder(path: Path, trained: bool, head: bool = True) -> Bundle[nn.Module]:
    """Open a folder with config.json and weights, of any architecture that a hub's may have.

    Args:
        path: The folder.
        trained: Whether to load the weights.
        head: Whether a classifier keeps its head.

    Raises:
        HeadRejected: The weights have another head than the config describes.
        ModelNotFound: A file of it is missing, or the package transformers.
        ModelRejected: It makes no model that Saccade can show.
    """
    path = path.resolve()
    bundle = open_repository(Folder(str(path)), trained, head=head)
    return replace(bundle, name=bundle.name.removeprefix("Hugging Face folder/"))
