"""Open LoRA adapters with the base that they change: a file, a folder or a hub's model."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.errors import ModelNotFound, ModelRejected
from model.zoo import lora
from model.zoo.checkpoint_format import Tensors
from model.zoo.hubs.config_numbers import read_json
from model.zoo.hubs.hugging_face import repository_named
from model.zoo.hubs.hugging_face_folder import find_weights, is_hugging_face_config
from model.zoo.hubs.hugging_face_repository import CONFIG, PROCESSOR, WEIGHTS
from model.zoo.weights_files import read_named, save_tensors

Base = str | os.PathLike[str]
_HUB = "hf/"
_WITHOUT_HEAD = "Model"  # how the names of transformers' classes without a head end
_WITH_HEAD = "ForImageClassification"


def find_adapters(path: Path) -> Path | None:
    """Return the file of adapters that a path is, or that lies in a folder; None without one."""
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if lora.WEIGHTS.fullmatch(each.name))
        return found[-1] if found else None  # .safetensors before .bin
    return path if lora.WEIGHTS.fullmatch(path.name) else None


def open_adapters(
    path: Path,
    base: Base | None,
    open_model: Callable[[Path], Bundle],
    lora_alpha: float | None = None,
) -> Bundle:
    """Merge adapters into their base, and open the result as any other file or folder.

    Args:
        path: The file of adapters, or its folder.
        base: What they change: a file of weights, a Hugging Face folder, or "hf/ORG/NAME"; None
            for weights that lie in the same folder.
        open_model: Opens the merged model: a file of weights, or a Hugging Face folder.
        lora_alpha: The factor's numerator, where there is no adapter_config.json.

    Raises:
        ModelNotFound: The base is not there.
        ModelRejected: It is not given, or the adapters are another model's.
    """
    file = find_adapters(path) or path
    shown = file.name
    config = find_adapter_config(file, lora_alpha)
    adapters = read_named(file)
    weights, base_config = _find_base(shown, file.parent, base, config.base)
    merged, note = lora.merge_adapters(shown, read_named(weights), adapters, config)
    with tempfile.TemporaryDirectory() as folder:
        laid = Path(folder) / (path.stem if path.is_file() else path.name or "adapters")
        laid.mkdir()
        place = save_tensors(merged, laid, "model" if base_config else laid.name)
        if base_config:
            _lay_config(laid, base_config, adapters, merged)
            _lay_processor(laid, file.with_name(PROCESSOR), base_config.with_name(PROCESSOR))
        bundle = open_model(laid if base_config else place)
    told = f"{bundle.card.note} {note}" if bundle.card.note else note
    return replace(bundle, card=bundle.card.changed(note=told))


def find_adapter_config(file: Path, lora_alpha: float | None) -> lora.AdapterConfig:
    """Read how a file's adapters are scaled. Raises ModelRejected where nothing says it."""
    if lora_alpha is not None:
        return lora.AdapterConfig(alpha=float(lora_alpha))
    beside = file.with_name(lora.CONFIG)
    if not beside.is_file():
        raise ModelRejected(
            f"{file.name} holds LoRA adapters, and no {lora.CONFIG} beside it says by which factor "
            "they are scaled: give that file too (in Python, lora_alpha=)."
        )
    return lora.read_adapter_config(beside)


def merge_whole(file: Path, tensors: Tensors, lora_alpha: float | None) -> tuple[Tensors, str]:
    """Merge the adapters in the state dict of a whole model of peft into the base beside them.

    Raises ModelRejected where the base is not there, or the factor is not.
    """
    base, adapters = lora.split_adapters(tensors)
    if not lora.holds_base(base, adapters):
        beside = file.with_name(lora.CONFIG)
        named = lora.read_adapter_config(beside).base if beside.is_file() else ""
        raise ModelRejected(lora.say_base_is_missing(file.name, named))
    return lora.merge_adapters(file.name, base, adapters, find_adapter_config(file, lora_alpha))


def _find_base(shown: str, beside: Path, base: Base | None, named: str) -> tuple[Path, Path | None]:
    """Return a base's file of weights, and its config.json where it has one."""
    if base is None:
        if not any(WEIGHTS.fullmatch(each.name) for each in beside.iterdir()):
            raise ModelRejected(lora.say_base_is_missing(shown, named))
        base = beside
    if isinstance(base, str) and base.startswith(_HUB):
        repository = repository_named(base.removeprefix(_HUB))
        return repository.weights(), repository.need(CONFIG)
    path = Path(base)
    if path.is_dir():
        config = path / CONFIG
        return find_weights(path), config if config.is_file() else None
    if not path.is_file():
        raise ModelNotFound(
            f"There is no base {str(base)[:200]}. Give a file of weights, a Hugging Face folder, "
            "or hf/ORG/NAME."
        )
    config = path.with_name(CONFIG)
    named_so = bool(WEIGHTS.fullmatch(path.name)) and is_hugging_face_config(config)
    return path, config if named_so else None


def _lay_config(folder: Path, config: Path, adapters: Tensors, merged: Tensors) -> None:
    """Write the base's config, with the head that the adapters brought in place of its own."""
    values: dict[str, Any] = read_json(config)
    heads = [name for name in adapters if name.endswith("classifier.weight")]
    if heads and (found := [t for n, t in merged.items() if n.endswith("classifier.weight")]):
        kinds = values.get("architectures")
        if isinstance(kinds, list):
            values["architectures"] = [_with_head(str(kind)) for kind in kinds]
        labels = values.get("id2label")
        if not isinstance(labels, dict) or len(labels) != len(found[0]):
            numbers = range(len(found[0]))
            values["id2label"] = {str(n): f"LABEL_{n}" for n in numbers}
            values["label2id"] = {f"LABEL_{n}": n for n in numbers}
    (folder / CONFIG).write_text(json.dumps(values), encoding="utf-8")


def _with_head(kind: str) -> str:
    if kind.endswith(_WITHOUT_HEAD):
        return kind.removesuffix(_WITHOUT_HEAD) + _WITH_HEAD
    return kind


def _lay_processor(folder: Path, *places: Path) -> None:
    found = next((place for place in places if place.is_file()), None)
    if found:
        shutil.copy(found, folder / PROCESSOR)
