"""Weights that others have trained, opened as our VisionTransformer.

Once a file's tensors have our names, whoever made it, its depth, width, patch, image and classes
are read off the shapes. What shapes do not tell (heads, normalisation) has a default, and may be
said.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.bundle import Bundle
from model.card import OwnFileCard
from model.errors import ModelRejected
from model.nets.position_embedding import sinusoidal_code
from model.nets.vit import PRESETS, VisionTransformer, ViTConfig
from model.preprocessing import Resize, check_normalisation
from model.tokens import TokenLayout, check_affordable, grid_of, pair
from model.zoo import weights_files
from model.zoo.checkpoint_formats import IMAGENET, Layout, Recognised, Tensors, recognise, some

_IN_PYTHON = "in Python img_size=(height, width)"

# Where a stem's stages begin, and the further convolutions in them.
_FIRST_OF_STAGE = re.compile(r"embed\.stages\.\d+\.0\.weight")
_MORE_OF_STAGE = re.compile(r"embed\.stages\.\d+\.\d+\.0\.weight")


class DistilledTransformer(VisionTransformer):
    """DeiT: a distillation token beside the class token, which alone is classified.

    Touvron et al. 2021, "Training data-efficient image transformers & distillation through
    attention". The token is kept as a register, its position already added to it.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.tokens = replace(self.tokens, prefix=("cls", "dist"))


class TwoHeadedTransformer(DistilledTransformer):
    """DeiT as published: each of the two tokens has a head, and the mean of both counts."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.head_dist = nn.Linear(config.dim, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        cls, dist = self.norm(self.encode(images)[:, :2]).unbind(1)
        return (self.head(cls) + self.head_dist(dist)) / 2


def load_own_file(
    path: Path,
    heads: int | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    classes: Sequence[str] | None = None,
    **settings: Any,
) -> Bundle:
    """Open a file of weights; see `model.zoo.load`.

    `settings` are fields of ViTConfig that the file does not tell, such as `img_size` where
    positions are not learned, `activation` or `scale_by`.
    """
    held = weights_files.read_weights(path)
    found = recognise(path.name, held.tensors, held.beside)
    layout = found.layout
    net = _build(path.name, found, held.tensors, heads, settings)
    said = {"heads": heads, "mean": mean, "std": std, **settings}
    told = {name for name, value in said.items() if value is not None} | held.notes.keys()
    named = _classes(path.name, net.config.num_classes, layout, classes)
    return Bundle(
        name=path.stem,
        net=net,
        tokens=net.tokens,
        **_normalisation(net, layout, held.notes, mean, std),
        resize=Resize(net.tokens.image_size),
        classes=named,
        card=OwnFileCard(
            name=path.stem,
            title=f"{path.name} ({layout.title} layout)",
            parameters=sum(p.numel() for p in net.parameters()),
            sha256=_sha256(path),
            checkpoint_format=layout.title,
            assumed=[name for name in _untold(found.tensors) if name not in told]
            + (["classes"] if classes is None and named else []),
            left_out=some([*held.others, *found.left_out]),
        ),
    )


def _untold(tensors: Tensors) -> list[str]:
    """What tensors do not tell; unless somebody does, the layout's usual is taken."""
    size = [] if "positions.code" in tensors else ["img_size"]
    pool = [] if "norm_of_mean.weight" in tensors else ["pool"]
    return ["heads", "mean", "std", "activation", *pool, "scale_by", *size]


def _build(
    file: str, found: Recognised, names: Iterable[str], heads: int | None, settings: dict[str, Any]
) -> VisionTransformer:
    layout, tensors = found.layout, found.tensors
    kind = VisionTransformer
    if "dist_token" in tensors:
        kind = TwoHeadedTransformer if "head_dist.weight" in tensors else DistilledTransformer
    try:
        config, tensors = read_off(layout, tensors, heads, settings)
        if config.in_channels not in (1, 3):
            raise ValueError(
                f"It takes pictures of {config.in_channels} channels; a photo has 3, or 1 in grey."
            )
        check_affordable(config.tokens)
        with torch.device("meta"):
            sketch = kind(config)  # shapes without values, however large they are said to be
    except ModelRejected:
        raise
    except (ValueError, TypeError, RuntimeError, LookupError) as error:
        why = "Its shapes do not fit together."
        if isinstance(error, ValueError):
            why = str(error)
        elif isinstance(error, KeyError):  # a tensor that was looked for
            why = f"Its {layout.called(str(error.args[0]), names)} is missing."
        raise ModelRejected(
            f"{file} has {layout.title} layout, but makes no model. {why}"
        ) from error
    wanted, held = (
        {name: tuple(tensor.shape) for name, tensor in each.items()}
        for each in (sketch.state_dict(), tensors)
    )
    if wanted != held:
        name = min(n for n in wanted | held if wanted.get(n) != held.get(n))
        raise ModelRejected(
            f"{file} has {layout.title} layout, but its {layout.called(name, names)} is "
            f"{held.get(name, 'missing')} where {wanted.get(name, 'nothing')} is expected. It is "
            "not complete, or of another variant."
        )
    net = kind(config)
    net.load_state_dict(tensors)
    return net.eval()


# From shapes to a config: each step reads one thing off the tensors, and brings those that hold
# it into our form


def read_off(
    layout: Layout, tensors: Tensors, heads: int | None, settings: dict[str, Any]
) -> tuple[ViTConfig, Tensors]:
    """The config of tensors under our names, and the tensors as our model holds them.

    Raises ValueError, in a sentence, where they make no model.
    """
    tensors = dict(tensors)
    base = layout.config or _likeliest_preset(tensors)
    if "cls_token" in tensors and not tensors["cls_token"].numel():
        del tensors["cls_token"]  # so vit-pytorch writes a model that classifies the mean
        base = replace(base, cls_token=False, pool="mean")
    read = _embedding(tensors, settings)
    pair(read["patch_size"])  # from one pixel on
    if layout.channel_last:
        _channels_first(tensors, read["in_channels"], read["patch_size"])
    read |= _blocks(tensors, layout.interleaved)
    read |= _ending(tensors, base, settings.get("pool"))
    read |= _tokens(tensors, layout, base, read["patch_size"], settings)
    usual = base.heads if base.dim == read["dim"] else layout.heads
    read["heads"] = _usual_heads(read["dim"], usual) if heads is None else heads
    known = {field.name for field in fields(ViTConfig)}
    if unknown := sorted(set(settings) - known):
        raise ModelRejected(f"A model has no setting {', '.join(unknown)}. Leave it out.")
    return replace(base, **(read | settings)), tensors


def _likeliest_preset(tensors: Tensors) -> ViTConfig:
    """Among ours, for what shapes do not show: the order of the norms, epsilon, activation."""
    if "norm_embedding.weight" in tensors:
        return PRESETS["clip_b32"]
    if "norm_of_pooled.weight" not in tensors:
        return PRESETS["cs231n"]
    return PRESETS["vit" if "blocks.0.attention.query.bias" in tensors else "d2l"]


def _embedding(tensors: Tensors, settings: dict[str, Any]) -> dict[str, Any]:
    weight = tensors["embed.proj.weight"]
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
    """Flattened patches (p, p, C) as ours, (C, p, p): columns of the Linear, entries of the norm
    before it."""
    for name in ("embed.proj.weight", "embed.norm_pixels.weight", "embed.norm_pixels.bias"):
        if name in tensors:
            pixels = tensors[name].unflatten(-1, (patch, patch, channels))
            tensors[name] = pixels.movedim(-1, -3).flatten(-3)


def _blocks(tensors: Tensors, interleaved: bool) -> dict[str, Any]:
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
    inner, dim = tensors["blocks.0.attention.query.weight"].shape
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
    """LayerScale (Touvron et al. 2021), multiplied into the layer whose output it scales."""
    gamma = tensors.pop(name)
    layer = name.replace("attention.gamma", "attention.proj").replace("mlp.gamma", "mlp.fc2")
    for suffix, factor in ((".weight", gamma[:, None]), (".bias", gamma)):
        if layer + suffix in tensors:
            tensors[layer + suffix] = tensors[layer + suffix] * factor


def _ending(tensors: Tensors, base: ViTConfig, said: str | None) -> dict[str, Any]:
    """Pooling, norms, projection and head; `said` is the pooling, where somebody named it."""
    before = "norm.weight" in tensors
    pool = said or _usual_pool(tensors, base)
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


def _usual_pool(tensors: Tensors, base: ViTConfig) -> str:
    """What a layout's models usually classify; ValueError where they differ in that."""
    if "norm_of_mean.weight" in tensors:
        return "mean"
    if "cls_token" in tensors:  # two vectors side by side are for a head only
        return base.pool if base.pool != "cls_and_mean" or "head.weight" in tensors else "cls"
    if base.cls_token and "norm.weight" in tensors:
        raise ValueError(
            "It has no class token, and how it pools its tokens cannot be read off: say it (in "
            'Python pool="mean", for instance).'
        )
    return "mean"


def _tokens(
    tensors: Tensors, layout: Layout, base: ViTConfig, patch: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Class token, registers, positions, and from those the size of the image."""
    dim = len(tensors["embed.proj.weight"])
    if "dist_token" in tensors:
        tensors["registers"] = tensors.pop("dist_token")
    for name in ("cls_token", "registers"):
        if name in tensors:
            tensors[name] = tensors[name].reshape(1, -1, dim)
    cls = int("cls_token" in tensors)
    registers = tensors["registers"].shape[1] if "registers" in tensors else 0
    read = {"cls_token": bool(cls), "registers": registers}
    size = settings.get("img_size")
    said = None if size is None else _grid_said(size, patch)
    if layout.computed and "positions.code" not in tensors:
        tensors["positions.code"] = _computed(layout, said, dim)
    if "positions.code" in tensors:
        return read | _learned(tensors, dim, patch, cls, registers, said)
    read["img_size"] = size or _usual_image(base, patch)
    if "positions.fixed" in tensors:
        return read | _fixed(tensors, dim, cls + math.prod(grid_of(read["img_size"], patch)))
    if "positions" not in settings and base.positions == "learned":
        raise ValueError(
            'It holds no positions: in Python, say positions="sinusoidal" or positions="none".'
        )
    return read | {"positions": settings.get("positions", base.positions)}


def _grid_said(size: int | Sequence[int], patch: int) -> tuple[int, int]:
    """Rows and columns of patches in pictures of the size that somebody named."""
    height, width = pair(size)
    if height % patch or width % patch:
        raise ValueError(
            f"Its patches are {patch} x {patch} pixels, so the sides of its pictures are multiples "
            f"of {patch}, which {height} x {width} are not."
        )
    grid = height // patch, width // patch
    check_affordable(TokenLayout(grid, patch=(patch, patch)))  # before a table is computed for it
    return grid


def _computed(layout: Layout, said: tuple[int, int] | None, dim: int) -> Tensor:
    """A table that the file leaves out, since the size of the pictures determines it."""
    if said is None:
        raise ValueError(
            "Its positions are computed from the size of its pictures, which its file does not "
            f"hold: say their height and width in pixels ({_IN_PYTHON})."
        )
    return layout.computed(*said, dim)


def _learned(
    tensors: Tensors,
    dim: int,
    patch: int,
    cls: int,
    registers: int,
    said: tuple[int, int] | None,
) -> dict[str, Any]:
    """Ours are those of the class token and the patches; others know more or fewer.

    A class token without a position is believed only where the grid that was `said` shows it: as
    many positions as a square has patches are those of a class token and of a rectangle, too.
    """
    code = tensors["positions.code"].reshape(-1, dim)
    for others in (cls + registers, cls, 0 if said else cls):
        grid = _grid(len(code) - others, said)
        if grid is not None:
            break
    else:
        raise ValueError(_no_grid(len(code), cls, patch, said))
    if others < cls:
        code = torch.cat((code.new_zeros(1, dim), code))
    elif others > cls:
        tensors["registers"] = tensors["registers"] + code[cls:others]
        code = torch.cat((code[:cls], code[others:]))
    tensors["positions.code"] = code
    height, width = grid[0] * patch, grid[1] * patch
    return {
        "positions": "learned",
        "img_size": height if height == width else (height, width),
    }


def _grid(patches: int, said: tuple[int, int] | None) -> tuple[int, int] | None:
    """Rows and columns, if so many patches are a square, or the grid that was said."""
    side = math.isqrt(max(patches, 0))
    grid = said or (side, side)
    return grid if patches > 0 and math.prod(grid) == patches else None


def _no_grid(positions: int, cls: int, patch: int, said: tuple[int, int] | None) -> str:
    """Why so many positions are those of no picture, and what to say instead."""
    if said is not None:
        height, width = said[0] * patch, said[1] * patch
        side = math.isqrt(max(positions - cls, 0))
        square = side > 0 and side**2 == positions - cls
        such = f", such as {side * patch} x {side * patch}" if square else ""
        return (
            f"Pictures of {height} x {width} pixels have {math.prod(said)} patches of {patch} x "
            f"{patch}, and its {positions} positions are those of other pictures. Say another "
            f"height and width{such}, or none."
        )
    patches = positions - cls
    if patches < 1:
        return f"It has {positions} positions, and so none for a patch."
    rows = next(n for n in range(math.isqrt(patches), 0, -1) if patches % n == 0)
    such = f"such as {rows * patch} x {patches // rows * patch}"
    if cls and math.isqrt(positions) ** 2 == positions:
        side = math.isqrt(positions) * patch
        such += f", or {side} x {side} if its class token has no position"
    return (
        f"Its {positions} positions do not tell the shape of its pictures. Say their height and "
        f"width in pixels ({_IN_PYTHON}), {such}."
    )


def _fixed(tensors: Tensors, dim: int, length: int) -> dict[str, Any]:
    """A table that was computed, of any length: the sinusoidal one, or one of their own."""
    table = tensors.pop("positions.fixed").reshape(-1, dim)[:length]
    if len(table) < length:
        raise ValueError(
            f"It has {len(table)} positions for {length} patches: say the height and width of its "
            f"pictures ({_IN_PYTHON})."
        )
    if torch.allclose(table, sinusoidal_code(length, dim).float(), atol=1e-4):
        return {"positions": "sinusoidal"}
    tensors["positions.code"] = table
    return {"positions": "learned"}


def _usual_image(base: ViTConfig, patch: int) -> int:
    size = base.img_size
    return size if size % patch == 0 else 4 * patch


def _usual_heads(dim: int, usual: int | None) -> int:
    """`usual`, or heads of 64 dimensions; fewer where the width does not split into as many."""
    most = max(1, dim // 64) if usual is None else usual
    return next(heads for heads in range(most, 0, -1) if dim % heads == 0)


# What is no part of the net


def _normalisation(
    net: VisionTransformer,
    layout: Layout,
    notes: dict[str, str],
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
) -> dict[str, tuple[float, ...]]:
    """What is said, else what the file notes, else what the layout's models usually want."""
    channels = net.config.in_channels
    usual = IMAGENET if isinstance(net, DistilledTransformer) else layout.normalisation
    said = {}
    for key, value, default in (("mean", mean, usual[0]), ("std", std, usual[1])):
        if value is None and key in notes:
            value = notes[key].split(",")
        elif value is None:
            value = default if len(default) == channels else default[0]
        said[key] = [value] * channels if isinstance(value, int | float) else value
    return check_normalisation(**said, channels=channels)


def _classes(file: str, count: int, layout: Layout, said: Sequence[str] | None) -> list[str] | None:
    if said is not None and len(said) != count:
        raise ModelRejected(f"{file} tells {count} classes apart, not {len(said)}.")
    usual = list(said) if said is not None else layout.classes()
    return usual if usual and len(usual) == count else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
