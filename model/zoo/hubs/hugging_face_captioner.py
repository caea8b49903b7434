"""Captioners of the Hugging Face hub: vision-encoder-decoder models, and BLIP."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from model.captioning.hub_captioner import HubCaptionBundle, HubCaptioner
from model.captioning.hub_vocabulary import WordTokenizer, map_vocabulary
from model.errors import ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.tokens import pair
from model.zoo.hubs.fetching import import_library
from model.zoo.hubs.hub_bundle import check_size, make_bundle, token_layout
from model.zoo.hubs.hugging_face_repository import (
    PREFIX,
    Repository,
    mean_and_std,
    prefix_with_registers,
    resize_rule,
)

_PREFIX = PREFIX | {"blip_vision_model": ("cls",)}
del _PREFIX["vit_mae"]  # inside a captioner nobody keeps it from hiding patches


def captioner_class(config: Any) -> Any:
    """Return transformers' class that writes captions with this config; None if there is none."""
    transformers = import_library("transformers")
    if config.model_type == "vision-encoder-decoder":
        return transformers.VisionEncoderDecoderModel
    if config.model_type == "blip" and "BlipForConditionalGeneration" in (
        config.architectures or ()
    ):
        return transformers.BlipForConditionalGeneration
    return None


def open_hub_captioner(
    repository: Repository, kind: Any, config: Any, trained: bool
) -> HubCaptionBundle:
    """Open a captioner of the class `kind`."""
    full = repository.full_name
    seen = getattr(config, "vision_config", None) or config.encoder
    if seen.model_type not in _PREFIX:
        raise ModelRejected(
            f"{full} looks through an encoder of kind “{seen.model_type}”, whose tokens Saccade "
            f"does not know. Known are {', '.join(_PREFIX)}."
        )
    processor = repository.image_processor(config)
    tokenizer = repository.tokenizer()

    def make() -> nn.Module:
        return kind(config)

    check_size(full, make)
    net = repository.trained(kind, config)[0] if trained else with_fixed_seed(make)
    try:
        vocabulary = map_vocabulary(net, tokenizer)
    except ValueError as error:
        raise ModelRejected(f"{full} cannot be asked. {error} Choose another model.") from error
    words = WordTokenizer(tokenizer, vocabulary)
    resize = resize_rule(full, seen, processor)
    merged = 2 ** (len(getattr(seen, "depths", [0])) - 1)  # Swin's stages halve the grid
    height, width = (side * merged for side in pair(seen.patch_size))
    prefix = prefix_with_registers(_PREFIX[seen.model_type], seen)
    tokens = token_layout(resize.size, (height, width), prefix)
    mean, std = mean_and_std(processor)
    return make_bundle(
        partial(HubCaptionBundle, tokenizer=words),
        full,
        HubCaptioner(net, vocabulary, words.names, tokens),
        trained,
        tokens=tokens,
        resize=resize,
        mean=mean,
        std=std,
        task="caption",
    )
