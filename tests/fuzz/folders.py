"""Mutated folders of transformers, timm and peft, zipped, and the door that they come to."""

from __future__ import annotations

import io
import json
import random
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from model import zoo
from model.errors import ModelNotFound, ModelRejected
from model.nets.torchvision_cpu import ensure_operators
from model.zoo.uploads import lay_out
from tests.fuzz.cards import change_value
from tests.fuzz.hostile_weights import state_of_vit
from tests.fuzz.pictures import mutated

if find_spec("transformers"):
    ensure_operators()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

REFUSED = (ModelRejected, ModelNotFound)
Files = dict[str, bytes]


def open_case(data: bytes) -> None:
    """Open as the page does with a folder that was dropped as a ZIP archive."""
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out([("mine.zip", data)], Path(folder))
        zoo.load(laid.path, **laid.given)


def make_case(chance: random.Random, largest: int) -> tuple[str, bytes]:
    """One archive, with a word for what it is."""
    name, files = chance.choice(REAL)
    files = dict(files)
    file = chance.choice(sorted(files))
    what = chance.randrange(10)
    if what < 5 and file.endswith(".json"):
        values = json.loads(files[file])
        for _ in range(chance.randint(1, 3)):
            change_value(values, chance)
        files[file] = json.dumps(values).encode()[:largest]
    elif what < 8:
        files[file] = mutated(files[file], chance)
    elif what == 8:
        del files[file]
    else:
        other, more = chance.choice(REAL)
        name, files = f"{name} and {other}", files | dict(more)
    return f"folder of {name}", _zipped(files, chance)


def _zipped(files: Files, chance: random.Random) -> bytes:
    data = io.BytesIO()
    root = chance.choice(("", "mine/", "a/b/", "../", "mine\\"))
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(root + name), content)
    return data.getvalue()


def _real() -> list[tuple[str, Files]]:
    vit: dict[str, Any] = {
        **{"model_type": "vit", "architectures": ["ViTForImageClassification"], "patch_size": 8},
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16},
        **{"intermediate_size": 32, "hidden_act": "gelu", "layer_norm_eps": 1e-12},
        **{"qkv_bias": True, "id2label": {"0": "ant", "1": "bee"}},
    }
    processor = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor |= {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    transformers = {
        "config.json": json.dumps(vit).encode(),
        "preprocessor_config.json": json.dumps(processor).encode(),
        "model.safetensors": save(_vit_of_transformers()),
    }
    layer = "base_model.model.vit.encoder.layer.0.attention.attention.query"
    low_rank = {f"{layer}.lora_A.weight": torch.ones(2, 16)}
    low_rank[f"{layer}.lora_B.weight"] = torch.ones(16, 2)
    peft = {
        "adapter_config.json": b'{"peft_type": "LORA", "lora_alpha": 8, "r": 2}',
        "adapter_model.safetensors": save(low_rank),
    }
    stated = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 4, 4]}
    sizes = {"img_size": 4, "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 2}
    sizes["mlp_ratio"] = 1
    timm = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "model_args": sizes}
    found = [("transformers", transformers), ("peft", transformers | peft), ("adapters", peft)]
    if find_spec("timm"):
        config = json.dumps(timm | {"pretrained_cfg": stated}).encode()
        found.append(("timm", {"config.json": config, "model.safetensors": save(state_of_vit())}))
    return found


def _vit_of_transformers() -> dict[str, torch.Tensor]:
    """The tensors of a ViTForImageClassification of one layer, by its published names."""
    block = "vit.encoder.layer.0."
    linears = {
        **{f"{block}attention.attention.{part}": (16, 16) for part in ("query", "key", "value")},
        f"{block}attention.output.dense": (16, 16),
        f"{block}intermediate.dense": (32, 16),
        f"{block}output.dense": (16, 32),
        "classifier": (2, 16),
        "vit.embeddings.patch_embeddings.projection": (16, 3, 8, 8),
    }
    tensors = {f"{name}.weight": torch.full(shape, 0.1) for name, shape in linears.items()}
    tensors |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in linears.items()}
    for norm in (f"{block}layernorm_before", f"{block}layernorm_after", "vit.layernorm"):
        tensors |= {f"{norm}.weight": torch.ones(16), f"{norm}.bias": torch.zeros(16)}
    tensors["vit.embeddings.cls_token"] = torch.zeros(1, 1, 16)
    tensors["vit.embeddings.position_embeddings"] = torch.zeros(1, 5, 16)
    return tensors


REAL = _real()
