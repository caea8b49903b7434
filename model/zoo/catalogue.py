"""Models by name: `load("cifar10")`, `load("timm/deit_tiny_patch16_224")`, `load("mine.pt")`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.errors import CheckpointError, ModelNotFound, ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.preprocessing import Resize, check_normalisation
from model.zoo import checkpoints, own_files
from model.zoo.cards import unprepared
from model.zoo.checkpoints import names
from model.zoo.hubs.hugging_face import open_hugging_face
from model.zoo.hubs.timm_models import open_timm
from model.zoo.hubs.torchvision_models import open_torchvision

HUBS = {"torchvision": open_torchvision, "timm": open_timm, "hf": open_hugging_face}
# What a card says of its weights, not of its architecture.
LEARNED = (
    "metrics",
    "machine",
    "curve",
    "confusion",
    "weak_at",
    "command",
    "commands_first",
    "went_on_from",
    "teachers",
    "recipe",
    "seed",
    "epochs",
    "note",
    "data",
    "data_licence",
    "licence",
    "sha256",
)
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def load(
    name: str | os.PathLike[str],
    heads: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str = "trained",
    **settings: Any,
) -> Bundle:
    """The model called `name`, on the CPU, in eval mode, with float32 weights.

    `name` is an embedded checkpoint (see `names`), "torchvision/NAME", "timm/NAME",
    "hf/ORG/NAME", or the path of a file with weights. `heads`, `mean`, `std` and `settings` say
    what such a file cannot tell; they are for files only. Settings are `classes` (names) and
    fields of ViTConfig, such as `img_size` where positions are not learned. `weights="random"`
    gives the same model untrained (always the same random weights), and downloads nothing.

    Raises ModelNotFound where there is no such model, or its weights cannot be fetched, and
    ModelRejected where there is one that cannot be opened.
    """
    if weights not in ("trained", "random"):
        raise ModelRejected(f"Weights are “trained” or “random”, not “{weights}”.")
    path = Path(name)
    own = {"heads": heads, "mean": mean, "std": std, **settings}
    own = {key: value for key, value in own.items() if value is not None}
    if isinstance(name, os.PathLike) or path.suffix.lower() in SUFFIXES:
        bundle = _load_file(path, **own)
        return untrained(bundle) if weights == "random" else bundle
    if own:
        raise ModelRejected(
            f"“{name}” knows its own {', '.join(own)}. Say such things only with a file of weights."
        )
    hub, _, rest = name.partition("/")
    if hub in HUBS and rest:
        return HUBS[hub](rest, weights == "trained")
    bundle = _load_embedded(name)
    return untrained(bundle) if weights == "random" else bundle


def _load_embedded(name: str) -> Bundle:
    path = checkpoints.DIRECTORY / f"{name}.safetensors"
    if Path(name).name != name or not path.is_file():
        raise ModelNotFound(_unknown(name))
    return _from_checkpoint(path)


def untrained(bundle: Bundle) -> Bundle:
    """The same model with random weights, drawn as for training, and always the same.

    For embedded models and those from a file; a hub's are had with `load(..., weights="random")`.
    The card keeps what is true of any weights.
    """
    net = with_fixed_seed(lambda: type(bundle.net)(bundle.net.config)).eval()
    card = bundle.card.without(LEARNED)
    return replace(bundle, name=f"{bundle.name} (random weights)", net=net, card=card)


def _load_file(path: Path, **own: Any) -> Bundle:
    """One of our checkpoints where its card lies beside it, anybody's weights otherwise."""
    if not path.is_file():
        raise ModelNotFound(f"There is no file {path}. Check its name and folder.")
    if not own and path.with_suffix(".json").is_file():
        return _from_checkpoint(path)
    return own_files.load_own_file(path, **own)


def _from_checkpoint(path: Path) -> Bundle:
    try:
        net, card = checkpoints.load_checkpoint(path)
    except CheckpointError as error:
        raise ModelRejected(str(error)) from error
    kind = CaptionBundle if card.task == "caption" else Bundle
    classes = card.classes
    if card.normalisation is None:
        raise ModelRejected(unprepared(path, "it has no normalisation"))
    if classes is not None and len(classes) != net.config.num_classes:
        raise ModelRejected(
            f"The card of {path.name} names {len(classes)} classes, and the model has "
            f"{net.config.num_classes}. Mend the card."
        )
    rule = {} if card.resize is None else card.resize.model_dump()
    mean, std = card.normalisation.mean, card.normalisation.std
    try:
        return kind(
            name=path.stem,
            net=net,
            tokens=net.tokens,
            **check_normalisation(mean, std, channels=net.config.in_channels),
            resize=Resize(net.tokens.image_size, **rule),
            classes=classes,
            card=card,
        )
    except (TypeError, ValueError) as error:
        raise ModelRejected(unprepared(path, error)) from error


def _unknown(name: str) -> str:
    embedded = [*names(), *names("caption")]
    near = difflib.get_close_matches(name.lower(), embedded, n=1, cutoff=0.5)
    meant = f" Did you mean “{near[0]}”?" if near else ""
    here = f"Embedded are {', '.join(embedded)}" if embedded else "No checkpoint is embedded"
    return (
        f"There is no model “{name}”.{meant} {here}; others are torchvision/NAME, timm/NAME, "
        "hf/ORG/NAME, or the path of a file of weights."
    )
