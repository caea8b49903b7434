"""A model's config, read off the shapes of its tensors.

Each step reads one thing off the tensors, and brings the tensors that hold it into our form.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from typing import Any

from model.errors import ModelRejected
from model.nets.vit import PRESETS, ViTConfig
from model.tokens import pair
from model.zoo.checkpoint_format import CheckpointFormat, Tensors
from model.zoo.tokens_from_tensors import read_tokens

MAX_WIDTH = 20_000  # of a token; ViT-22B has 6,144
# Where a stem's stages begin, and the further convolutions in them.
_FIRST_OF_STAGE = re.compile(r"embed\.stages\.\d+\.0\.weight")
_MORE_OF_STAGE = re.compile(r"embed\.stages\.\d+\.\d+\.0\.weight")


def read_config(
    source: CheckpointFormat, tensors: Tensors, heads: int | None, settings: dict[str, Any]
) -> tuple[ViTConfig, Tensors]:
    """Read a model's config off the shapes of its tensors.

    Args:
        source: The format that the tensors were in.
        tensors: The tensors under our names.
        heads: The number of heads; None for the format's default.
        settings: Fields of ViTConfig that were given; they count more than the shapes.

    Returns:
        The config, and the tensors as our model holds them.

    Raises:
        ValueError: The tensors make no model; the message is a sentence.
        ModelRejected: A setting is no field of ViTConfig.
        KeyError: A tensor is missing; the key is our name for it.
    """
    tensors = dict(tensors)
    base = source.config or _likeliest_preset(tensors)
    if "cls_token" in tensors and not tensors["cls_token"].numel():
        del tensors["cls_token"]  # so vit-pytorch writes a model that classifies the mean
        base = replace(base, cls_token=False, pool="mean")
    read = _embedding(tensors, settings)
    pair(read["patch_size"])  # from one pixel on
    if source.channel_last:
        _channels_first(tensors, read["in_channels"], read["patch_size"])
    read |= _blocks(tensors, source.interleaved)
    read |= _ending(tensors, base, settings.get("pool"))
    read |= read_tokens(tensors, source, base, read["patch_size"], settings)
    default = base.heads if base.dim == read["dim"] else source.heads
    read["heads"] = _default_heads(read["dim"], default) if heads is None else heads
    known = {field.name for field in fields(ViTConfig)}
    if unknown := sorted(set(settings) - known):
        raise ModelRejected(f"A model has no setting {', '.join(unknown)}. Leave it out.")
    return replace(base, **(read | settings)), tensors


def _likeliest_preset(tensors: Tensors) -> ViTConfig:
    """Guess which of our presets made a file: shapes show no activation, for instance."""
    if "norm_embedding.weight" in tensors:
        return PRESETS["clip_b32"]
    if "norm_of_pooled.weight" not in tensors:
        return PRESETS["cs231n"]
    return PRESETS["vit" if "blocks.0.attention.query.bias" in tensors else "d2l"]


def _embedding(tensors: Tensors, settings: dict[str, Any]) -> dict[str, Any]:
    """Read width, channels and patches off the embedding."""
    weight = tensors["embed.proj.weight"]
    if not 1 <= weight.shape[0] <= MAX_WIDTH:
        raise ValueError(f"Its tokens are {weight.shape[0]:,} numbers wide, which no model's are.")
    read = {"dim": weight.shape[0], "patch_bias": "embed.proj.bias" in tensors}
    if "embed.stages.0.0.weight" in tensors:
        stages = [t for name, t in sorted(tensors.items()) if _FIRST_OF_STAGE.fullmatch(name)]
        more = [name for name in tensors if _MORE_OF_STAGE.fullmatch(name)]
        if "patch_size" not in settings:
            raise ValueError(
                "Its patch cannot be read off: give the .json that lies beside it too, or, in "
                "Python, say patch_size=, in pixels."
            )
        channels, patch = stages[0].shape[1], settings["patch_size"]
        return read | {
            "embed": "stem",
            "stem": tuple(len(stage) for stage in stages),
            "stem_depth": 1 + len(more) // len(stages),
            "in_channels": channels,
            "patch_size": patch,
        }
    if weight.ndim == 4 and weight.shape[2] == weight.shape[3]:
        return read | {
            "embed": "conv",
            "in_channels": weight.shape[1],
            "patch_size": weight.shape[2],
        }
    if weight.ndim == 2:
        for channels in (3, 1):
            patch = math.isqrt(weight.shape[1] // channels)
            if channels * patch * patch == weight.shape[1]:
                return read | {
                    "embed": "linear",
                    "in_channels": channels,
                    "patch_size": patch,
                    "patch_norms": "embed.norm_pixels.weight" in tensors,
                }
    raise ValueError(f"Its patches are not square: {tuple(weight.shape)} embeds them.")


def _channels_first(tensors: Tensors, channels: int, patch: int) -> None:
    """Reorder flattened patches from (p, p, C) to our (C, p, p).

    These are columns of the Linear, and entries of the norm before it.
    """
    for name in ("embed.proj.weight", "embed.norm_pixels.weight", "embed.norm_pixels.bias"):
        if name in tensors:
            pixels = tensors[name].unflatten(-1, (patch, patch, channels))
            tensors[name] = pixels.movedim(-1, -3).flatten(-3)


def _blocks(tensors: Tensors, interleaved: bool) -> dict[str, Any]:
    """Read depth and biases off the blocks; split joint queries, keys and values."""
    for name in list(tensors):
        if ".attention.qkv." in name:
            fused = tensors.pop(name)
            if len(fused) % 3:
                raise ValueError(f"Its {name} does not hold queries, keys and values.")
            parts = fused.unflatten(0, (-1, 3)).unbind(1) if interleaved else fused.chunk(3)
            for part, tensor in zip(("query", "key", "value"), parts, strict=True):
                tensors[name.replace("qkv", part)] = tensor
        elif name.endswith(".gamma"):
            _scale_layer(tensors, name)
    query = tensors["blocks.0.attention.query.weight"]
    if query.ndim != 2:
        raise ValueError(f"Its queries are made by a tensor of {query.ndim} dimensions, not two.")
    inner, dim = query.shape
    if inner != dim:
        raise ValueError(
            f"Its heads are together {inner} wide and its tokens {dim}, and in Saccade's model the "
            f"two are the same. Train it with tokens {inner} wide, or with fewer or other heads."
        )
    numbers = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
    if numbers != set(range(len(numbers))):
        raise ValueError(f"Of its blocks 0 to {max(numbers)}, only {len(numbers)} are there.")
    return {
        "depth": len(numbers),
        "mlp_dim": len(tensors["blocks.0.mlp.fc1.weight"]),
        "qkv_bias": "blocks.0.attention.query.bias" in tensors,
        "out_bias": "blocks.0.attention.proj.bias" in tensors,
    }


def _scale_layer(tensors: Tensors, name: str) -> None:
    """Multiply LayerScale (Touvron et al. 2021) into the layer whose output it scales."""
    gamma = tensors.pop(name)
    if gamma.ndim != 1:
        raise ValueError(f"Its {name} is no vector.")
    layer = name.replace("attention.gamma", "attention.proj").replace("mlp.gamma", "mlp.fc2")
    for suffix, factor in ((".weight", gamma[:, None]), (".bias", gamma)):
        if layer + suffix in tensors:
            if tensors[layer + suffix].shape[:1] != gamma.shape:
                raise ValueError(f"Its {name} does not fit the layer that it scales.")
            tensors[layer + suffix] = tensors[layer + suffix] * factor


def _ending(tensors: Tensors, base: ViTConfig, given: str | None) -> dict[str, Any]:
    """Read pooling, norms, projection and head; `given` is the pooling, where it was given."""
    before = "norm.weight" in tensors
    pool = given or _default_pool(tensors, base)
    if pool in ("cls", "cls_and_mean") and "cls_token" not in tensors:
        raise ValueError("It has no class token that could be classified.")
    for late in ("norm_of_mean", "norm_of_pooled"):
        if f"{late}.weight" in tensors and before:
            raise ValueError("It norms its output twice, for which Saccade's model has no place.")
        if f"{late}.weight" in tensors:
            for suffix in ("weight", "bias"):
                tensors[f"norm.{suffix}"] = tensors.pop(f"{late}.{suffix}")
    if "projection.transposed" in tensors:
        tensors["projection.weight"] = tensors.pop("projection.transposed").mT
    with_norm = "norm_embedding.weight" in tensors
    return {
        "pool": pool,
        "norm_embedding": with_norm,
        "final_norm": "norm.weight" in tensors,
        "norm_before_pool": before and pool != "cls",  # of one token it is the same
        "norm_eps": 1e-5 if with_norm else base.norm_eps,  # as CLIP, whose mark that norm is
        "projection": len(tensors.get("projection.weight", ())),
        "num_classes": len(tensors.get("head.weight", ())),
    }


def _default_pool(tensors: Tensors, base: ViTConfig) -> str:
    """Return how a format's models pool by default; ValueError where they differ in that."""
    if "norm_of_mean.weight" in tensors:
        return "mean"
    if "cls_token" in tensors:  # two vectors side by side are for a head only
        head = tensors.get("head.weight")
        if head is not None and head.ndim == 2:
            if head.shape[1] == 2 * tensors["cls_token"].shape[-1]:
                return "cls_and_mean"
            return "cls" if base.pool == "cls_and_mean" else base.pool
        return base.pool if base.pool != "cls_and_mean" else "cls"
    if base.cls_token and "norm.weight" in tensors:
        raise ValueError(
            "It has no class token, and how it pools its tokens cannot be read off: say it (in "
            'Python pool="mean", for instance).'
        )
    return "mean"


def _default_heads(dim: int, default: int | None) -> int:
    """Return `default`, or heads of 64 dimensions; fewer where the width does not split so."""
    most = max(1, dim // 64) if default is None else default
    return next(heads for heads in range(most, 0, -1) if dim % heads == 0)
