"""Image encoders and classifiers of the Hugging Face hub."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from model.bundle import Bundle
from model.errors import ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.tokens import pair
from model.zoo.hubs.fetching import import_library
from model.zoo.hubs.hub_bundle import (
    check_size_and_kind,
    make_bundle,
    short_class_names,
    token_layout,
)
from model.zoo.hubs.hugging_face_repository import (
    PREFIX,
    Repository,
    mean_and_std,
    prefix_with_registers,
    resize_rule,
)


class HubClassifier(nn.Module):
    """A transformers model that takes and returns plain tensors.

    images (B, 3, H, W) -> logits (B, classes); without a head, the class token, or the mean of
    all tokens where there is none, (B, D).
    """

    def __init__(self, model: nn.Module, cls_token: bool) -> None:
        super().__init__()
        self.model = model
        self.cls_token = cls_token

    def forward(self, images: Tensor) -> Tensor:
        out = self.model(pixel_values=images)
        if "logits" in out:
            return out.logits
        tokens = out.last_hidden_state
        return tokens[:, 0] if self.cls_token else tokens.mean(dim=1)


def open_classifier(repository: Repository, config: Any, trained: bool) -> Bundle:
    """Open a classifier, or the image encoder of a model that is none."""
    transformers, full = import_library("transformers"), repository.full_name
    auto = transformers.AutoModel
    if any("ForImageClassification" in kind for kind in config.architectures or ()):
        auto = transformers.AutoModelForImageClassification
    elif hasattr(config, "vision_config"):
        config = config.vision_config  # the image tower of a model of images and text
    if config.model_type not in PREFIX:
        raise ModelRejected(
            f"{full} is a model of kind “{config.model_type}”, whose tokens Saccade does not know. "
            f"Known are {', '.join(PREFIX)}."
        )
    processor = repository.image_processor()
    if config.model_type == "siglip_vision_model":
        config.vision_use_head = False  # the mean of the patches is taken, not its pooling head

    def make() -> nn.Module:
        return auto.from_config(config)

    check_size_and_kind(full, make)
    net = repository.trained(auto, config) if trained else with_fixed_seed(make)
    resize = resize_rule(full, config, processor)
    prefix = prefix_with_registers(PREFIX[config.model_type], config)
    labels = [str(config.id2label[number]) for number in sorted(config.id2label)]
    has_head = auto is not transformers.AutoModel and not labels[0].startswith("LABEL_")
    mean, std = mean_and_std(processor)
    return make_bundle(
        Bundle,
        full,
        HubClassifier(net, "cls" in prefix),
        trained,
        tokens=token_layout(resize.size, pair(config.patch_size), prefix),
        resize=resize,
        mean=mean,
        std=std,
        classes=short_class_names(labels) if has_head else None,
    )
