"""Hostile and mutated files of weights, and the door that they come to."""

from __future__ import annotations

import io
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from model import zoo
from model.errors import ModelNotFound, ModelRejected
from tests.fuzz import hostile_weights
from tests.fuzz.hostile_weights import state_of_vit
from tests.fuzz.pictures import mutated

REFUSED = (ModelRejected, ModelNotFound)


def open_case(data: bytes) -> None:
    """Open as the page does with a file that came alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.pt"
        path.write_bytes(data)
        zoo.load(path)


def make_case(chance: random.Random, largest: int) -> tuple[str, bytes]:
    """One file of at most about `largest` bytes, with a word for what it is."""
    if chance.random() < 0.05:
        name, build = chance.choice(sorted(hostile_weights.KINDS.items()))
        return name, build(int(100 * (largest / 100) ** chance.random()))
    if chance.random() < 0.3:
        return "other shapes", _other_shapes(chance)
    name, data = chance.choice(REAL)
    return f"mutated {name}", mutated(data, chance)


def _other_shapes(chance: random.Random) -> bytes:
    """The tensors of a model, some of them gone, of another shape, kind or name."""
    state = state_of_vit()
    for name in chance.sample(sorted(state), chance.randint(1, 4)):
        tensor = state.pop(name)
        what = chance.randrange(6)
        if what == 0:
            continue
        if what == 1:
            shape = [chance.choice((0, 1, 2, 8, 1000)) for _ in range(chance.randrange(5))]
            state[name] = torch.zeros([min(side, 8) if len(shape) > 2 else side for side in shape])
        elif what == 2:
            kinds = (torch.int8, torch.float16, torch.bool, torch.float64, torch.int64)
            state[name] = tensor.to(chance.choice(kinds))
        elif what == 3:
            state[chance.choice(sorted(state))] = tensor
        elif what == 4:
            parts = name.split(".")
            parts[chance.randrange(len(parts))] = chance.choice(("", "0", "99999", "٣", "x" * 99))
            state[".".join(parts)] = tensor
        else:
            state[name] = tensor.fill_(chance.choice((float("nan"), 3e38, -0.0)))
    return save(state) if chance.random() < 0.5 else _saved(state)


def _saved(content: object, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def _real() -> list[tuple[str, bytes]]:
    state = state_of_vit()
    training = {
        "model": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(4)}}, "param_groups": [{}]},
        "loss": np.float64(0.3),
        "epoch": 3,
    }
    return [
        ("safetensors", save(state)),
        ("torch file", _saved(state)),
        ("torch file", _saved(training)),
        ("older torch file", _saved(state, _use_new_zipfile_serialization=False)),
        ("older torch file", _saved(training, _use_new_zipfile_serialization=False)),
    ]


REAL = _real()
