"""Trained weights on disk: a float16 safetensors file, and a card in JSON beside it.

The card says how to build the net (`task` and `config`), what it was trained on, how well it
does, and the sha256 of the weights file, which is checked whenever the file is loaded.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as write_safetensors
from torch import Tensor, nn

from model.captioning import build
from model.captioning.base import CaptioningNet
from model.card import Card
from model.errors import CheckpointError
from model.home import HOME
from model.nets import vit
from model.nets.uninitialised import weights_given
from model.nets.vit import VisionTransformer
from model.tokens import MAX_TOKENS, check_affordable
from model.zoo.cards import card_as_json, card_path, read_card, read_checkpoint_file, read_task
from model.zoo.whole_files import replace_file

DIRECTORY = HOME / "checkpoints"

_MAX_NUMBER = 10**12  # of a card's config; smaller ones are compared with the weights
# Of these a model is made before they are compared, or they are not in the weights at all.
_MOST = {
    **{"registers": MAX_TOKENS, "max_words": 1_000},
    **dict.fromkeys(("depth", "stem_depth", "layers"), 400),
}
_MAX_LIST = 1_000
_MAX_WORDS = 200_000  # of a vocabulary; large ones have 50,000
_MAX_HEADER = 2_000_000  # bytes; a ViT-L's has 60,000
_JUST_NOW = 10**9  # nanoseconds

Net = VisionTransformer | CaptioningNet[Any]

_BUILDERS: dict[str, Callable[[dict[str, Any]], Net]] = {
    "classify": lambda config: vit.build("vit", **config),
    "caption": build.build_captioner,
}

# The first of them that is there opens first.
DEFAULTS = ("photos", "cifar10", "scenes-captioner", "flickr8k-captioner")


def names(task: str = "classify") -> list[str]:
    """List the embedded models, which need no network.

    Args:
        task: "classify", or "caption" for captioners.

    Returns:
        Their names; the default model comes first.

    Example:
        >>> names("caption")[:2]
        ['scenes-captioner', 'flickr8k-captioner']
    """
    try:
        changed = DIRECTORY.stat().st_mtime_ns
    except OSError:
        return []
    # What changed just now may change again within the same tick of the file system's clock.
    read = _read_names.__wrapped__ if time.time_ns() - changed < _JUST_NOW else _read_names
    return list(read(DIRECTORY, changed, task))


@lru_cache(maxsize=8)
def _read_names(directory: Path, changed: int, task: str) -> tuple[str, ...]:
    """List the models of a directory, read again once a file has come or gone."""
    found = []
    for path in sorted(directory.glob("*.safetensors")):
        try:
            if read_task(path) == task:
                found.append(path.stem)
        except CheckpointError:
            continue  # `load_checkpoint` says what is wrong with it
    return tuple(sorted(found, key=lambda name: (*DEFAULTS, name).index(name)))


def save_checkpoint(
    net: nn.Module, path: str | os.PathLike[str], card: Card | Mapping[str, Any]
) -> Card:
    """Write the weights of a net, and its card beside them.

    Floats are stored as float16, or as they are where float16 cannot hold them; integers (the
    counters of BatchNorm) are kept. Each of the two files appears complete or not at all.

    Args:
        net: The net.
        path: Where the weights go, ends in .safetensors; the card's name ends in .json.
        card: The card, which gets the sha256 of the weights file.

    Returns:
        The card as written.

    Raises:
        CheckpointError: The weights are not finite, or there is no room for them.
    """
    path = Path(path)
    data = write_safetensors({name: as_stored(name, t) for name, t in net.state_dict().items()})
    written = card if isinstance(card, Card) else Card(**card)
    written = written.changed(sha256=hashlib.sha256(data).hexdigest())
    write_whole(path, data)
    write_whole(card_path(path), card_as_json(written))
    return written


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[Net, Card]:
    """Load a net, in eval mode with float32 weights, and its card.

    Args:
        path: The weights file; the card lies beside it.

    Raises:
        CheckpointError: One of the two files is missing, damaged, or does not belong to the other.
    """
    path = Path(path)
    card = read_card(path)
    data = read_checkpoint_file(path)
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise CheckpointError(
            f"{path.name} is damaged, or its card describes another file: the sha256 differs. "
            "Fetch both again, or train the model again."
        )
    weights = parse_weights(path, data)
    check_fits(path, card, weights)
    with weights_given():
        net = build_net(path, card)
    net.load_state_dict(weights)
    return net.eval(), card


def parse_weights(path: Path, data: bytes) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file. Raises CheckpointError where it is none."""
    try:
        if int.from_bytes(data[:8], "little") > _MAX_HEADER:
            raise ValueError("a header of more tensors than any model has")
        return parse_safetensors(data)
    # What it raises for a kind of number, or a shape, that torch does not have.
    except (SafetensorError, LookupError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"{path.name} is no safetensors file. Save it with "
            "model.zoo.checkpoints.save_checkpoint."
        ) from error


def check_fits(path: Path, card: Card, weights: dict[str, Tensor]) -> None:
    """Refuse a model of other shapes than the weights, before any memory is taken for it."""
    _check_numbers(path, card.config)
    found = {name: tensor.shape for name, tensor in weights.items()}
    depths = [card.config.get(name, 0) for name in ("depth", "stem_depth")]
    fits = all(not isinstance(depth, int) or depth <= len(found) for depth in depths)
    if fits:
        with torch.device("meta"):
            sketch = build_net(path, card)  # shapes without values, however large they would be
        try:
            check_affordable(sketch.tokens)
        except ValueError as error:
            raise CheckpointError(f"{path.name} cannot be shown a photo here. {error}") from error
        fits = found == {name: tensor.shape for name, tensor in sketch.state_dict().items()}
    if not fits:
        raise CheckpointError(
            f"The weights in {path.name} do not fit the model that its card describes. "
            "Fetch both again, or train the model again."
        )


def _check_numbers(path: Path, value: Any, key: str = "") -> None:
    """Raise CheckpointError for a number or a list that no model has, before any is built."""
    most = _MOST.get(key, _MAX_NUMBER)
    longest = _MAX_WORDS if key == "vocabulary" else _MAX_LIST
    if isinstance(value, dict):
        for inner, each in value.items():
            _check_numbers(path, each, inner)
    elif isinstance(value, list) and len(value) <= longest:
        for each in value:
            _check_numbers(path, each, key)
    elif isinstance(value, list) or (isinstance(value, int | float) and not abs(value) <= most):
        shown = "".join(c for c in key if c.isprintable())[:60]
        raise CheckpointError(
            f"The card of {path.name} describes no model that can be built: its {shown} is larger "
            "than any model's. Fetch the card again."
        )


def find_checkpoint(name: str) -> Path:
    """Return the file of a shipped checkpoint.

    Args:
        name: Its name, or the path of any .safetensors file.

    Raises:
        CheckpointError: There is no such checkpoint.
    """
    if name.endswith(".safetensors"):
        return Path(name)
    file = DIRECTORY / f"{name}.safetensors"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in DIRECTORY.glob("*.safetensors")))
        raise CheckpointError(f'There is no checkpoint "{name}". Known: {known}; or give a file.')
    return file


def build_net(path: Path, card: Card) -> Net:
    """Build the net that a card describes. Raises CheckpointError."""
    if card.task not in _BUILDERS:
        raise CheckpointError(
            f"The card of {path.name} names the task “{card.task[:60]}”; "
            f"known are {', '.join(_BUILDERS)}. A newer Saccade may open it."
        )
    try:
        return _BUILDERS[card.task](card.config)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        why = "".join(c for c in str(error) if c.isprintable())[:200].rstrip(".")
        raise CheckpointError(
            f"The card of {path.name} describes no model that can be built: {why}."
        ) from error


def as_stored(name: str, tensor: Tensor) -> Tensor:
    """Copy a tensor as it is stored: contiguous, on the CPU, float16 where that can hold it."""
    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if not tensor.is_floating_point():
        return tensor
    if not tensor.isfinite().all():
        raise CheckpointError(
            f"The weights are not finite ({name}), so the training went wrong. "
            "Nothing was written: train again with a lower learning rate."
        )
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever reads half of it. Raises CheckpointError for a full disk."""
    replace_file(path, lambda unfinished: unfinished.write_bytes(data))
