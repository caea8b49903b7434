"""One model's repository on the Hugging Face hub: its files, and how it prepares a photo."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.errors import HeadRejected, ModelNotFound, ModelRejected
from model.preprocessing import Resize
from model.tokens import MAX_SIDE, pair
from model.zoo.hubs.config_numbers import read_json
from model.zoo.hubs.fetching import import_library
from model.zoo.hubs.hub_bundle import register_names
from model.zoo.hubs.hub_files import (
    find_file,
    find_files,
    find_first,
    find_those_there,
)

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
PROCESSORS = "processor_config.json"  # of a model of images and text, since transformers 5
WEIGHTS = re.compile(
    r"(pytorch_)?model(?P<variant>\.(fp16|bf16|fp32))?(-\d{5}-of-\d{5})?\.(safetensors|bin)"
)
MAX_SHARDS = 100
_WHOLE_OR_INDEX = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
# Weights under any name, but not what a training keeps beside them.
_MAY_BE_WEIGHTS = re.compile(
    r"(?!(optimizer|scheduler|scaler|rng_state\w*|training_args)\.).+"
    r"\.(safetensors|pt|pth|bin|ckpt|tar|pkl)"
)
PREFIX: dict[str, tuple[str, ...]] = {  # tokens before the patches, registers apart
    "vit": ("cls",),
    "vit_msn": ("cls",),
    "vit_mae": ("cls",),
    "deit": ("cls", "dist"),
    "beit": ("cls",),
    "data2vec-vision": ("cls",),
    "dinov2": ("cls",),
    "dinov2_with_registers": ("cls",),
    "dinov3_vit": ("cls",),
    "clip_vision_model": ("cls",),
    "siglip_vision_model": (),
    "ijepa": (),
    "swin": (),
    "swinv2": (),
}
_ANY_SIZE = ("dinov2", "dinov2_with_registers", "dinov3_vit", "swin", "swinv2")
PILLOW_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Repository:
    """The files of one model, which transformers' own classes open.

    They get the folder of the hub's cache, never the name: a name may be a folder's, too.
    """

    name: str  # "ORG/NAME"

    @property
    def full_name(self) -> str:
        """The name by which `model.zoo.load` opens it."""
        return f"hf/{self.name}"

    def file(self, file: str) -> Path | None:
        """Find one of the files; None where there is no such file."""
        return find_file(self.name, file, self.full_name)

    def optional(self, file: str) -> Path | None:
        """Find a file that few have; None, too, where there is no network to ask."""
        found = find_those_there(self.name, (CONFIG, file), self.full_name)
        return next((path for path in found if path.name == file), None)

    def need(self, file: str) -> Path:
        """Find a file without which the model cannot be opened; ModelNotFound without it."""
        found = self.file(file)
        if found is None:
            raise ModelNotFound(f"{self.full_name} has no {file}. Choose another model.")
        return found

    def open(self, auto: Any, folder: Path, file: str, **options: Any) -> Any:
        """Open what a folder holds by `auto.from_pretrained`; `file` is for messages."""
        try:
            return auto.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, **options
            )
        except Exception as error:  # libraries raise nearly anything on a damaged file
            raise ModelRejected(
                f"{file} of {self.full_name} cannot be used ({type(error).__name__}). It may be "
                "damaged or missing, or too new for the installed library: update that first."
            ) from error

    def config(self) -> Any:
        """Read the config, its numbers bounded."""
        transformers = import_library("transformers")
        values = read_json(self.need(CONFIG))
        kind = values.get("model_type")
        if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
            shown = "".join(c for c in str(kind) if c.isprintable())[:60]
            raise ModelRejected(
                f"{CONFIG} of {self.full_name} names the kind of model “{shown}”, which the "
                "installed transformers does not have. Update that, or open the file of weights "
                "alone."
            )
        return self._open_json(transformers.AutoConfig, CONFIG, {CONFIG: values})

    def _open_json(self, auto: Any, file: str, contents: dict[str, Any]) -> Any:
        """Open texts that have been read and checked, in a folder of their own."""
        with tempfile.TemporaryDirectory() as folder:
            for name, values in contents.items():
                (Path(folder) / name).write_text(json.dumps(values), encoding="utf-8")
            return self.open(auto, Path(folder), file)

    def has_processor(self) -> bool:
        """Whether the repository says how a photo is prepared."""
        return bool(self._preparing())

    def _preparing(self) -> dict[str, Any]:
        """Read how a photo is prepared; nothing where no file says so."""
        path = self.file(PROCESSOR)
        if path is None and (whole := self.optional(PROCESSORS)):
            return image_part(read_json(whole))
        return read_json(path) if path else {}

    def image_processor(self, config: Any) -> Any:
        """Read how a photo is prepared; ViT's own way where the repository does not say."""
        values = self._preparing()
        if not values:
            size = getattr(getattr(config, "vision_config", None) or config, "image_size", 224)
            height, width = pair(size)
            size = {"height": height, "width": width}
            return import_library("transformers").ViTImageProcessor(size=size)
        auto = import_library("transformers").AutoImageProcessor
        contents = {PROCESSOR: values, CONFIG: {"model_type": config.model_type}}
        return self._open_json(auto, PROCESSOR, contents)

    def tokenizer(self) -> Any:
        """Read the tokenizer."""
        found = find_those_there(self.name, _TOKENIZER, self.full_name)
        if not found:
            raise ModelNotFound(f"{self.full_name} has no tokenizer. Choose another model.")
        auto = import_library("transformers").AutoTokenizer
        return self.open(auto, found[0].parent, "tokenizer.json")

    def trained(self, auto: Any, config: Any) -> tuple[nn.Module, list[str]]:
        """Load the model with its weights; ModelRejected where some are missing.

        Returns it, and the names of tensors that have no place in it.
        """
        options: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
        options["ignore_mismatched_sizes"] = True  # they are reported, and refused below
        # Threads would hold half-precision copies of many tensors at once.
        os.environ.setdefault("HF_DEACTIVATE_ASYNC_LOAD", "1")
        net, report = self.load_weights(auto, config, **options)
        if further := _further_layers(net, report["unexpected_keys"]):
            raise ModelRejected(
                f"The weights of {self.full_name} are those of a larger model than its config: "
                f"{further[0][:100]} has no place in it. Fetch both again."
            )
        missing = [key for key in report["missing_keys"] if "pooler" not in key]
        missing += [str(name) for name, *_ in report["mismatched_keys"]]
        if missing:
            encoder = f"{net.base_model_prefix}."
            inside = [name for name in missing if name.startswith(encoder)]
            whole = type(net).__name__.endswith("Model")
            raise (ModelRejected if inside or whole else HeadRejected)(
                f"The weights of {self.full_name} are not those of its config: "
                f"{len(missing)} are missing or of another shape. "
                "Choose another model."
            )
        return net, sorted(map(str, report["unexpected_keys"]))

    def load_weights(self, auto: Any, config: Any, **options: Any) -> Any:
        """Fetch the weights, whole or in parts, into a model."""
        folder = self.weights().parent
        return self.open(auto, folder, "The weights", config=config, **options)

    def weights(self) -> Path:
        """Fetch the weights; return their file, or the first of several."""
        found = find_first(self.name, _WHOLE_OR_INDEX, self.full_name)
        if found is None:
            raise ModelNotFound(
                f"{self.full_name} has neither model.safetensors nor pytorch_model.bin. "
                "Choose another model."
            )
        if found.suffix != ".json":
            return found
        parts = find_files(self.name, _parts(found), self.full_name)
        return next(part for part in parts if part is not None)


def may_be_weights(name: str) -> bool:
    """Say whether a file's name may be that of a model's weights.

    >>> may_be_weights("best.pt"), may_be_weights("optimizer.pt"), may_be_weights("log.txt")
    (True, False, False)
    """
    return bool(_MAY_BE_WEIGHTS.fullmatch(name)) and name not in ("spiece.model", "vocab.bin")


def _further_layers(net: nn.Module, unexpected: Iterable[str]) -> list[str]:
    """List tensors that are a model's own but for the number of their layer.

    Others without a place belong to a head or a second tower, and are left out.
    """
    own = {re.sub(r"\d+", "*", name) for name in net.state_dict()}
    return [name for name in unexpected if re.sub(r"\d+", "*", name) in own]


def _parts(index: Path) -> list[str]:
    """List the files that an index of weights names. Raises ModelRejected."""
    try:
        names = sorted(
            {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelRejected(f"{index.name} names no files of weights. Fetch it again.") from error
    if len(names) > MAX_SHARDS or not all(map(WEIGHTS.fullmatch, names)):
        raise ModelRejected(f"{index.name} names other files than parts of a model.")
    return names


def prefix_with_registers(prefix: tuple[str, ...], config: Any) -> tuple[str, ...]:
    """Add the register tokens that a config names to the tokens before the patches."""
    return prefix + register_names(getattr(config, "num_register_tokens", 0))


def image_part(processor: dict[str, Any]) -> dict[str, Any]:
    """Return what a processor of images and text says about images."""
    part = processor.get("image_processor")
    return part if isinstance(part, dict) else {}


def mean_and_std(processor: Any, channels: int = 3) -> tuple[Sequence[float], Sequence[float]]:
    """Read how an image processor normalises values from 0 to 1, for so many channels.

    Where it knows other channels, each gets the mean of the values that it has.
    """
    mean, std = (0.0,) * channels, (1.0,) * channels
    if getattr(processor, "do_normalize", False) and processor.image_mean:
        mean = _for_channels(processor.image_mean, channels)
        std = _for_channels(processor.image_std, channels)
    white = white_of(vars(processor) if hasattr(processor, "__dict__") else {})
    return tuple(value / white for value in mean), tuple(value / white for value in std)


def white_of(processor: dict[str, Any]) -> float:
    """Return what an image processor makes of white, the byte 255, before it normalises.

    >>> white_of({"do_rescale": False}), white_of({"rescale_factor": 1 / 255}), white_of({})
    (255.0, 1.0, 1.0)
    """
    if not processor.get("do_rescale", True):
        return 255.0
    factor = processor.get("rescale_factor")
    white = 255 * factor if isinstance(factor, int | float) and factor > 0 else 1.0
    return 1.0 if abs(white - 1) < 1e-6 else white


def _for_channels(values: Any, channels: int) -> tuple[float, ...]:
    values = tuple(values) if isinstance(values, list | tuple) else (values,)
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def resize_rule(name: str, config: Any, processor: Any) -> Resize:
    """Read how an image processor resizes: the sides or the shorter side, then perhaps a crop."""
    rule = getattr(processor, "size", None) or {}
    resized: Any = rule.get("shortest_edge") or (rule.get("height"), rule.get("width"))
    if resized == (None, None):
        resized = None
    if config.model_type not in _ANY_SIZE and getattr(config, "image_size", None):
        size = pair(config.image_size)
    elif getattr(processor, "do_center_crop", False):
        size = (processor.crop_size["height"], processor.crop_size["width"])
    else:
        size = pair(resized or 224)
    if max(size) > MAX_SIDE:
        raise ModelRejected(
            f"{name} takes pictures of {max(size):,} pixels a side, where {MAX_SIDE:,} are the "
            "limit. Choose another model."
        )
    filter = PILLOW_FILTERS.get(int(getattr(processor, "resample", None) or 3), "bicubic")
    return Resize(size, resized, filter)
