"""Weights that others have trained, opened as our VisionTransformer.

Once a file's tensors have our names, whoever made it, its depth, width, patch, image and classes
are read off the shapes. What shapes do not tell (heads, normalisation) has a default, and may be
said.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model import weights
from model.bundle import Bundle, ModelRejected, Resize, normalisation
from model.layout_names import IMAGENET, Layout, Tensors, recognise
from model.patches import check_affordable, grid_of
from model.positions import sinusoidal_code
from model.vit import PRESETS, VisionTransformer, ViTConfig

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


def load(
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
    held = weights.read(path)
    layout, tensors = recognise(path.name, held.tensors)
    net = _build(path.name, layout, tensors, heads, settings)
    return Bundle(
        name=path.stem,
        net=net,
        tokens=net.tokens,
        **_normalisation(net, layout, held.notes, mean, std),
        resize=Resize(net.tokens.image_size),
        classes=_classes(path.name, net.config.num_classes, layout, classes),
        card={
            "name": path.stem,
            "title": f"{path.name} ({layout.title} layout)",
            "task": "classify",
            "layout": layout.title,
            "parameters": sum(p.numel() for p in net.parameters()),
            "sha256": _sha256(path),
        }
        | ({"heads_assumed": True} if heads is None else {}),
    )


def _build(
    file: str, layout: Layout, tensors: Tensors, heads: int | None, settings: dict[str, Any]
) -> VisionTransformer:
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
        why = str(error) if isinstance(error, ValueError) else "Its shapes do not fit together."
        raise ModelRejected(
            f"{file} has {layout.title} layout, but makes no model. {why}"
        ) from error
    wanted, found = (
        {name: tuple(tensor.shape) for name, tensor in held.items()}
        for held in (sketch.state_dict(), tensors)
    )
    if wanted != found:
        name = min(n for n in wanted | found if wanted.get(n) != found.get(n))
        raise ModelRejected(
            f"{file} has {layout.title} layout, but its {name} is {found.get(name, 'missing')} "
            f"where {wanted.get(name, 'nothing')} is expected. It is not complete, or of another "
            "variant."
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
    read = _embedding(tensors, settings)
    read |= _blocks(tensors, layout.interleaved)
    read |= _ending(tensors, base, layout.norm_last)
    read |= _tokens(tensors, base, read["patch_size"], settings)
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
    if "norm.weight" not in tensors:
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
                "Its patch cannot be read off: give the .json that lies beside it too, or say "
                "patch_size=, in pixels."
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
                return read | {"embed": "linear", "in_channels": channels, "patch_size": patch}
    raise ValueError(f"Its patches are not square: {tuple(weight.shape)} embeds them.")


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


def _ending(tensors: Tensors, base: ViTConfig, norm_last: bool) -> dict[str, Any]:
    """Pooling, norms, projection and head."""
    pool = base.pool if "cls_token" in tensors else "mean"
    if "norm_of_mean.weight" in tensors:
        pool = "mean"
        for suffix in ("weight", "bias"):
            tensors[f"norm.{suffix}"] = tensors.pop(f"norm_of_mean.{suffix}")
    elif pool == "mean" and "norm.weight" in tensors and not norm_last:
        raise ValueError("It has no class token, and how it pools its tokens cannot be read off.")
    if "projection.transposed" in tensors:
        tensors["projection.weight"] = tensors.pop("projection.transposed").mT
    with_norm = "norm_embedding.weight" in tensors
    return {
        "pool": pool,
        "norm_embedding": with_norm,
        "final_norm": "norm.weight" in tensors,
        "norm_eps": 1e-5 if with_norm else base.norm_eps,  # as CLIP, whose mark that norm is
        "projection": len(tensors.get("projection.weight", ())),
        "num_classes": len(tensors.get("head.weight", ())),
    }


def _tokens(
    tensors: Tensors, base: ViTConfig, patch: int, settings: dict[str, Any]
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
    if "positions.code" in tensors:
        return read | _learned(tensors, dim, patch, cls, registers, settings)
    read["img_size"] = settings.get("img_size") or _usual_image(base, patch)
    if "positions.fixed" in tensors:
        return read | _fixed(tensors, dim, cls + math.prod(grid_of(read["img_size"], patch)))
    if "positions" not in settings and base.positions == "learned":
        raise ValueError('It holds no positions: say positions="sinusoidal" or "none".')
    return read | {"positions": settings.get("positions", base.positions)}


def _learned(
    tensors: Tensors, dim: int, patch: int, cls: int, registers: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Ours are those of the class token and the patches; others know more or fewer."""
    code = tensors["positions.code"].reshape(-1, dim)
    for others in (cls + registers, cls, 0):
        grid = _grid(len(code) - others, patch, settings.get("img_size"))
        if grid is not None:
            break
    else:
        raise ValueError(
            f"Its {len(code)} positions are those of no square image: say img_size=(height, width)."
        )
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


def _grid(patches: int, patch: int, img_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Rows and columns, if so many patches are a square, or the image that was named."""
    side = math.isqrt(max(patches, 0))
    grid = (side, side) if img_size is None else grid_of(img_size, patch)
    return grid if patches > 0 and math.prod(grid) == patches else None


def _fixed(tensors: Tensors, dim: int, length: int) -> dict[str, Any]:
    """A table that was computed, of any length: the sinusoidal one, or one of their own."""
    table = tensors.pop("positions.fixed").reshape(-1, dim)[:length]
    if len(table) < length:
        raise ValueError(f"It has {len(table)} positions for {length} patches: say img_size=.")
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
    return normalisation(**said, channels=channels)


def _classes(file: str, count: int, layout: Layout, said: Sequence[str] | None) -> list[str] | None:
    if said is not None and len(said) != count:
        raise ModelRejected(f"{file} tells {count} classes apart, not {len(said)}.")
    usual = list(said) if said is not None else layout.classes()
    return usual if usual and len(usual) == count else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
