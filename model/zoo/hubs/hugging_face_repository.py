"""One model's repository on the Hugging Face hub: its files, and how it prepares a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from model.errors import ModelRejected
from model.preprocessing import Resize
from model.tokens import pair
from model.zoo.hubs.fetching import fetch, import_library
from model.zoo.hubs.hub_bundle import register_names

PREFIX: dict[str, tuple[str, ...]] = {  # tokens before the patches, registers apart
    "vit": ("cls",),
    "vit_msn": ("cls",),
    "deit": ("cls", "dist"),
    "beit": ("cls",),
    "data2vec-vision": ("cls",),
    "dinov2": ("cls",),
    "dinov2_with_registers": ("cls",),
    "dinov3_vit": ("cls",),
    "clip_vision_model": ("cls",),
    "siglip_vision_model": (),
    "ijepa": (),
    "swin": (),
    "swinv2": (),
}
_ANY_SIZE = ("dinov2", "dinov2_with_registers", "dinov3_vit", "swin", "swinv2")
PILLOW_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Repository:
    """The files of one model, opened by transformers' own classes."""

    name: str  # "ORG/NAME"

    @property
    def full_name(self) -> str:
        """The name by which `model.zoo.load` opens it."""
        return f"hf/{self.name}"

    def fetch(self, auto: Any, file: str, **options: Any) -> Any:
        """Open one of the files with `auto.from_pretrained`; `file` is its name for messages."""
        from huggingface_hub import constants

        return fetch(
            lambda **local: auto.from_pretrained(self.name, **options, **local),
            self.full_name,
            f"{file} of {self.name}",
            constants.ENDPOINT,
        )

    def config(self) -> Any:
        """Fetch the config."""
        return self.fetch(import_library("transformers").AutoConfig, "config.json")

    def image_processor(self) -> Any:
        """Fetch the image processor, which says how a photo is prepared."""
        auto = import_library("transformers").AutoImageProcessor
        return self.fetch(auto, "preprocessor_config.json")

    def tokenizer(self) -> Any:
        """Fetch the tokenizer."""
        return self.fetch(import_library("transformers").AutoTokenizer, "tokenizer.json")

    def trained(self, auto: Any, config: Any) -> nn.Module:
        """Fetch the model with its weights; ModelRejected where some are missing."""
        options = {"dtype": torch.float32, "output_loading_info": True}
        net, report = self.load_weights(auto, config, **options)
        missing = [key for key in report["missing_keys"] if "pooler" not in key]
        if missing or report["mismatched_keys"]:
            raise ModelRejected(
                f"The weights of {self.full_name} are not those of its config: "
                f"{len(missing) + len(report['mismatched_keys'])} are missing or of another shape. "
                "Choose another model."
            )
        return net

    def load_weights(self, auto: Any, config: Any, **options: Any) -> Any:
        """Fetch the weights into a model."""
        return self.fetch(auto, "model.safetensors", config=config, **options)


def prefix_with_registers(prefix: tuple[str, ...], config: Any) -> tuple[str, ...]:
    """Add the register tokens that a config names to the tokens before the patches."""
    return prefix + register_names(getattr(config, "num_register_tokens", 0))


def mean_and_std(processor: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Read how an image processor normalises."""
    if not processor.do_normalize:
        return (0.0,) * 3, (1.0,) * 3
    return processor.image_mean, processor.image_std


def resize_rule(name: str, config: Any, processor: Any) -> Resize:
    """Read how an image processor resizes: the sides or the shorter side, then perhaps a crop."""
    rule = processor.size or {}
    resized: Any = rule.get("shortest_edge") or (rule.get("height"), rule.get("width"))
    if resized == (None, None):
        raise ModelRejected(f"{name} resizes photos in a way that Saccade does not know.")
    if config.model_type not in _ANY_SIZE:
        size = pair(config.image_size)
    elif getattr(processor, "do_center_crop", False):
        size = (processor.crop_size["height"], processor.crop_size["width"])
    else:
        size = pair(resized)
    return Resize(size, resized, PILLOW_FILTERS.get(int(processor.resample), "bicubic"))
