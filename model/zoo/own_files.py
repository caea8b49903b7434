"""Weights that others have trained, opened as our VisionTransformer.

The names of a file's tensors show its format. Under our names their shapes show depth, width,
patch, image and classes. What shapes do not show (heads, normalisation) has a default, and may be
given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from model.bundle import Bundle
from model.card import OwnFileCard
from model.errors import ModelRejected
from model.nets.position_embedding import SinusoidalPositions
from model.nets.vit import VisionTransformer
from model.preprocessing import Resize, check_normalisation
from model.tokens import check_affordable
from model.zoo import weights_files
from model.zoo.adapters_on_base import merge_whole
from model.zoo.checkpoint_format import IMAGENET, CheckpointFormat, Tensors, find_mismatch
from model.zoo.config_from_tensors import read_config
from model.zoo.course_captioner_files import is_course_captioner, open_course_captioner
from model.zoo.deit import DistilledTransformer, TwoHeadedTransformer
from model.zoo.heads_after_encoder import follows_a_gap
from model.zoo.known_formats import RecognisedTensors, recognise_tensors, some
from model.zoo.lora import has_adapters
from model.zoo.networks_in_file import is_called


def load_own_file(
    path: Path,
    heads: int | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    classes: Sequence[str] | None = None,
    network: str | None = None,
    lora_alpha: float | None = None,
    **settings: Any,
) -> Bundle:
    """Open a file of weights as our VisionTransformer, or as the CS231n assignment's captioner.

    Args:
        path: The file.
        heads: The number of heads; None for the format's default.
        mean: Mean of each channel, or of all; None for what the file notes, or the default.
        std: Standard deviation, likewise.
        classes: Names of the classes.
        network: Which of several networks in the file, by its key or prefix, such as "student".
        lora_alpha: By which factor LoRA adapters beside their base are scaled, times their rank,
            where no adapter_config.json says it.
        settings: Fields of ViTConfig that the file does not tell, such as `img_size` where
            positions are not learned, `activation` or `scale_by`; for the assignment's captioner
            `features`, `row` and `vocabulary` (see `open_course_captioner`).

    Raises:
        ModelNotFound: There is no such file.
        ModelRejected: The file makes no model; the message says why and what to do.
    """
    held = weights_files.read_weights(path, network)
    if is_course_captioner(held.tensors):
        _check_finite(path.name, held.tensors, {id(t): name for name, t in held.tensors.items()})
        given = {"mean": mean, "std": std, "classes": classes, **settings}
        given = {name: value for name, value in given.items() if value is not None}
        return open_course_captioner(path, held.tensors, heads, **given)
    tensors, note = held.tensors, None
    if has_adapters(tensors):
        tensors, note = merge_whole(path, tensors, lora_alpha)
    found = recognise_tensors(path.name, tensors, held.beside, network)
    if network and not is_called(f"{held.key}.{found.format.only}", network):
        there = [*held.others, *found.others] or ["one network, without a key"]
        raise ModelRejected(f"{path.name} has no network “{network[:60]}”. It holds {some(there)}.")
    theirs = {id(tensor): name for name, tensor in (tensors | held.beside).items()}
    _check_finite(path.name, found.tensors, theirs)
    gap = follows_a_gap(theirs.get(id(found.tensors.get("head.weight")), ""), theirs.values())
    net = _build(path.name, found, tensors, heads, settings)
    given = {"heads": heads, "mean": mean, "std": std, **settings}
    known = {name for name, value in given.items() if value is not None} | held.notes.keys()
    named = _classes(path.name, net.config.num_classes, found.format, classes)
    normalisation = _normalisation(net, found.format, held.notes, mean, std)
    return Bundle(
        name=path.stem,
        net=net,
        tokens=net.tokens,
        mean=normalisation["mean"],
        std=normalisation["std"],
        resize=Resize(net.tokens.image_size),
        classes=named,
        card=OwnFileCard(
            name=path.stem,
            title=f"{path.name} ({found.format.title} layout)",
            parameters=sum(p.numel() for p in net.parameters()),
            sha256=_sha256(path),
            checkpoint_format=found.format.title,
            assumed=[
                name
                for name in _not_in_tensors(found.tensors, net.tokens.grid)
                if name not in known
            ]
            + (["classes"] if classes is None and named else [])
            + (["head"] if gap else []),
            left_out=some(found.left_out),
            note=note,
            other_networks=[*held.others, *found.others],
        ),
    )


def _check_finite(file: str, kept: Tensors, theirs: dict[int, str]) -> None:
    """Raise ModelRejected where a tensor of the model is not finite; `theirs` are names by id."""
    for ours, tensor in kept.items():
        if tensor.is_floating_point():
            weights_files.check_finite(file, theirs.get(id(tensor), ours), tensor)


def _not_in_tensors(tensors: Tensors, grid: tuple[int, int]) -> list[str]:
    """List settings that the tensors do not tell: where they are not given, defaults are taken.

    So many positions may be a square, but also another rectangle: 4 x 4 patches, or 2 x 8.
    """
    patches = grid[0] * grid[1]
    others = any(patches % rows == 0 for rows in range(2, min(grid)))
    size = [] if "positions.code" in tensors and not others else ["img_size"]
    pool = [] if "norm_of_mean.weight" in tensors else ["pool"]
    return ["heads", "mean", "std", "activation", "norm_eps", *pool, "scale_by", *size]


def _build(
    file: str,
    found: RecognisedTensors,
    names: Iterable[str],
    heads: int | None,
    settings: dict[str, Any],
) -> VisionTransformer:
    """Build the model that tensors make, and load them; `names` are the file's own."""
    source, tensors = found.format, found.tensors
    kind: type[VisionTransformer] = VisionTransformer
    if "dist_token" in tensors:
        kind = TwoHeadedTransformer if "head_dist.weight" in tensors else DistilledTransformer
    try:
        config, tensors = read_config(source, tensors, heads, settings)
        if config.in_channels not in (1, 3):
            raise ValueError(
                f"It takes pictures of {config.in_channels} channels; a photo has 3, or 1 in grey."
            )
        check_affordable(config.tokens)
        with torch.device("meta"):
            sketch = kind(config)  # shapes without values, however large they would be
    except ModelRejected:
        raise
    except (ValueError, TypeError, RuntimeError, LookupError) as error:
        why = "Its shapes do not fit together."
        if isinstance(error, ValueError):
            why = str(error)
        elif isinstance(error, KeyError):  # a tensor that was looked for
            why = f"Its {source.their_name(str(error.args[0]), names)} is missing."
        left = f" Left out were {some(found.left_out)}." if found.left_out else ""
        raise ModelRejected(
            f"{file} has {source.title} layout, but makes no model. {why}{left}"
        ) from error
    if differs := find_mismatch(sketch.state_dict(), tensors):
        raise ModelRejected(
            f"{file} has {source.title} layout, but its {source.their_name(differs.name, names)} "
            f"is {differs}. It is not complete, or of another variant."
        )
    # The file's tensors become the net's, which is never filled with random numbers first.
    sketch.load_state_dict(tensors, assign=True)
    for part in sketch.modules():
        if isinstance(part, SinusoidalPositions):
            part.compute_code()
    return sketch.eval()


# What is no part of the net


def _normalisation(
    net: VisionTransformer,
    source: CheckpointFormat,
    notes: dict[str, str],
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
) -> dict[str, tuple[float, ...]]:
    """Return mean and std as they are given, else noted in the file, else the format's default."""
    channels = net.config.in_channels
    defaults = IMAGENET if isinstance(net, DistilledTransformer) else source.normalisation

    def choose(key: str, given: Sequence[float] | float | None, default: Sequence[float]) -> Any:
        """Return a value for each channel; a file's notes are text, which is checked later."""
        if given is None and key in notes:
            return notes[key].split(",")
        if given is None:
            given = default if len(default) == channels else default[0]
        return [given] * channels if isinstance(given, int | float) else given

    means, deviations = choose("mean", mean, defaults[0]), choose("std", std, defaults[1])
    return check_normalisation(means, deviations, channels=channels)


def _classes(
    file: str, count: int, source: CheckpointFormat, given: Sequence[str] | None
) -> list[str] | None:
    """Return the given names, or the names that models of this format have; None if they differ
    in number."""
    if given is not None and len(given) != count:
        raise ModelRejected(f"{file} tells {count} classes apart, not {len(given)}.")
    named = list(given) if given is not None else source.classes()
    return named if named and len(named) == count else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
