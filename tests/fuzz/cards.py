"""Mutated cards beside honest weights, and the door that they come to."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from model import zoo
from model.captioning.base import CaptionerConfig
from model.captioning.build import build_captioner, config_as_dict
from model.datasets.vocabulary import SPECIAL
from model.errors import ModelNotFound, ModelRejected
from model.nets.vit import ViTConfig, build
from model.zoo.checkpoints import save_checkpoint
from tests.fuzz.pictures import mutated

REFUSED = (ModelRejected, ModelNotFound)
_SIZES: dict[str, Any] = {"img_size": 16, "patch_size": 8, "dim": 8, "depth": 1, "heads": 2}
_STRANGE: tuple[Any, ...] = (
    *(0, 1, 3, -1, 7.5, 10**9, -(10**9), 10**300, float("inf"), float("nan"), 1e308),
    *(True, None, "", "x", "9" * 5000, "٣", [], {}, [[]], [None] * 3, {"a": {"b": 1}}),
    *([0.5] * 100_000, ["x" * 1000] * 100, [10**200] * 3, "cls", "caption", "classify"),
)


def open_case(data: bytes) -> None:
    """Open as the page does with a card beside its weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.safetensors"
        task = b"caption" if b'"recurrent"' in data or b'"vocabulary"' in data else b"classify"
        path.write_bytes(checkpoints()[task.decode()][0])
        path.with_suffix(".json").write_bytes(data)
        zoo.load(path)


def make_case(chance: random.Random, largest: int) -> tuple[str, bytes]:
    """One card, with a word for what it is."""
    task = chance.choice(("classify", "caption"))
    card = checkpoints()[task][1]
    if chance.random() < 0.02:
        return "card of brackets", b"[" * largest
    if chance.random() < 0.3:
        return f"mutated card to {task}", mutated(card, chance)
    values = json.loads(card)
    for _ in range(chance.randint(1, 3)):
        change_value(values, chance)
    return f"changed card to {task}", json.dumps(values).encode()


def change_value(values: dict[str, Any], chance: random.Random) -> None:
    """Set, take away or add one value of a card, at any depth."""
    while True:
        key = chance.choice([*values, "title", "metrics", "registers", "curve", "another"])
        inner = values.get(key)
        if not isinstance(inner, dict) or not inner or chance.random() < 0.2:
            break
        values = inner
    if chance.random() < 0.15:
        values.pop(key, None)
    else:
        values[key] = copy.deepcopy(chance.choice(_STRANGE))  # which is changed further


@lru_cache
def checkpoints() -> dict[str, tuple[bytes, bytes]]:
    """Weights and cards of a classifier and of a captioner."""
    photos = {"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}, "resize": {"resized": 16}}
    config = CaptionerConfig(
        ViTConfig(num_classes=0, **_SIZES),
        (*SPECIAL, "a", "cat"),
        dim=8,
        heads=2,
        layers=1,
        mlp_dim=8,
    )
    classifier = build("vit", num_classes=3, **_SIZES)
    nets = {
        "classify": (classifier, vars(classifier.config), {"classes": ["a", "b", "c"]}),
        "caption": (build_captioner(config), config_as_dict(config), {}),
    }
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for task, (net, settings, more) in nets.items():
            path = Path(folder) / f"{task}.safetensors"
            save_checkpoint(net, path, {"task": task, "config": settings, **photos, **more})
            found[task] = path.read_bytes(), path.with_suffix(".json").read_bytes()
    return found
