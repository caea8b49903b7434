"""timm's models that attend: vision transformers, plain, windowed and hierarchical."""

from __future__ import annotations

import math
import urllib.parse
from types import ModuleType
from typing import Any

import torch
from torch import nn

from model.bundle import Bundle
from model.errors import ModelNotFound
from model.nets.fixed_seed import with_fixed_seed
from model.preprocessing import Resize
from model.zoo.hubs.fetching import fetch, import_library, no_such
from model.zoo.hubs.first_tokens import find_first_tokens
from model.zoo.hubs.hub_bundle import (
    check_picture_size,
    check_size,
    make_bundle,
    register_names,
    short_class_names,
    size_not_taken,
)
from model.zoo.hubs.hub_files import find_first

_FILES = ("model.safetensors", "pytorch_model.bin")


def open_timm(name: str, trained: bool, size: tuple[int, int] | None = None) -> Bundle:
    """Open a model of timm, of any class that attends from patches to patches.

    Args:
        name: "vit_tiny_patch16_224", or with the name of its weights
            "vit_tiny_patch16_224.augreg_in21k".
        trained: Whether to fetch the weights; else they are random.
        size: Height and width of the pictures, where others are wanted than the model's own.
    """
    timm = import_library("timm")
    full = f"timm/{name}"
    architecture, dot, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ModelNotFound(no_such("timm", architecture, timm.list_models()))
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        raise ModelNotFound(no_such(f"timm/{architecture}", tag, tags))
    if trained and not tags:
        raise ModelNotFound(
            f"timm publishes no weights for {architecture}. "
            'Choose another model, or weights="random" for this one untrained.'
        )
    sized = _size_settings(timm, full, name, size)

    def make() -> nn.Module:
        return timm.create_model(name, **sized)

    check_size(full, make)
    net: Any = _fetch_model(timm, name, sized) if trained else with_fixed_seed(make)
    return bundle_of(timm, full, net, trained, size)


def bundle_of(
    timm: ModuleType,
    full: str,
    net: Any,
    trained: bool,
    size: tuple[int, int] | None = None,
    labels: list[str] | None = None,
) -> Bundle:
    """Make the bundle of a model of timm, prepared as its own config says.

    Args:
        timm: The library.
        full: The model's name.
        net: The model.
        trained: Whether its weights are.
        size: Height and width of the pictures, where others are wanted than the model's own.
        labels: Names of the classes, where they are known.
    """
    rule = timm.data.resolve_data_config(pretrained_cfg=net.pretrained_cfg, model=net)
    own = tuple(rule["input_size"][1:])
    return make_bundle(
        Bundle,
        full,
        net,
        trained,
        tokens=find_first_tokens(full, net.eval(), size or own, len(rule["mean"]), _prefix(net)),
        resize=_resize(rule, own) if size in (None, own) else Resize(size),
        mean=rule["mean"],
        std=rule["std"],
        classes=labels if labels and len(labels) == net.num_classes else _classes(timm, net),
        licence=net.pretrained_cfg.get("license"),
    )


def _size_settings(
    timm: ModuleType, full: str, name: str, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Find the settings with which a model takes pictures of a size."""
    if size is None:
        return {}
    check_picture_size(full, size)
    for settings in ({"img_size": size}, {"dynamic_img_size": True}):
        try:
            with torch.device("meta"):
                timm.create_model(name, **settings)
        except TypeError:
            continue  # it has no such setting
        except (ValueError, AssertionError, RuntimeError) as error:
            raise size_not_taken(full, size, error) from error
        return settings
    return {}  # whether it takes any size is seen when it runs


def _fetch_model(timm: ModuleType, name: str, sized: dict[str, Any]) -> nn.Module:
    config = timm.get_pretrained_cfg(name)
    if not config.hf_hub_id:
        file = urllib.parse.urlsplit(config.url).path.rpartition("/")[2]
        return fetch(
            lambda **_: timm.create_model(name, pretrained=True, **sized),
            f"timm/{name}",
            file,
            config.url,
        )
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
    path = find_first(config.hf_hub_id, files, f"timm/{name}")
    if path is None:
        raise ModelNotFound(f"{config.hf_hub_id} has no {files[0]}. Choose another model.")
    source = {"file": str(path), "custom_load": False}
    return fetch(
        lambda **_: timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=source, **sized
        ),
        f"timm/{name}",
        f"{path.name} of {config.hf_hub_id}",
        config.url,
    )


def _resize(rule: dict[str, Any], size: tuple[int, int]) -> Resize:
    height, width = (math.floor(side / rule["crop_pct"]) for side in size)
    squash = rule["crop_mode"] == "squash"
    return Resize(size, (height, width) if squash else min(height, width), rule["interpolation"])


def _prefix(net: Any) -> tuple[str, ...] | None:
    """Name the tokens before the patches; None where the model does not tell."""
    holders = [net, getattr(net, "embeds", None)]  # NaFlexViT keeps them there
    named = tuple(
        name
        for name in ("cls", "dist")
        if any(getattr(holder, f"{name}_token", None) is not None for holder in holders)
    )
    count = getattr(net, "num_prefix_tokens", None)
    if count is None:
        own = getattr(net, "cls_token", None)
        both = isinstance(own, torch.Tensor) and own.ndim == 3 and own.shape[1] == 2
        return ("cls", "dist") if both else named or None  # PiT keeps both in one
    return named + register_names(count - len(named))


def _classes(timm: ModuleType, net: Any) -> list[str] | None:
    subset = timm.data.infer_imagenet_subset(net)
    if not subset or not net.num_classes:
        return None
    return short_class_names(timm.data.ImageNetInfo(subset).label_descriptions())
