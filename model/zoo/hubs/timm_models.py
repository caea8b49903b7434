"""timm's plain vision transformers and Swin transformers."""

from __future__ import annotations

import math
import urllib.parse
from contextlib import suppress
from types import ModuleType
from typing import Any

from torch import nn

from model.bundle import Bundle
from model.errors import ModelNotFound
from model.nets.fixed_seed import with_fixed_seed
from model.preprocessing import Resize
from model.zoo.hubs.fetching import fetch, import_library, no_such
from model.zoo.hubs.hub_bundle import (
    check_size_and_kind,
    make_bundle,
    register_names,
    short_class_names,
    token_layout,
)

_KINDS = (  # classes whose tokens are those that `_prefix` names, then the patches
    "VisionTransformer",
    "VisionTransformerDistilled",
    "VisionTransformerRelPos",
    "Beit",
    "Eva",
    "SwinTransformer",
    "SwinTransformerV2",
    "SwinTransformerV2Cr",
)
_FILES = ("model.safetensors", "pytorch_model.bin")


def open_timm(name: str, trained: bool) -> Bundle:
    """Open a model of timm.

    Args:
        name: "vit_tiny_patch16_224", or with the name of its weights
            "vit_tiny_patch16_224.augreg_in21k".
        trained: Whether to fetch the weights; else they are random.
    """
    timm = import_library("timm")
    full = f"timm/{name}"
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ModelNotFound(no_such("timm", architecture, timm.list_models()))
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelNotFound(no_such(f"timm/{architecture}", tag, tags))
    if trained and not tags:
        raise ModelNotFound(
            f"timm publishes no weights for {architecture}. "
            'Choose another model, or weights="random" for this one untrained.'
        )

    def make() -> nn.Module:
        return timm.create_model(name)

    check_size_and_kind(full, make, _KINDS)
    net: Any = _fetch_model(timm, name) if trained else with_fixed_seed(make)
    rule = timm.data.resolve_data_config(pretrained_cfg=net.pretrained_cfg, model=net)
    size = tuple(rule["input_size"][1:])
    rows, cols = net.patch_embed.grid_size
    return make_bundle(
        Bundle,
        full,
        net,
        trained,
        tokens=token_layout(size, (size[0] // rows, size[1] // cols), _prefix(net)),
        resize=_resize(rule, size),
        mean=rule["mean"],
        std=rule["std"],
        classes=_classes(timm, net),
        licence=net.pretrained_cfg.get("license"),
    )


def _fetch_model(timm: ModuleType, name: str) -> nn.Module:
    config = timm.get_pretrained_cfg(name)
    if not config.hf_hub_id:
        file = urllib.parse.urlsplit(config.url).path.rpartition("/")[2]
        return fetch(
            lambda **_: timm.create_model(name, pretrained=True), f"timm/{name}", file, config.url
        )
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    files = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES

    def download(local_files_only: bool) -> str:
        *first, last = files
        for file in first:
            with suppress(EntryNotFoundError):
                return hf_hub_download(config.hf_hub_id, file, local_files_only=local_files_only)
        return hf_hub_download(config.hf_hub_id, last, local_files_only=local_files_only)

    def open_file(local_files_only: bool) -> nn.Module:
        source = {"file": download(local_files_only), "custom_load": False}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)

    return fetch(open_file, f"timm/{name}", f"{files[0]} of {config.hf_hub_id}", constants.ENDPOINT)


def _resize(rule: dict[str, Any], size: tuple[int, int]) -> Resize:
    height, width = (math.floor(side / rule["crop_pct"]) for side in size)
    squash = rule["crop_mode"] == "squash"
    return Resize(size, (height, width) if squash else min(height, width), rule["interpolation"])


def _prefix(net: Any) -> tuple[str, ...]:
    """Name the tokens before the patches."""
    named = [name for name in ("cls", "dist") if getattr(net, f"{name}_token", None) is not None]
    registers = getattr(net, "reg_token", None)
    return (*named, *register_names(0 if registers is None else registers.shape[1]))


def _classes(timm: ModuleType, net: Any) -> list[str] | None:
    subset = timm.data.infer_imagenet_subset(net)
    if not subset or not net.num_classes:
        return None
    return short_class_names(timm.data.ImageNetInfo(subset).label_descriptions())
