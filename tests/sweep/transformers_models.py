"""The classes of transformers that are given pictures, each in a tiny configuration.

Configurations are shrunk by the names of their fields, and inputs are made by the names of the
arguments of `forward`. What does not run that way is listed as not run.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.sweep.judge import copy_of
from tests.sweep.subject import NoSubject, Subject, images

WIDTH, HEADS, LAYERS, SIDE, PATCH = 64, 4, 2, 32, 8
WORDS, IMAGE_TOKEN = 1000, 990
_WHOLE = {
    **dict.fromkeys(("hidden_size", "d_model", "embed_dim", "dim", "width", "n_embd"), WIDTH),
    **dict.fromkeys(
        ("projection_dim", "out_hidden_size", "text_embed_dim", "vision_embed_dim"), WIDTH
    ),
    **dict.fromkeys(("mm_hidden_size", "decoder_hidden_size", "vision_output_dim"), WIDTH),
    **dict.fromkeys(("hidden_dim", "conv_hidden_dim", "qformer_hidden_size", "proj_dim"), WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "mlp_dim", "decoder_intermediate_size"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "moe_intermediate_size"), 48),
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers"), LAYERS
    ),
    **dict.fromkeys(
        ("depth", "n_layer", "decoder_num_hidden_layers", "num_decoder_layers"), LAYERS
    ),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "attention_heads"), HEADS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "nhead"), HEADS),
    **dict.fromkeys(("decoder_num_attention_heads", "num_mask_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "attention_head_dim", "kv_channels"), WIDTH // HEADS),
    **dict.fromkeys(("image_size", "img_size"), SIDE),
    "patch_size": PATCH,
    "num_frames": 2,
    "frames_per_clip": 2,
    "tubelet_size": 2,
    "vocab_size": WORDS,
    "num_queries": 5,
    "num_query_tokens": 4,
    "num_latents": 6,
    "d_latents": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_routed_experts": 4,
    "max_position_embeddings": 128,
}
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_LISTS = {
    "depths": lambda n: [2] * n,
    "num_heads": lambda n: [2] * n,
    "num_attention_heads": lambda n: [2] * n,
    "hidden_sizes": lambda n: [16 * 2**i for i in range(n)],
    "embed_dims": lambda n: [16 * 2**i for i in range(n)],
    "neck_hidden_sizes": lambda n: [16 * 2**i for i in range(n)],
    "encoder_hidden_sizes": lambda n: [16 * 2**i for i in range(n)],
}


def list_models() -> list[str]:
    """List one or two classes of each architecture: the whole model, and its eye."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    return [name for file in sorted(folder.glob("*/modeling_*.py")) for name in _classes(file)]


def _classes(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text("utf-8"))
    named = [c.name for c in tree.body if isinstance(c, ast.ClassDef) and _is_given_pictures(c)]
    named = [n for n in named if not n.endswith(("PreTrainedModel", "Backbone"))]
    models = sorted((n for n in named if n.endswith("Model")), key=len)
    eyes = [n for n in models if "Vision" in n]
    heads = [n for n in named if "For" in n and "Classification" not in n]
    whole = [n for n in models if n not in eyes][:1] or heads[:1] or named[:1]
    yield from dict.fromkeys((*whole, *eyes[:1], *(heads[:1] if len(models) < 1 else ())))


def _is_given_pictures(kind: ast.ClassDef) -> bool:
    forward = [f for f in kind.body if isinstance(f, ast.FunctionDef) and f.name == "forward"]
    public = any(isinstance(b, ast.Name) and b.id.endswith("PreTrainedModel") for b in kind.bases)
    given = {"pixel_values", "pixel_values_videos", "grid_thw", "input_features_images"}
    return public and any(given & {a.arg for a in f.args.args} for f in forward)


def build(name: str) -> Subject:
    """Build a class in a tiny configuration, with what its `forward` asks for."""
    import transformers

    kind = getattr(transformers, name, None) or _find(name)
    faults = []
    for hierarchical in (False, True):
        try:
            torch.manual_seed(0)
            config = tiny(kind.config_class, hierarchical)
            net = kind(config).eval()
        except Exception as error:
            faults.append(f"{type(error).__name__}: {str(error)[:100]}")
            continue
        for kwargs in _inputs(net, config):
            packed = "grid_thw" in kwargs or "image_grid_thw" in kwargs
            subject = Subject(
                net, (), kwargs, eager=_own_maps, cut=_cut if packed else None, packed=packed
            )
            try:
                with torch.no_grad():
                    subject.run()
            except Exception as error:
                faults.append(f"{type(error).__name__}: {str(error)[:100]}")
                continue
            return subject
    raise NoSubject(" · ".join(dict.fromkeys(faults))[:300])


def _find(name: str) -> Any:
    """Find a class that transformers does not export by itself."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    for file in folder.glob("*/modeling_*.py"):
        if f"class {name}(" in file.read_text("utf-8"):
            module = importlib.import_module(f"transformers.models.{file.parent.name}.{file.stem}")
            return getattr(module, name)
    raise NoSubject("there is no such class")


def tiny(kind: Any, hierarchical: bool = False) -> Any:
    """Make a tiny configuration of a class."""
    fields = _small(kind(), hierarchical)
    return kind(**fields)


def _small(config: Any, hierarchical: bool) -> dict[str, Any]:
    small: dict[str, Any] = {}
    for key, value in config.to_dict().items():
        own = getattr(config, key, None)
        if isinstance(own, type(config).__mro__[-2]) or hasattr(own, "to_dict"):
            small[key] = type(own)(**_small(own, hierarchical))
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, int) and key in _WHOLE:
            small[key] = 16 if hierarchical and key == "embed_dim" else _WHOLE[key]
        elif isinstance(value, list | tuple) and key in _LISTS and value:
            small[key] = _LISTS[key](len(value))
        elif key == "image_size" and isinstance(value, list | tuple):
            small[key] = [SIDE] * len(value)
        elif key in ("image_token_id", "image_token_index", "video_token_id", "boi_token_id"):
            small[key] = IMAGE_TOKEN + (key == "video_token_id") + 2 * (key == "boi_token_id")
        elif key in _TOKENS and isinstance(value, int):
            small[key] = _TOKENS[key]
        elif key == "window_size" and isinstance(value, int) and value:
            small[key] = 4
        elif key in ("rope_parameters", "rope_scaling") and isinstance(value, dict):
            small[key] = _rope(value)
        elif key.endswith("token_id") and isinstance(value, int) and value >= WORDS:
            small[key] = WORDS - 20 + len(key) % 8
    if hierarchical:
        small |= {k: 64 for k in ("image_size", "img_size") if isinstance(small.get(k), int)}
        small |= {k: 4 for k in ("patch_size",) if k in small and "embed_dim" in small}
    if "layer_types" in config.to_dict() and config.layer_types:
        small["layer_types"] = list(config.layer_types)[:LAYERS]
    return small


def _rope(value: dict[str, Any]) -> dict[str, Any]:
    """Rotate the small heads: their sections are parts of half a head."""
    return {**value, "mrope_section": [2, 3, 3]} if "mrope_section" in value else dict(value)


# -- inputs -------------------------------------------------------------------------------------


def _inputs(net: nn.Module, config: Any) -> Iterator[dict[str, Any]]:
    asked = inspect.signature(net.forward).parameters
    eye = getattr(config, "vision_config", None) or config
    backbone = getattr(config, "backbone_config", None)
    side = _side(eye) or _side(config) or _side(backbone) or 64
    channels = getattr(eye, "num_channels", None) or getattr(eye, "in_channels", None) or 3
    channels = channels if isinstance(channels, int) else 3
    made: dict[str, Any] = {}
    if "pixel_values" in asked:
        made["pixel_values"] = images(channels, side, side)
    if "pixel_values_videos" in asked and "pixel_values" not in asked:
        made["pixel_values_videos"] = images(2, channels, side, side)
    if "bbox" in asked:
        made["bbox"] = torch.zeros(2, 6, 4, dtype=torch.long)
    if "pixel_mask" in asked:
        made["pixel_mask"] = torch.ones(2, side, side, dtype=torch.long)
    text = {"input_ids": torch.arange(3, 9).expand(2, 6).clone()} if "input_ids" in asked else {}
    if "decoder_input_ids" in asked:
        text["decoder_input_ids"] = torch.arange(3, 7).expand(2, 4).clone()
    yield made
    yield made | text
    if "pixel_values" in asked:
        yield made | {"pixel_values": images(2, channels, side, side)}  # frames
        yield made | text | {"pixel_values": images(2, channels, side, side)}
    if "prompt_pixel_values" in asked:
        yield made | {
            "prompt_pixel_values": images(3, side, side, seed=1),
            "prompt_masks": images(3, side, side, seed=2),
        }
    if "prompt_depth" in asked:
        yield made | {"prompt_depth": images(1, side, side).abs()}
    if "task_inputs" in asked:
        yield made | {"task_inputs": torch.arange(3, 80).expand(2, 77).clone()}
    yield from _with_image_tokens(net, config, made, side, channels)
    patch = getattr(eye, "patch_size", PATCH)
    patch = patch if isinstance(patch, int) else patch[0]
    yield from _packed(asked, eye, config, net, channels, patch)


def _with_image_tokens(
    net: nn.Module, config: Any, made: dict[str, Any], side: int, channels: int
) -> Iterator[dict[str, Any]]:
    """A text in which the picture stands: as many tokens as the eye gives."""
    image = getattr(config, "image_token_id", None) or getattr(config, "image_token_index", None)
    get = getattr(net, "get_image_features", None)
    if get is None or not isinstance(image, int):
        return
    asked = inspect.signature(get).parameters
    plain = made.get("pixel_values")
    for pixels, more in (
        (plain, {}),
        (plain, {"image_sizes": torch.tensor([[side, side]] * 2)}),
        (images(1, channels, side, side), {"image_sizes": torch.tensor([[side, side]] * 2)}),
        (images(1, channels, side, side), {}),
        (images(2, channels, side, side), {"image_sizes": torch.tensor([[side, side]] * 2)}),
    ):
        given = {k: v for k, v in more.items() if k in asked}
        try:
            with torch.no_grad():
                features = get(pixel_values=pixels, **given)
        except Exception:
            continue
        count = _count_tokens(features)
        for each in (count, count // 2):
            ids = torch.tensor([[1, *[image] * each, 5, 6]] * 2)
            yield {"input_ids": ids, "pixel_values": pixels, **given}
            types = (ids == image).long()
            yield {"input_ids": ids, "pixel_values": pixels, "token_type_ids": types, **given}


def _count_tokens(features: Any) -> int:
    found = getattr(features, "pooler_output", None)
    found = features if found is None else found
    if isinstance(found, Tensor):
        return int(found[0].numel() // found.shape[-1]) if found.ndim > 2 else int(found.shape[0])
    if isinstance(found, list | tuple):
        return int(found[0].reshape(-1, found[0].shape[-1]).shape[0])
    return 0


def _packed(
    asked: Any, eye: Any, config: Any, net: nn.Module, channels: int, patch: int
) -> Iterator[dict[str, Any]]:
    """Pictures as a list of patches, with the grid of each, as in NaViT and Qwen2-VL."""
    time = getattr(eye, "temporal_patch_size", 1)
    size = channels * patch * patch
    generator = torch.Generator().manual_seed(0)
    grid = torch.tensor([[1, 4, 4]] * 2)
    flat = torch.randn(32, size * time, generator=generator)
    if "grid_thw" in asked:
        for first in ("hidden_states", "pixel_values"):
            if first in asked:
                yield {first: flat, "grid_thw": grid}
                yield {first: flat.unflatten(1, (-1, patch, patch)), "grid_thw": grid}
    if "spatial_shapes" in asked:
        shapes = torch.tensor([[4, 4]] * 2)
        mask = torch.ones(2, 16, dtype=torch.long)
        packed = torch.randn(2, 16, size, generator=generator)
        yield {"pixel_values": packed, "pixel_attention_mask": mask, "spatial_shapes": shapes}
        ids = torch.arange(3, 9).expand(2, 6).clone()
        yield {
            "pixel_values": packed,
            "pixel_attention_mask": mask,
            "spatial_shapes": shapes,
            "input_ids": ids,
        }
    if "pixel_position_ids" in asked:
        places = torch.cartesian_prod(torch.arange(4), torch.arange(4)).expand(2, 16, 2).clone()
        yield {
            "pixel_values": torch.randn(2, 16, size, generator=generator),
            "pixel_position_ids": places,
        }
    if "image_grid_thw" in asked:
        merge = getattr(eye, "spatial_merge_size", 2)
        image = getattr(config, "image_token_id", IMAGE_TOKEN)
        ids = torch.tensor([[1, *[image] * (16 // merge**2), 5, 6]] * 2)
        types = (ids == image).long()
        base = {"input_ids": ids, "pixel_values": flat, "image_grid_thw": grid}
        yield base
        yield base | {"mm_token_type_ids": types}


def _cut(subject: Subject) -> tuple[tuple, dict]:
    """The first of two packed pictures."""
    cut = {}
    for key, value in subject.kwargs.items():
        if isinstance(value, Tensor):
            cut[key] = value[: len(value) // 2]
        else:
            cut[key] = value
    return (), cut


def _side(config: Any) -> int | None:
    size = getattr(config, "image_size", None) or getattr(config, "img_size", None)
    if isinstance(size, list | tuple):
        size = size[0]
    return size if isinstance(size, int) else None


def _own_maps(subject: Subject) -> list[Tensor]:
    """The maps that transformers itself returns, with its eager attention."""
    net: Any = copy_of(subject.net)
    net.set_attn_implementation("eager")
    with torch.no_grad():
        output = net(**subject.kwargs, output_attentions=True)
    found: list[Tensor] = []
    for key, value in output.items():
        if "attentions" in key and isinstance(value, list | tuple):
            found += [v for v in value if isinstance(v, Tensor) and v.ndim == 4]
    return found
