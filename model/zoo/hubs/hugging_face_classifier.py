"""Image encoders and classifiers of the Hugging Face hub."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from model.bundle import Bundle
from model.errors import ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.preprocessing import Resize
from model.tokens import TokenLayout, pair
from model.zoo.hubs.fetching import import_library
from model.zoo.hubs.first_tokens import find_first_tokens
from model.zoo.hubs.hub_bundle import (
    check_picture_size,
    check_size,
    make_bundle,
    short_class_names,
    token_layout,
)
from model.zoo.hubs.hugging_face_repository import (
    PREFIX,
    PROCESSOR,
    Repository,
    mean_and_std,
    prefix_with_registers,
    resize_rule,
)
from model.zoo.known_formats import some

STATED = (
    *("model_type", "num_hidden_layers", "num_attention_heads", "depths", "num_heads"),
    *("hidden_act", "layer_norm_eps"),
)
"""What a config says that is shown on the model's card."""


class HubClassifier(nn.Module):
    """A transformers model that takes and returns plain tensors.

    images (B, C, H, W) -> logits (B, classes); without a head, the class token, or the mean of
    all tokens where there is none, (B, D).

    Args:
        model: the model.
        cls_token: whether its first token is a class token.
        options: further arguments of each call.
    """

    def __init__(self, model: nn.Module, cls_token: bool, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.cls_token = cls_token
        self.options = dict(options)

    def forward(self, images: Tensor) -> Tensor:
        out = self.model(pixel_values=images, **self._options(images))
        if "logits" in out:
            return out.logits
        tokens = out.last_hidden_state
        if tokens.ndim == 4:  # (B, D, rows, columns)
            return tokens.flatten(2).mean(dim=2)
        return tokens[:, 0] if self.cls_token else tokens.mean(dim=1)

    def _options(self, images: Tensor) -> dict[str, Any]:
        """Masked autoencoders hide and shuffle patches by noise: where it rises, they stay."""
        options = dict(self.options)
        if (patches := options.pop("patches", None)) is not None:
            options["noise"] = torch.arange(float(patches)).expand(len(images), -1)
        return options


def open_classifier(
    repository: Repository,
    config: Any,
    trained: bool,
    size: tuple[int, int] | None = None,
    head: bool = True,
) -> Bundle:
    """Open a classifier, or the image encoder of a model that is none.

    Args:
        repository: The model's files.
        config: Its config.
        trained: Whether to load the weights; else they are random.
        size: Height and width of the pictures, where others are wanted than the model's own.
        head: Whether a classifier keeps its head; False where the weights have another one.

    Raises:
        HeadRejected: The weights have another head than the config describes.
        ModelRejected: It makes no model that Saccade can show.
    """
    full = repository.full_name
    transformers = import_library("transformers")
    auto = transformers.AutoModel
    processor = repository.image_processor(config)
    seen = getattr(config, "vision_config", None) or config
    if head and any("ForImageClassification" in kind for kind in config.architectures or ()):
        auto = transformers.AutoModelForImageClassification
    else:
        config = seen  # the image tower of a model of images and text
    _check_kind(full, auto, config)
    _keep_every_patch(config)

    def make() -> nn.Module:
        return auto.from_config(config)

    check_size(full, make)
    left: list[str] = []
    net: Any
    if trained:
        net, left = repository.trained(auto, config)
    else:
        net = with_fixed_seed(make)
    resize = resize_rule(full, seen, processor)
    wanted = resize.size if size is None else size
    check_picture_size(full, wanted)
    channels = getattr(seen, "num_channels", 3)
    known = PREFIX.get(seen.model_type)
    prefix = None if known is None else prefix_with_registers(known, seen)
    options = _options(net, config, resize.size, wanted)
    wrapped = HubClassifier(net.eval(), prefix is not None and "cls" in prefix, options)
    tokens = _tokens(full, wrapped, seen, wanted, channels, prefix)
    wrapped.cls_token = "cls" in tokens.prefix
    mean, std = mean_and_std(processor, channels)
    bundle = make_bundle(
        Bundle,
        full,
        wrapped,
        trained,
        tokens=tokens,
        resize=resize if wanted == resize.size else Resize(wanted),
        mean=mean,
        std=std,
        classes=_labels(config) if auto is not transformers.AutoModel else None,
    )
    notes = []
    if not head:
        notes.append("Its head is another one than its config describes, and is left out.")
    elif left:
        notes.append(f"Left out of the file: {some(left)}.")
    if not repository.has_processor():
        notes.append(f"Normalisation and resizing are assumed: there is no {PROCESSOR}.")
    if channels not in (1, 3):
        notes.append(
            f"The model takes {channels} channels. Of a photo, the first three are given red, "
            "green and blue, and the others grey, which is assumed."
        )
    stated = {key: value for key in STATED if (value := getattr(seen, key, None)) is not None}
    told = {"note": " ".join(notes)} if notes else {}
    return replace(bundle, card=bundle.card.changed(config=stated, **told))


def _check_kind(full: str, auto: Any, config: Any) -> None:
    """Raise ModelRejected for a model that is not given pictures, or that only its authors have."""
    try:
        with torch.device("meta"):
            asked = inspect.signature(auto.from_config(config).forward).parameters
    except Exception as error:  # whatever a config's numbers lead to inside the library
        raise ModelRejected(
            f"{full} is a model of kind “{config.model_type}”, which the installed transformers "
            f"does not build as a classifier or encoder of pictures ({type(error).__name__})."
        ) from error
    if "pixel_values" not in asked:
        raise ModelRejected(
            f"{full} is a model of kind “{config.model_type}”, which is not given pictures. "
            "Choose an image classifier or encoder."
        )


def _keep_every_patch(config: Any) -> None:
    """Have the model show all patches as they are, where it would hide or pool some."""
    if config.model_type == "siglip_vision_model":
        config.vision_use_head = False  # the mean of the patches is taken, not its pooling head
    if config.model_type == "vit_mae":
        config.mask_ratio = 0.0


def _options(
    net: nn.Module, config: Any, own: tuple[int, int], wanted: tuple[int, int]
) -> dict[str, Any]:
    """Further arguments of the model's calls."""
    asked = inspect.signature(net.forward).parameters
    options: dict[str, Any] = {}
    if config.model_type == "vit_mae":
        height, width = pair(config.patch_size)
        options["patches"] = (wanted[0] // height) * (wanted[1] // width)
    if wanted != own and "interpolate_pos_encoding" in asked:
        options["interpolate_pos_encoding"] = True
    return options


def _tokens(
    full: str,
    net: nn.Module,
    config: Any,
    size: tuple[int, int],
    channels: int,
    prefix: tuple[str, ...] | None,
) -> TokenLayout:
    found = find_first_tokens(full, net, size, channels, prefix)
    if prefix is None:
        return found
    return token_layout(size, pair(config.patch_size), prefix)


def _labels(config: Any) -> list[str] | None:
    """Names of the classes by their numbers; None where they are only numbered."""
    names = config.id2label or {}
    labels = [str(names[number]) for number in sorted(names)]
    if not labels or labels[0].startswith("LABEL_"):
        return None
    return short_class_names(labels)
