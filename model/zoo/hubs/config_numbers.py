"""Bound the numbers of a config before a model is built from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from model.errors import ModelRejected

LFS_POINTER = b"version https://git-lfs"
MAX_CONFIG_BYTES = 5_000_000
_MAX_NUMBER = 10_000_000
_MAX_PARTS = 2_000  # layers, heads, registers, and so on
_MAX_ENTRIES = 100_000  # of one list or mapping; ImageNet-22k has 21,843 labels
_WHOLE = re.compile(r"(size|layers|heads|channels|depths?|_dim|stride)$|^(r|lora_alpha)$")
_COUNTED = re.compile(r"layer|depth|head|register|stage|num_channels")


def read_json(path: Path) -> dict[str, Any]:
    """Read a config, each number in it bounded, numbers that were written as text as numbers.

    Raises ModelRejected.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError("it is too large")
        data = path.read_bytes()
        if data.startswith(LFS_POINTER):
            raise ModelRejected(f"{path.name} is a Git LFS pointer. Fetch it with git lfs pull.")
        values = json.loads(data)
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        _mend(values)
        _check_numbers(values, "")
    except ModelRejected:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise ModelRejected(
            f"{path.name} cannot be used: {str(error)[:200]}. Fetch or save it again."
        ) from error
    return values


def _mend(values: dict[str, Any]) -> None:
    """Turn what people write by hand into what libraries write: "12" and 12.0 into 12, and so on.

    Names of classes may be listed in their order, and their number may be left out.
    """
    labels = values.get("id2label")
    if isinstance(labels, list):
        values["id2label"] = {str(number): name for number, name in enumerate(labels)}
    elif labels is None:
        values.pop("id2label", None)
    if isinstance(values.get("id2label"), dict):
        values.pop("num_labels", None)  # it counts them
        numbers = values.get("label2id")
        if isinstance(numbers, dict):
            values["label2id"] = {name: _number(value) for name, value in numbers.items()}
        else:
            values.pop("label2id", None)
    for key, value in values.items():
        if isinstance(value, dict) and key.endswith("_config"):
            _mend(value)
        elif _WHOLE.search(key):
            values[key] = _number(value)


def _number(value: Any) -> Any:
    """Read a whole number that is written as text, or with a fraction of zero."""
    if isinstance(value, list):
        return [_number(each) for each in value]
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_numbers(value: Any, key: str) -> None:
    """Raise ValueError for a number that no model has, before anything is built from it."""
    if isinstance(value, dict | list) and len(value) > _MAX_ENTRIES:
        raise ValueError(f"its {_printable(key)} has more entries than any model's")
    if isinstance(value, dict):
        if value.get("quantization_config"):
            raise ModelRejected(
                "The config says that the weights are quantised (quantization_config). Open the "
                "model that they were made from."
            )
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
        if _COUNTED.search(key) and _total(value) > _MAX_PARTS:
            raise ValueError(f"its {_printable(key)} add up to more than any model has")
    elif isinstance(value, int | float):
        most = _MAX_PARTS if _COUNTED.search(key) else _MAX_NUMBER
        if not (0 if key.startswith("num_") else -most) <= value <= most:
            raise ValueError(f"its {_printable(key)} is a number that no model has")


def _total(values: list[Any]) -> float:
    return sum(value for value in values if isinstance(value, int | float))


def _printable(key: str) -> str:
    return "".join(c for c in key if c.isprintable())[:60]
