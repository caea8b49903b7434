"""LoRA adapters: small changes of some layers, merged into the weights of their base.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". A layer's weight W becomes
W + scale · B A, where A is (rank, in) and B is (out, rank). Names and settings are those of the
package peft, which is not needed: nothing but tensors and numbers is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.errors import ModelRejected
from model.zoo.checkpoint_format import Tensors
from model.zoo.hubs.config_numbers import read_json
from model.zoo.known_formats import FORMATS, some

CONFIG = "adapter_config.json"
WEIGHTS = re.compile(r"adapter_model\.(safetensors|bin)")
MAX_RANK = 1_024  # adapters have 4 to 256
MAX_SCALE = 1_000.0
MERGE = "Merge them with peft (model.merge_and_unload()), and save that model's state_dict()."

# peft's names, with or without the adapter's own, such as "default".
_LOW_RANK = re.compile(
    r"(?P<layer>.+)\.lora_(?:(?P<part>A|B)(\.(?P<adapter>\w+))?\.weight"
    r"|(?P<other>magnitude_vector|bias)(\.(?P<named>(?!weight)\w+))?(\.weight)?)"
)
_SAVED = re.compile(
    r"(?P<layer>.+)\.modules_to_save(\.(?P<adapter>(?!weight|bias|\d)\w+))?\.(?P<rest>.+)"
)
_ROOT = "base_model.model."
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq")
_OTHER_KINDS = re.compile(r"lora_|\.(ada|hada|lokr|ia3|vera|oft|boft|fourierft|randlora)_")


@dataclass(frozen=True)
class AdapterConfig:
    """What adapter_config.json says of the scale: alpha / rank, or alpha / √rank (rank-stabilised).

    Args:
        alpha: The numerator.
        ranks: Pattern of layers' names -> their own rank.
        alphas: Pattern of layers' names -> their own alpha.
        by_root: Whether the rank's square root divides.
        transposed: Whether the base stores weights as (in, out).
        base: The base's name, as the file has it. It is shown, and never opened.
    """

    alpha: float
    alphas: dict[str, float] = field(default_factory=dict)
    by_root: bool = False
    transposed: bool = False
    base: str = ""

    def scale(self, layer: str, rank: int) -> float:
        """Return the factor of a layer's change."""
        own = (a for name, a in self.alphas.items() if layer == name or layer.endswith(f".{name}"))
        alpha = next(own, self.alpha)
        return alpha / (math.sqrt(rank) if self.by_root else rank)


def read_adapter_config(path: Path) -> AdapterConfig:
    """Read adapter_config.json, its numbers bounded.

    Raises:
        ModelRejected: It is damaged, or its adapters are of a kind that is not merged here.
    """
    values = read_json(path)
    kind = values.get("peft_type", "LORA")
    if kind != "LORA":
        raise ModelRejected(
            f"{path.name} describes adapters of kind “{_short(kind)}”, and LoRA alone is merged "
            f"here. {MERGE}"
        )
    alphas = values.get("alpha_pattern") or {}
    unread = [key for key in ("layer_replication", "alora_invocation_tokens") if values.get(key)]
    if str(values.get("init_lora_weights")).lower().startswith(_CHANGES_BASE):
        unread.append("init_lora_weights")  # the base that it was trained upon is another one
    if not all(re.fullmatch(r"[\w.]+", str(name)) for name in alphas):
        unread.append("alpha_pattern")
    try:
        config = AdapterConfig(
            alpha=_number(values.get("lora_alpha", 8)),
            alphas={str(name): _number(alpha) for name, alpha in alphas.items()},
            by_root=values.get("use_rslora") is True,
            transposed=values.get("fan_in_fan_out") is True,
            base=_short(values.get("base_model_name_or_path") or ""),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelRejected(
            f"{path.name} does not say by which factor its adapters are scaled. Save it again."
        ) from error
    if unread:
        raise ModelRejected(f"{path.name} uses {', '.join(unread)}, not merged here. {MERGE}")
    return config


def has_adapters(names: Iterable[str]) -> bool:
    """Say whether some tensors are LoRA adapters under peft's names.

    >>> has_adapters(["blocks.0.attn.qkv.lora_A.weight"]), has_adapters(["blocks.0.norm1.bias"])
    (True, False)
    """
    return any(map(_LOW_RANK.fullmatch, names))


def holds_base(base: Tensors, adapters: Tensors) -> bool:
    """Say whether the layers that adapters change lie beside them."""
    layers = [found["layer"] for name in adapters if (found := _LOW_RANK.fullmatch(name))]
    return any(f"{layer}.weight" in base for layer in layers)


def is_of_adapters(name: str) -> bool:
    """Say whether a file is one of the two that peft writes.

    >>> is_of_adapters("adapter_model.safetensors"), is_of_adapters("model.safetensors")
    (True, False)
    """
    return name == CONFIG or bool(WEIGHTS.fullmatch(name))


def split_adapters(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """Part the state dict of a whole model of peft into its base and its adapters.

    Both lose what peft puts into names; the adapters keep peft's names of their parts.
    """
    base: Tensors = {}
    adapters: Tensors = {}
    for name, tensor in tensors.items():
        bare = _without_root(name)
        if _LOW_RANK.fullmatch(bare) or ".modules_to_save." in bare:
            adapters[bare] = tensor
        else:
            base[re.sub(r"\.(base_layer|original_module)(?=\.)", "", bare)] = tensor
    return base, adapters


def merge_adapters(
    file: str, base: Tensors, adapters: Tensors, config: AdapterConfig
) -> tuple[Tensors, str]:
    """Merge adapters into the tensors of their base.

    Args:
        file: The adapters' file, for messages.
        base: The tensors of the base, under any names that a file has for them.
        adapters: Its tensors, under peft's names.
        config: How the changes are scaled.

    Returns:
        The base's tensors, changed, and a sentence about what was merged.

    Raises:
        ModelRejected: The adapters are those of another model, or of a kind that is not merged.

    Example:
        >>> base = {"fc.weight": torch.zeros(2, 3)}
        >>> low_rank = {"fc.lora_A.weight": torch.ones(1, 3), "fc.lora_B.weight": torch.ones(2, 1)}
        >>> merged, note = merge_adapters("mine", base, low_rank, AdapterConfig(alpha=2.0))
        >>> merged["fc.weight"][0].tolist(), note
        ([2.0, 2.0, 2.0], 'LoRA adapters of rank 1 are merged into 1 of its layers.')
    """
    layers, whole = _sort(file, adapters)
    names = _Names(base)
    merged = dict(base)
    ranks: set[int] = set()
    for layer, parts in layers.items():
        name = names.find(f"{layer}.weight")
        if name is None:
            raise ModelRejected(
                f"{file} changes {layer[:100]}, which its base does not have. Give the base that "
                f"it was trained upon{_called(config)}."
            )
        merged[name] = _changed(file, layer, merged[name], parts, config)
        ranks.add(len(parts["A"]))
    for name, tensor in whole.items():
        merged[names.find(name) or name] = tensor
    of = " and ".join(map(str, sorted(ranks)[:3]))
    return merged, f"LoRA adapters of rank {of} are merged into {len(layers)} of its layers."


def say_base_is_missing(file: str, base: str) -> str:
    """Say that adapters need their base, and how to give it."""
    named = f", {base}," if base else ""
    return (
        f"{file} holds LoRA adapters, not a whole model. Give their base{named} too: on the page "
        'its files with these, in Python base="hf/ORG/NAME" or a path. Or merge them with peft: '
        "model.merge_and_unload()."
    )


def _sort(file: str, adapters: Tensors) -> tuple[dict[str, dict[str, Tensor]], Tensors]:
    """Part adapters into layers' changes by part, and tensors that replace the base's."""
    layers: dict[str, dict[str, Tensor]] = {}
    whole: Tensors = {}
    called: set[str] = set()
    for name, tensor in adapters.items():
        bare = _without_root(name)
        if found := _LOW_RANK.fullmatch(bare):
            layers.setdefault(found["layer"], {})[found["part"] or found["other"]] = tensor
            called.add(found["adapter"] or found["named"] or "")
        elif found := _SAVED.fullmatch(bare):
            whole[f"{found['layer']}.{found['rest']}"] = tensor
            called.add(found["adapter"] or "")
        elif _OTHER_KINDS.search(bare):
            raise ModelRejected(
                f"{file} holds {some([bare])}: adapters that are not merged here. {MERGE}"
            )
        else:
            whole[bare] = tensor
    if len(called - {""}) > 1:
        raise ModelRejected(f"{file} holds {len(called)} adapters: {some(sorted(called))}. {MERGE}")
    if halves := [name for name, parts in layers.items() if not {"A", "B"} <= set(parts)]:
        raise ModelRejected(
            f"{file} lacks one half of the change of {some(halves)}. Save it again."
        )
    if odd := [name for name, parts in layers.items() if "bias" in parts]:
        raise ModelRejected(f"{file} changes biases, as of {some(odd)}, not merged here. {MERGE}")
    if not layers:
        raise ModelRejected(f"{file} holds no LoRA adapters under peft's names. {MERGE}")
    return layers, whole


def _changed(
    file: str, layer: str, weight: Tensor, parts: dict[str, Tensor], config: AdapterConfig
) -> Tensor:
    """Return a layer's weight with its change; ModelRejected where the shapes do not fit."""
    down, up = parts["A"].float(), parts["B"].float()
    flat = down.flatten(1) if down.ndim > 1 else down
    fits = down.ndim > 1 < up.ndim and up.flatten(1).shape[1:] == flat.shape[:1]
    fits = fits and 0 < len(flat) <= MAX_RANK
    out, inner = len(up), math.prod(flat.shape[1:])
    wanted = (inner, out) if config.transposed else (out, inner)
    if not fits or weight.numel() != out * inner or weight.flatten(1).shape != wanted:
        raise ModelRejected(
            f"{file} changes {layer[:100]} by tensors of shapes {tuple(up.shape)[:6]} and "
            f"{tuple(down.shape)[:6]}, and its base holds {tuple(weight.shape)[:6]} there: they "
            "belong to another model."
        )
    change = up.flatten(1) @ flat * config.scale(layer, len(flat))
    change = change.T if config.transposed else change
    changed = weight.float() + change.reshape(weight.shape)
    magnitude = parts.get("magnitude_vector")
    if magnitude is None:
        return changed
    # DoRA, Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation": the direction of each
    # row is the changed weight's, its length is the magnitude.
    if weight.ndim != 2 or config.transposed or magnitude.numel() != out:
        raise ModelRejected(
            f"{file} holds a magnitude for {layer[:100]} that does not fit. {MERGE}"
        )
    return changed * (magnitude.reshape(-1, 1) / changed.norm(dim=1, keepdim=True))


class _Names:
    """Finds a base's tensor by the name that adapters have for it.

    A model in memory may have other names than its file: a prefix more or less, or those that its
    library has renamed since. The tables of formats know both.
    """

    def __init__(self, base: Tensors) -> None:
        self.base = base
        self.prefixes = sorted({name.partition(".")[0] + "." for name in base})
        self.ours: dict[str, str] = {}
        shapes = {name: torch.empty(0) for name in base}
        known = [each.rename(shapes)[0] for each in FORMATS]
        best = max(range(len(FORMATS)), key=lambda n: len(known[n]))
        self.format = FORMATS[best]
        for name in base:
            if ours := self._translate(name):
                self.ours.setdefault(ours, name)

    def find(self, name: str) -> str | None:
        """Return the base's name; None where it has no such tensor."""
        rest = name.partition(".")[2]
        tried = [name, rest, *(prefix + name for prefix in self.prefixes)]
        if found := next((each for each in tried if each in self.base), None):
            return found
        ours = self._translate(name)
        return self.ours.get(ours) if ours else None

    def _translate(self, name: str) -> str | None:
        renamed, _ = self.format.rename({name: torch.empty(0)})
        return next(iter(renamed), None)


def _without_root(name: str) -> str:
    return name.removeprefix(_ROOT)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not abs(value) <= MAX_SCALE:
        raise ValueError("no factor of an adapter")
    return float(value)


def _short(value: Any) -> str:
    return "".join(c for c in str(value)[:200] if c.isprintable())[:100]


def _called(config: AdapterConfig) -> str:
    return f", {config.base}" if config.base else ""
