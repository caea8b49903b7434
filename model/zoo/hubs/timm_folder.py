"""A folder of timm: config.json with an architecture's name, and weights, as on the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.bundle import Bundle
from model.errors import ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.zoo.hubs.config_numbers import read_json
from model.zoo.hubs.fetching import import_library, refuse_what_libraries_raise
from model.zoo.hubs.hub_bundle import check_size
from model.zoo.hubs.hugging_face_folder import find_weights
from model.zoo.hubs.hugging_face_repository import CONFIG
from model.zoo.hubs.timm_models import bundle_of
from model.zoo.weights_files import read_named

# What a config may set of an architecture; never where weights come from.
_SETTINGS = (
    *("img_size", "patch_size", "embed_dim", "depth", "depths", "num_heads", "mlp_ratio"),
    *("in_chans", "global_pool", "class_token", "reg_tokens", "no_embed_class", "qkv_bias"),
    *("init_values", "pre_norm", "fc_norm", "window_size", "dynamic_img_size", "pos_embed"),
)
_PREPARING = ("mean", "std", "input_size", "interpolation", "crop_pct", "crop_mode")


def is_timm_config(path: Path) -> bool:
    """Say whether a file is the config.json of a model of timm."""
    try:
        values = read_json(path)
    except ModelRejected:
        return False
    return (
        isinstance(values.get("architecture"), str)
        and isinstance(values.get("pretrained_cfg"), dict)
        and "model_type" not in values
    )


def open_timm_folder(path: Path, trained: bool) -> Bundle:
    """Open the architecture that config.json names, with the weights beside it.

    Raises:
        ModelNotFound: timm is not installed, or the weights are not there.
        ModelRejected: The folder makes no model that Saccade can show.
    """
    timm = import_library("timm")
    values = read_json(path / CONFIG)
    architecture = values["architecture"]
    if not timm.is_model(architecture):  # nor is a path, or another hub's address
        raise ModelRejected(
            f"{CONFIG} names the architecture “{architecture[:100]}”, which the installed timm "
            "does not have. Update timm first."
        )
    stated = values["pretrained_cfg"]
    given = values.get("model_args")
    given = given if isinstance(given, dict) else {}
    settings = {key: value for key, value in given.items() if key in _SETTINGS}
    settings["num_classes"] = values.get("num_classes", stated.get("num_classes", 1000))
    if isinstance(pool := values.get("global_pool"), str):
        settings.setdefault("global_pool", pool)
    preparing = {key: stated[key] for key in _PREPARING if stated.get(key) is not None}

    def make() -> nn.Module:
        return timm.create_model(
            architecture, pretrained=False, pretrained_cfg_overlay=preparing, **settings
        )

    full = f"timm folder/{path.resolve().name}"
    with refuse_what_libraries_raise(full):
        check_size(full, make)
        net = with_fixed_seed(make)
        if trained:
            _fill(full, net, path)
        bundle = bundle_of(timm, full, net, trained, labels=_labels(values, stated))
    return replace(bundle, name=bundle.name.removeprefix("timm folder/"))


def _fill(full: str, net: nn.Module, path: Path) -> None:
    """Load the weights. Raises ModelRejected where they are not those of the architecture."""
    tensors = read_named(find_weights(path))
    wanted = net.state_dict()
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    differing = [name for name, tensor in wanted.items() if shapes.get(name) != tensor.shape]
    if differing or len(wanted) != len(tensors):
        count = len(differing) or len(tensors) - len(wanted)
        raise ModelRejected(
            f"The weights of {full} are not those of its config: {count} are missing, of another "
            "shape or without a place."
        )
    with torch.no_grad():
        net.load_state_dict(tensors)


def _labels(values: dict[str, Any], stated: dict[str, Any]) -> list[str] | None:
    """Return the names of the classes, where the config has them."""
    labels = values.get("label_names") or stated.get("label_names")
    return list(map(str, labels)) if isinstance(labels, list) else None


def read_timm_facts(config: Path) -> dict[str, Any]:
    """Read from a config what a file of weights lacks, as arguments of `load_own_file`."""
    values = read_json(config)
    stated = values["pretrained_cfg"]
    facts = {"mean": stated.get("mean"), "std": stated.get("std")}
    facts["classes"] = _labels(values, stated)
    return {name: value for name, value in facts.items() if value is not None}
