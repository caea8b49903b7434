"""Models by name: `load("cifar10")`, `load("timm/deit_tiny_patch16_224")`, `load("mine.pt")`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from model.bundle import Bundle
from model.captioning.base import CaptioningNet
from model.captioning.caption import CaptionBundle
from model.card import Card
from model.errors import CheckpointError, HeadRejected, ModelNotFound, ModelRejected
from model.nets.fixed_seed import with_fixed_seed
from model.nets.one_thread import one_thread
from model.preprocessing import Resize, check_normalisation
from model.tokens import pair
from model.zoo import checkpoints, own_files
from model.zoo.adapters_on_base import find_adapters, open_adapters
from model.zoo.cards import unprepared
from model.zoo.checkpoints import names
from model.zoo.foreign_formats import name_foreign_folder, names_in
from model.zoo.hubs.hugging_face import open_hugging_face
from model.zoo.hubs.hugging_face_folder import (
    CONFIG,
    WEIGHTS,
    find_weights,
    is_hugging_face_config,
    open_folder,
    read_facts,
)
from model.zoo.hubs.timm_folder import is_timm_config, open_timm_folder, read_timm_facts
from model.zoo.hubs.timm_models import open_timm
from model.zoo.hubs.torchvision_models import open_torchvision
from model.zoo.known_formats import some

HUBS = {"torchvision": open_torchvision, "timm": open_timm, "hf": open_hugging_face}
# Keys of a card that are about the weights, not about the architecture.
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
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl")


def load(
    name: str | os.PathLike[str],
    heads: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str = "trained",
    **settings: Any,
) -> Bundle:
    """Open a model by its name, on the CPU, in eval mode, with float32 weights.

    Args:
        name: An embedded model (see `names`), "torchvision/NAME", "timm/NAME", "hf/ORG/NAME", or
            the path of a file of weights or of a Hugging Face folder. A hub's name may end with
            the size of the pictures, height x width, as in "timm/deit_tiny_patch16_224@160x256".
        heads: The number of heads. This argument, the next two and `settings` are for files only:
            they give what a file cannot tell. `img_size` is for a hub's models, too.
        mean: Mean of each channel, for values from 0 to 1.
        std: Standard deviation of each channel.
        weights: "random" for the same model untrained; nothing is downloaded, and the random
            weights are always the same.
        settings: `base`, what LoRA adapters change: a file, a folder or "hf/ORG/NAME", and
            `lora_alpha` where no adapter_config.json lies beside them; `classes` (names);
            `network`, which of several in the file, such as "student"; fields of ViTConfig, such
            as `img_size` where positions are not learned; `features`, `row` and `vocabulary` for
            a captioner of the CS231n assignment.

    Returns:
        The model with its preprocessing, class names, tokens and card; a `CaptionBundle` for a
        captioner.

    Raises:
        ModelNotFound: There is no such model, or its weights cannot be fetched.
        ModelRejected: The model cannot be opened.

    Example:
        >>> bundle = load("cifar10")
        >>> bundle.classes[:3], bundle.tokens.grid
        (['airplane', 'automobile', 'bird'], (8, 8))
        >>> bundle.card.title
        'CIFAR-10: a small vision transformer'
        >>> load("cifar01")
        Traceback (most recent call last):
        model.errors.ModelNotFound: There is no model “cifar01”. Did you mean “cifar10”? ...
    """
    if weights not in ("trained", "random"):
        raise ModelRejected(f"Weights are “trained” or “random”, not “{weights}”.")
    with one_thread():
        return _load(name, heads, mean, std, weights, settings)


def _load(
    name: str | os.PathLike[str],
    heads: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    weights: str,
    settings: dict[str, Any],
) -> Bundle:
    name = name if isinstance(name, str) else Path(name)
    own = {"heads": heads, "mean": mean, "std": std, **settings}
    own = {key: value for key, value in own.items() if value is not None}
    if _is_path(name):
        return _load_file(Path(name), weights == "trained", **own)
    hub, _, rest = str(name).partition("/")
    if hub in HUBS and rest:
        rest, size = _picture_size(rest, own.pop("img_size", None))
    if own:
        raise ModelRejected(
            f"“{name}” knows its own {', '.join(own)}. Say such things only with a file of weights."
        )
    if hub in HUBS and rest:
        return _open_hub_model(hub, rest, size, weights == "trained")
    name = str(name)
    if not _is_embedded(name):
        raise ModelNotFound(_unknown(name))
    bundle = _from_checkpoint(checkpoints.DIRECTORY / f"{name}.safetensors")
    return untrained(bundle) if weights == "random" else bundle


def _picture_size(rest: str, given: Any) -> tuple[str, tuple[int, int] | None]:
    """Take the size of the pictures off a name, "NAME@160x256", or from an argument."""
    before, _, text = rest.partition("@")
    if not re.fullmatch(r"\w*", text):  # words after an @ are part of what somebody typed
        before, text = rest, ""
    rest = before
    if not text and given is None:
        return rest, None
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text) if text else None
    if text and not found:
        raise ModelRejected(
            f"“{text[:40]}” is no size of pictures. Write height x width, as in NAME@160x256."
        )
    if found:
        given = (int(found[1]), int(found[2] or found[1]))
    try:
        return rest, pair(given)
    except ValueError as error:
        raise ModelRejected(str(error)) from error


def _open_hub_model(
    hub: str, rest: str, size: tuple[int, int] | None, trained: bool
) -> Bundle[nn.Module]:
    bundle = HUBS[hub](rest, trained, size)
    if size is None:
        return bundle
    name = f"{hub}/{rest}"
    return replace(bundle, name=bundle.name.replace(name, f"{name}@{size[0]}x{size[1]}"))


def _is_path(name: str | os.PathLike[str]) -> bool:
    """Tell a path from a name.

    A name that begins with a hub's is never a path, wherever it points: it may come from outside.
    """
    if not isinstance(name, str):
        return True
    of_hub = name.partition("/")[0] in HUBS and "/" in name
    if of_hub or _is_embedded(name) or Path(name).name in ("", ".."):
        return False
    path = Path(name)
    return path.suffix.lower() in SUFFIXES or _is_there(path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for any folder, or with a NUL in it
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for any folder, or with a NUL in it
        return False


def _is_embedded(name: str) -> bool:
    path = checkpoints.DIRECTORY / f"{name}.safetensors"
    return Path(name).name == name and _is_file(path)


def untrained(bundle: Bundle) -> Bundle:
    """Return the same model with random weights, drawn as for training, and always the same.

    The card keeps only what is true of any weights.

    Args:
        bundle: An embedded model, or one from a file. A hub's model is opened untrained with
            `load(..., weights="random")`.

    Raises:
        ModelRejected: for a net of another library, which cannot be built from its weights alone.
    """
    if not hasattr(bundle.net, "config"):
        raise ModelRejected(
            f"{bundle.name} cannot be built again with random weights: its code is another "
            "library's. Open the same architecture from a hub, untrained."
        )
    net = with_fixed_seed(lambda: type(bundle.net)(bundle.net.config)).eval()
    card = bundle.card.without(LEARNED)
    return replace(bundle, name=f"{bundle.name} (random weights)", net=net, card=card)


def _load_file(path: Path, trained: bool, **own: Any) -> Bundle:
    """Open a Hugging Face folder, one of our checkpoints by its card, or anybody's weights."""
    base, alpha = own.pop("base", None), own.pop("lora_alpha", None)
    if _is_there(path) and (base is not None or find_adapters(path)):
        merged = partial(_load_file, trained=trained, **own)
        return open_adapters(path, base, merged, alpha)
    if _is_file(path / CONFIG):
        if own:
            raise ModelRejected(
                f"The config.json in {path.name} says {', '.join(own)}. Say such things only with "
                "a file of weights."
            )
        return _load_folder(path, trained)
    if path.is_dir():
        raise ModelRejected(_name_folder(path))
    if not _is_file(path):
        raise ModelNotFound(f"There is no file {str(path)[:200]}. Check its name and folder.")
    beside = path.with_suffix(".json")
    configs = [beside, path.with_name(CONFIG)] if WEIGHTS.fullmatch(path.name) else [beside]
    config = next(filter(is_hugging_face_config, configs), None)
    if WEIGHTS.fullmatch(path.name) and is_timm_config(configs[-1]):
        if not own:
            return _load_folder(path.parent, trained)
        own = read_timm_facts(configs[-1]) | own
    if config:
        bundle = _load_with_config(path, config, trained, own)
    elif not own and _is_file(beside):
        bundle = _from_checkpoint(path)
    else:
        own |= {} if alpha is None else {"lora_alpha": alpha}
        bundle = own_files.load_own_file(path, **own)
    return bundle if trained or config else untrained(bundle)


def _load_folder(path: Path, trained: bool) -> Bundle:
    """Open a folder with a config.json by the library that wrote it, or else by its tensors."""
    config = path / CONFIG
    if is_timm_config(config):
        if find_spec("timm") is None:
            return own_files.load_own_file(find_weights(path), **read_timm_facts(config))
        return open_timm_folder(path, trained)
    if find_spec("transformers") is None:
        return _load_with_config(find_weights(path), config, trained, {})
    try:
        return open_folder(path, trained)
    except HeadRejected:  # of another shape: kept where it is understood, else left out
        facts, fields = read_facts(config)
        facts.pop("classes", None)
    try:
        bundle = own_files.load_own_file(find_weights(path), **facts)
    except ModelRejected:
        return open_folder(path, trained, head=False)
    named = replace(bundle, name=path.resolve().name)
    return replace(named, **fields) if _fits(fields, bundle) else named


def _fits(fields: dict[str, Any], bundle: Bundle) -> bool:
    return "resize" in fields and fields["resize"].size == bundle.image_size


def _name_folder(path: Path) -> str:
    """Say what a folder without config.json is, and what to give."""
    deep = f"snapshots/*/{CONFIG}"  # of the hub's cache
    configs = [*path.glob(f"*/{CONFIG}"), *path.glob(deep)]
    inner = sorted(str(each.parent.relative_to(path)) for each in configs)
    if inner:
        return f"{path.name[:100]} holds folders of models. Give one of them: {some(inner)}."
    return name_foreign_folder(path.name, names_in(path)) or (
        f"{path.name[:100]} is a folder without {CONFIG}. Give the file of weights in it, or a "
        "folder that save_pretrained() of transformers has written."
    )


def _load_with_config(path: Path, config: Path, trained: bool, own: dict[str, Any]) -> Bundle:
    """Open weights with the config that transformers has written beside them."""
    facts, fields = read_facts(config)
    try:
        bundle = own_files.load_own_file(path, **facts | own)
    except ModelRejected:
        if own or config.name != CONFIG:
            raise
        return open_folder(path.parent, trained)  # an architecture that only transformers has
    if _fits(fields, bundle):
        bundle = replace(bundle, **fields)
    return bundle if trained else untrained(bundle)


def _from_checkpoint(path: Path) -> Bundle:
    """Open a checkpoint of this project by its card."""
    try:
        net, card = checkpoints.load_checkpoint(path)
    except CheckpointError as error:
        raise ModelRejected(str(error)) from error
    count = 0 if isinstance(net, CaptioningNet) else net.config.num_classes
    if card.classes is not None and len(card.classes) != count:
        raise ModelRejected(
            f"The card of {path.name} names {len(card.classes)} classes, and the model has "
            f"{count}. Mend the card."
        )
    try:
        return _with_card(path.stem, net, card)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelRejected(unprepared(path, error)) from error


def _with_card(name: str, net: checkpoints.Net, card: Card) -> Bundle:
    """Make the bundle of a net and its card. Raises ValueError where photos cannot be prepared."""
    if card.normalisation is None:
        raise ValueError("it has no normalisation")
    mean, std = card.normalisation.mean, card.normalisation.std
    values = check_normalisation(mean, std, channels=net.config.in_channels)
    rule = {} if card.resize is None else card.resize.model_dump()
    resize = Resize(net.tokens.image_size, **rule)
    parts = (net.tokens, values["mean"], values["std"], resize, card.classes, card)
    if isinstance(net, CaptioningNet):
        return CaptionBundle(name, net, *parts)
    return Bundle(name, net, *parts)


def _unknown(name: str) -> str:
    """Say that there is no such model, and which name comes nearest."""
    embedded = [*names(), *names("caption")]
    near = difflib.get_close_matches(name[:100].lower(), embedded, n=1, cutoff=0.5)
    meant = f" Did you mean “{near[0]}”?" if near else ""
    here = f"Embedded are {', '.join(embedded)}" if embedded else "No checkpoint is embedded"
    shown = "".join(c for c in name if c.isprintable())[:100]
    return (
        f"There is no model “{shown}”.{meant} {here}; others are torchvision/NAME, timm/NAME, "
        "hf/ORG/NAME, or the path of a file of weights."
    )
