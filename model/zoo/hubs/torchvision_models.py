"""torchvision's vision transformers and Swin transformers."""

from __future__ import annotations

import http.client
import re
import urllib.parse
from typing import Any

from torch import Tensor, nn

from model.bundle import Bundle
from model.errors import ModelNotFound, ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.preprocessing import Resize
from model.tokens import pair
from model.zoo.hubs.fetching import import_library, no_such, not_fetched
from model.zoo.hubs.hub_bundle import check_picture_size, check_size, make_bundle, token_layout


def open_torchvision(name: str, trained: bool, wanted: tuple[int, int] | None = None) -> Bundle:
    """Open a model of torchvision.

    Args:
        name: "vit_b_16", or with the name of its weights "vit_b_16.IMAGENET1K_SWAG_E2E_V1".
        trained: Whether to fetch the weights; else they are random.
        wanted: Height and width of the pictures, which only Swin transformers let one choose.
    """
    models = import_library("torchvision").models
    architecture, dot, tag = name.partition(".")
    known = [n for n in models.list_models(module=models) if re.match(r"vit_|swin_", n)]
    if architecture not in known:
        raise ModelNotFound(no_such("torchvision", architecture, known))
    entries = models.get_model_weights(architecture)
    if dot and tag not in entries.__members__:
        raise ModelNotFound(no_such(f"torchvision/{architecture}", tag, entries.__members__))
    entry = entries[tag or "DEFAULT"]
    rule = entry.transforms()
    size = pair(rule.crop_size * 2 if len(rule.crop_size) == 1 else rule.crop_size)
    if wanted and architecture.startswith("vit_") and wanted != size:
        raise ModelRejected(
            f"torchvision/{name} takes pictures of {size[0]} x {size[1]} pixels and no others: "
            "torchvision does not interpolate its positions. timm's models of this kind do."
        )
    sized = {"image_size": size[0]} if architecture.startswith("vit_") else {}

    def make() -> nn.Module:
        return models.get_model(architecture, **sized)

    check_size(f"torchvision/{name}", make)
    if wanted:
        check_picture_size(f"torchvision/{name}", wanted)
    weights = _fetch_weights(f"torchvision/{name}", entry) if trained else None
    net: Any = with_fixed_seed(make)
    if weights:
        net.load_state_dict(weights)
    is_vit = isinstance(net, models.VisionTransformer)
    patch = pair(net.patch_size if is_vit else net.features[0][0].kernel_size)
    return make_bundle(
        Bundle,
        f"torchvision/{name}",
        net,
        trained,
        tokens=token_layout(wanted or size, patch, ("cls",) if is_vit else ()),
        resize=Resize(wanted)
        if wanted
        else Resize(size, rule.resize_size[0], rule.interpolation.value),
        mean=rule.mean,
        std=rule.std,
        classes=entry.meta["categories"],
    )


def _fetch_weights(name: str, entry: Any) -> dict[str, Tensor]:
    file = urllib.parse.urlsplit(entry.url).path.rpartition("/")[2]
    try:
        return entry.get_state_dict(
            progress=True, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, http.client.HTTPException) as error:
        raise ModelNotFound(not_fetched(name, file)) from error
    except Exception as error:
        raise ModelRejected(
            f"The file {file} with the weights of {name} is damaged. Delete it from torch's "
            "cache of downloads and load the model again."
        ) from error
