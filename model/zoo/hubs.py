"""Models that others have published: torchvision's, timm's, and those of the Hugging Face hub.

Each is built by its own library and left as it is; only its preprocessing, class names and
tokens are read off. timm and transformers are optional and imported when a name asks for them.
Weights are fetched once, by the library that knows them, and kept in its own cache.
"""

from __future__ import annotations

import difflib
import http.client
import importlib
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from model.bundle import Bundle, with_fixed_seed
from model.captioning.hub_captioners import HubCaptionBundle, HubCaptioner, Wording, numbering_of
from model.card import Card, Normalisation
from model.errors import ModelNotFound, ModelRejected
from model.nets import torchvision_cpu
from model.preprocessing import Resize
from model.tokens import TokenLayout, pair
from model.zoo.checkpoints import names

MAX_PARAMETERS = 700_000_000  # 2.8 GB in float32; ViT-H/14 has 632 million

Loaded = TypeVar("Loaded")


def load_from_hub(hub: str, name: str, weights: str = "trained") -> Bundle:
    """The model `name` of a hub ("torchvision", "timm" or "hf"); see `model.zoo.load`."""
    openers = {"torchvision": _torchvision, "timm": _timm, "hf": _hugging_face}
    return openers[hub](name, weights == "trained")


# torchvision


def _torchvision(name: str, trained: bool) -> Bundle:
    """`name` may carry the name of its weights: "vit_b_16.IMAGENET1K_SWAG_E2E_V1"."""
    models = _package("torchvision").models
    architecture, _, tag = name.partition(".")
    known = [n for n in models.list_models(module=models) if re.match(r"vit_|swin_", n)]
    if architecture not in known:
        raise ModelNotFound(_no_such("torchvision", architecture, known))
    entries = models.get_model_weights(architecture)
    if tag and tag not in entries.__members__:
        raise ModelNotFound(_no_such(f"torchvision/{architecture}", tag, entries.__members__))
    entry = entries[tag or "DEFAULT"]
    rule = entry.transforms()
    size = pair(rule.crop_size * 2 if len(rule.crop_size) == 1 else rule.crop_size)
    sized = {"image_size": size[0]} if architecture.startswith("vit_") else {}

    def make() -> nn.Module:
        return models.get_model(architecture, **sized)

    _check(f"torchvision/{name}", make)
    weights = _torchvision_weights(f"torchvision/{name}", entry) if trained else None
    net = with_fixed_seed(make)
    if weights:
        net.load_state_dict(weights)
    is_vit = isinstance(net, models.VisionTransformer)
    patch = pair(net.patch_size if is_vit else net.features[0][0].kernel_size)
    return _bundle(
        f"torchvision/{name}",
        net,
        trained,
        tokens=_layout(size, patch, ("cls",) if is_vit else ()),
        resize=Resize(size, rule.resize_size[0], rule.interpolation.value),
        mean=rule.mean,
        std=rule.std,
        classes=entry.meta["categories"],
    )


def _torchvision_weights(name: str, entry: Any) -> dict[str, Tensor]:
    file = urllib.parse.urlsplit(entry.url).path.rpartition("/")[2]
    try:
        return entry.get_state_dict(
            progress=True, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, http.client.HTTPException) as error:
        raise ModelNotFound(_not_fetched(name, file)) from error
    except Exception as error:
        raise ModelRejected(
            f"The file {file} with the weights of {name} is damaged. Delete it from torch's "
            "cache of downloads and load the model again."
        ) from error


# timm

_TIMM_KINDS = (  # classes whose tokens are those of `_timm_prefix`, then the patches
    "VisionTransformer",
    "VisionTransformerDistilled",
    "VisionTransformerRelPos",
    "Beit",
    "Eva",
    "SwinTransformer",
    "SwinTransformerV2",
    "SwinTransformerV2Cr",
)
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


def _timm(name: str, trained: bool) -> Bundle:
    """`name` may carry the name of its weights: "vit_tiny_patch16_224.augreg_in21k"."""
    timm = _package("timm")
    full = f"timm/{name}"
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ModelNotFound(_no_such("timm", architecture, timm.list_models()))
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelNotFound(_no_such(f"timm/{architecture}", tag, tags))
    if trained and not tags:
        raise ModelNotFound(
            f"timm publishes no weights for {architecture}. "
            'Choose another model, or weights="random" for this one untrained.'
        )

    def make() -> nn.Module:
        return timm.create_model(name)

    _check(full, make, _TIMM_KINDS)
    net = _timm_trained(timm, name) if trained else with_fixed_seed(make)
    rule = timm.data.resolve_data_config(pretrained_cfg=net.pretrained_cfg, model=net)
    size = tuple(rule["input_size"][1:])
    rows, cols = net.patch_embed.grid_size
    return _bundle(
        full,
        net,
        trained,
        tokens=_layout(size, (size[0] // rows, size[1] // cols), _timm_prefix(net)),
        resize=_timm_resize(rule, size),
        mean=rule["mean"],
        std=rule["std"],
        classes=_timm_classes(timm, net),
        licence=net.pretrained_cfg.get("license"),
    )


def _timm_trained(timm: ModuleType, name: str) -> nn.Module:
    config = timm.get_pretrained_cfg(name)
    if not config.hf_hub_id:
        file = urllib.parse.urlsplit(config.url).path.rpartition("/")[2]
        return _fetched(
            lambda **_: timm.create_model(name, pretrained=True), f"timm/{name}", file, config.url
        )
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    files = (config.hf_hub_filename,) if config.hf_hub_filename else _TIMM_FILES

    def download(local_files_only: bool) -> str:
        *first, last = files
        for file in first:
            with suppress(EntryNotFoundError):
                return hf_hub_download(config.hf_hub_id, file, local_files_only=local_files_only)
        return hf_hub_download(config.hf_hub_id, last, local_files_only=local_files_only)

    def open_file(local_files_only: bool) -> nn.Module:
        source = {"file": download(local_files_only), "custom_load": False}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)

    return _fetched(
        open_file, f"timm/{name}", f"{files[0]} of {config.hf_hub_id}", constants.ENDPOINT
    )


def _timm_resize(rule: dict[str, Any], size: tuple[int, int]) -> Resize:
    sides = tuple(math.floor(side / rule["crop_pct"]) for side in size)
    return Resize(
        size, sides if rule["crop_mode"] == "squash" else min(sides), rule["interpolation"]
    )


def _timm_prefix(net: nn.Module) -> tuple[str, ...]:
    named = [name for name in ("cls", "dist") if getattr(net, f"{name}_token", None) is not None]
    registers = getattr(net, "reg_token", None)
    return (*named, *_registers(0 if registers is None else registers.shape[1]))


def _timm_classes(timm: ModuleType, net: nn.Module) -> list[str] | None:
    subset = timm.data.infer_imagenet_subset(net)
    if not subset or not net.num_classes:
        return None
    return _first_words(timm.data.ImageNetInfo(subset).label_descriptions())


# Hugging Face

_HF_PREFIX: dict[str, tuple[str, ...]] = {  # tokens before the patches, registers apart
    "vit": ("cls",),
    "vit_msn": ("cls",),
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
_HF_ANY_SIZE = ("dinov2", "dinov2_with_registers", "dinov3_vit", "swin", "swinv2")
_PILLOW_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


class Classifier(nn.Module):
    """A transformers model that takes and returns plain tensors.

    images (B, 3, H, W) -> logits (B, classes); without a head, the class token, or the mean of
    all tokens where there is none, (B, D).
    """

    def __init__(self, model: nn.Module, cls_token: bool) -> None:
        super().__init__()
        self.model = model
        self.cls_token = cls_token

    def forward(self, images: Tensor) -> Tensor:
        out = self.model(pixel_values=images)
        if "logits" in out:
            return out.logits
        tokens = out.last_hidden_state
        return tokens[:, 0] if self.cls_token else tokens.mean(dim=1)


def _hugging_face(name: str, trained: bool) -> Bundle:
    transformers = _package("transformers")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        raise ModelNotFound(
            f"“hf/{name}” is no model's name. Write it with its owner: hf/ORG/NAME, "
            "such as hf/facebook/dino-vits8."
        )
    full = f"hf/{name}"

    def fetch(auto: Any, file: str, **options: Any) -> Any:
        from huggingface_hub import constants

        return _fetched(
            lambda **local: auto.from_pretrained(name, **options, **local),
            full,
            f"{file} of {name}",
            constants.ENDPOINT,
        )

    config = fetch(transformers.AutoConfig, "config.json")
    if kind := _captioner_kind(config):
        return _hf_captioner(full, getattr(transformers, kind), config, fetch, trained)
    auto = transformers.AutoModel
    if any("ForImageClassification" in kind for kind in config.architectures or ()):
        auto = transformers.AutoModelForImageClassification
    elif hasattr(config, "vision_config"):
        config = config.vision_config  # the image tower of a model of images and text
    if config.model_type not in _HF_PREFIX:
        raise ModelRejected(
            f"{full} is a model of kind “{config.model_type}”, whose tokens Saccade does not know. "
            f"Known are {', '.join(_HF_PREFIX)}."
        )
    processor = fetch(transformers.AutoImageProcessor, "preprocessor_config.json")
    if config.model_type == "siglip_vision_model":
        config.vision_use_head = False  # the mean of the patches is taken, not its pooling head

    def make() -> nn.Module:
        return auto.from_config(config)

    _check(full, make)
    net = _hf_weights(full, auto, config, fetch) if trained else with_fixed_seed(make)
    resize = _hf_resize(full, config, processor)
    prefix = _HF_PREFIX[config.model_type] + _registers(getattr(config, "num_register_tokens", 0))
    labels = [config.id2label[number] for number in sorted(config.id2label)]
    has_head = auto is not transformers.AutoModel and not labels[0].startswith("LABEL_")
    return _bundle(
        full,
        Classifier(net, "cls" in prefix),
        trained,
        tokens=_layout(resize.size, pair(config.patch_size), prefix),
        resize=resize,
        **_hf_normalisation(processor),
        classes=_first_words(labels) if has_head else None,
    )


def _captioner_kind(config: Any) -> str | None:
    """The class that writes captions with this config, if one does."""
    if config.model_type == "vision-encoder-decoder":
        return "VisionEncoderDecoderModel"
    blip = "BlipForConditionalGeneration"
    return blip if config.model_type == "blip" and blip in (config.architectures or ()) else None


def _hf_captioner(
    name: str, kind: Any, config: Any, fetch: Callable[..., Any], trained: bool
) -> Bundle:
    transformers = _package("transformers")
    seen = getattr(config, "vision_config", None) or config.encoder
    prefixes = _HF_PREFIX | {"blip_vision_model": ("cls",)}
    if seen.model_type not in prefixes:
        raise ModelRejected(
            f"{name} looks through an encoder of kind “{seen.model_type}”, whose tokens Saccade "
            f"does not know. Known are {', '.join(prefixes)}."
        )
    processor = fetch(transformers.AutoImageProcessor, "preprocessor_config.json")
    tokenizer = fetch(transformers.AutoTokenizer, "tokenizer.json")

    def make() -> nn.Module:
        return kind(config)

    _check(name, make)
    net = _hf_weights(name, kind, config, fetch) if trained else with_fixed_seed(make)
    try:
        numbering = numbering_of(net, tokenizer)
    except ValueError as error:
        raise ModelRejected(f"{name} cannot be asked. {error} Choose another model.") from error
    wording = Wording(tokenizer, numbering)
    resize = _hf_resize(name, seen, processor)
    prefix = prefixes[seen.model_type] + _registers(getattr(seen, "num_register_tokens", 0))
    merged = 2 ** (len(getattr(seen, "depths", [0])) - 1)  # Swin's stages halve the grid
    patch = tuple(side * merged for side in pair(seen.patch_size))
    tokens = _layout(resize.size, patch, prefix)
    bundle = _bundle(
        name,
        HubCaptioner(net, numbering, wording.names, tokens),
        trained,
        tokens=tokens,
        resize=resize,
        **_hf_normalisation(processor),
        classes=None,
        kind=HubCaptionBundle,
    )
    bundle.wording = wording
    return bundle


def _hf_weights(name: str, auto: Any, config: Any, fetch: Callable[..., Any]) -> nn.Module:
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
    net, report = fetch(auto, "model.safetensors", **options)
    _check_complete(name, report)
    return net


def _hf_normalisation(processor: Any) -> dict[str, Iterable[float]]:
    if not processor.do_normalize:
        return {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return {"mean": processor.image_mean, "std": processor.image_std}


def _check_complete(name: str, report: dict[str, Any]) -> None:
    missing = [key for key in report["missing_keys"] if "pooler" not in key]
    if missing or report["mismatched_keys"]:
        raise ModelRejected(
            f"The weights of {name} are not those of its config: "
            f"{len(missing) + len(report['mismatched_keys'])} are missing or of another shape. "
            "Choose another model."
        )


def _hf_resize(name: str, config: Any, processor: Any) -> Resize:
    """The processor's rule: the sides or the shorter side to a size, then perhaps a crop."""
    rule = processor.size or {}
    resized = rule.get("shortest_edge") or (rule.get("height"), rule.get("width"))
    if resized == (None, None):
        raise ModelRejected(f"{name} resizes photos in a way that Saccade does not know.")
    if config.model_type not in _HF_ANY_SIZE:
        size = pair(config.image_size)
    elif getattr(processor, "do_center_crop", False):
        size = (processor.crop_size["height"], processor.crop_size["width"])
    else:
        size = pair(resized)
    return Resize(size, resized, _PILLOW_FILTERS.get(int(processor.resample), "bicubic"))


# What the three have in common


def _package(name: str) -> ModuleType:
    torchvision_cpu.ensure_operators()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelNotFound(
            f"This model needs the package {name}. Install it with: pip install {name}"
        ) from error


def _check(name: str, make: Callable[[], nn.Module], kinds: tuple[str, ...] = ()) -> None:
    """Refuse a model of unknown kind, or one too large, before any memory is taken for it."""
    with torch.device("meta"):
        sketch = make()  # shapes without values
    if kinds and type(sketch).__name__ not in kinds:
        raise ModelRejected(
            f"{name} is a {type(sketch).__name__}, whose tokens Saccade does not know. "
            "It knows plain vision transformers (ViT, DeiT, BEiT, DINO, EVA) and Swin."
        )
    count = sum(p.numel() for p in sketch.parameters())
    if count > MAX_PARAMETERS:
        raise ModelRejected(
            f"{name} is too large: {count / 1e6:,.0f} million parameters, where "
            f"{MAX_PARAMETERS // 10**6} million are the limit. Choose a smaller one."
        )


def _bundle(
    name: str,
    net: nn.Module,
    trained: bool,
    *,
    tokens: TokenLayout,
    resize: Resize,
    mean: Iterable[float],
    std: Iterable[float],
    classes: list[str] | None,
    licence: str | None = None,
    kind: type[Bundle] = Bundle,
) -> Bundle:
    hub, _, short = name.partition("/")
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    card = Card(
        name=name,
        title=f"{short} ({hub})",
        task="classify" if kind is Bundle else "caption",
        parameters=sum(p.numel() for p in net.parameters()),
        normalisation=Normalisation(mean=list(mean), std=list(std)),
        licence=licence or None,
    )
    return kind(
        name=name if trained else f"{name} (random weights)",
        net=net.eval(),
        tokens=tokens,
        mean=mean,
        std=std,
        resize=resize,
        classes=None if classes is None else list(classes),
        card=card,
    )


def _layout(size: tuple[int, int], patch: tuple[int, int], prefix: tuple[str, ...]) -> TokenLayout:
    return TokenLayout((size[0] // patch[0], size[1] // patch[1]), prefix, patch)


def _registers(count: int) -> tuple[str, ...]:
    return tuple(f"reg{i}" for i in range(count))


def _first_words(labels: Iterable[str]) -> list[str]:
    """ImageNet's names without their synonyms, "tench, Tinca tinca" -> "tench", and each different:
    where two begin alike ("maillot", "crane"), with synonyms, or else with the class's number.
    """
    labels = list(labels)
    words = [label.split(",")[0] for label in labels]
    shared = Counter(words), Counter(labels)

    def name(number: int) -> str:
        word, label = words[number], labels[number]
        if shared[0][word] == 1:
            return word
        return label if shared[1][label] == 1 else f"{word} ({number})"

    return [name(number) for number in range(len(labels))]


# The network


def _fetched(get: Callable[..., Loaded], name: str, file: str, address: str) -> Loaded:
    """`get(local_files_only=...)`: from the cache, or else over the network if there is one.

    Asking first spares the libraries' long patience with a network that is not there.
    """
    for local in (True, False):
        if not local and not _reachable(address):
            raise ModelNotFound(_not_fetched(name, file))
        try:
            return get(local_files_only=local)
        except (OSError, http.client.HTTPException) as error:
            if not local:
                raise ModelNotFound(
                    f"The file {file}, needed for {name}, could not be fetched. Check the model's "
                    "name; it may be private, or the connection may have broken."
                ) from error
        except Exception as error:
            raise ModelRejected(
                f"The file {file}, needed for {name}, cannot be used ({type(error).__name__}). "
                "It may be damaged, or too new for the installed library: update that first."
            ) from error
    raise AssertionError("the second round returns or raises")


def _reachable(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def _not_fetched(name: str, file: str) -> str:
    cures = ["Connect to the network once."]
    if names():
        cures.append(f"Embedded models need none: {', '.join(names())}.")
    if not name.startswith("hf/"):
        cures.append("With random weights this one opens without a network.")
    return (
        f"The file {file}, needed for {name}, is not on this machine and could not be fetched. "
        + " ".join(cures)
    )


def _no_such(hub: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"{hub} has no model or weights “{name}”. " + (
        f"Did you mean “{near[0]}”?" if near else "Check the name."
    )
