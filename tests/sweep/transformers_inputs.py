"""Inputs of two pictures for a class of transformers, made by the names that its `forward` gives.

Pictures come as (B, C, H, W), as frames or crops (B, T, C, H, W), or cut into patches that stand
in one sequence, with the grid of each picture. Where a text must hold a place for each token of a
picture, the model's own complaint says how many there are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.sweep.subject import Subject, images
from tests.sweep.transformers_configs import IMAGE_TOKEN, PATCH, WIDTH

GRID = 4  # patches along each side of a picture that is cut into patches
_MISMATCHES = [
    re.compile(
        r"tokens:? (?P<places>\d+),? (?:and )?(?:image )?features:? (?P<features>\d+)", re.I
    ),
    re.compile(r"placeholder tokens \((?P<places>\d+)\).*\((?P<features>\d+)\)"),
    re.compile(r"(?P<features>\d+) image patches for (?P<places>\d+) image placeholder"),
]


def inputs(net: nn.Module, config: Any) -> Iterator[Subject]:
    """Make what a net may be given, the likeliest first."""
    asked = inspect.signature(net.forward).parameters
    eye = _eye(config)
    for pictures, packed, cut in _pictures(asked, eye, config):
        side = _height(pictures)
        extras = _extras(asked, config, eye, side)
        needed = {k: v for k, v in extras.items() if asked[k].default is inspect.Parameter.empty}
        for texts in _texts(asked, config):
            for more in (needed, extras):
                kwargs = more | pictures | texts
                yield Subject(net, (), kwargs, cut=cut, packed=packed)
                if not extras.keys() - needed.keys():
                    break


def run_on(subject: Subject, config: Any) -> Subject:
    """Run a subject, with as many places for the picture in its text as the model asks for."""
    for _ in range(3):
        try:
            with torch.no_grad():
                subject.run()
                subject.first().run()
            return subject
        except Exception as error:
            found = next(filter(None, (each.search(str(error)) for each in _MISMATCHES)), None)
            if found is None or "input_ids" not in subject.kwargs:
                raise
            counts = {name: int(number) for name, number in found.groupdict().items()}
            kwargs = subject.kwargs | _with_places(subject, config, **counts)
            subject = Subject(subject.net, (), kwargs, cut=subject.cut, packed=subject.packed)
    with torch.no_grad():
        subject.run()
    return subject


def _with_places(subject: Subject, config: Any, places: int, features: int) -> dict[str, Tensor]:
    """Write a text (2, N) with places for half of the features in each row."""
    if places == features:  # the model counted pictures, not their features
        features = _count_features(subject)
    image = _image_token(config)
    ids = torch.tensor([[1, *[image] * (features // 2), 5, 6]] * 2)
    types = (ids == image).long()
    return {"input_ids": ids} | {
        key: types for key in ("token_type_ids", "mm_token_type_ids") if key in subject.kwargs
    }


def _count_features(subject: Subject) -> int:
    """Count the tokens that the eye makes of both pictures, each as wide as a word."""
    net: Any = getattr(subject.net, "vlm", subject.net)
    asked = inspect.signature(net.get_image_features).parameters
    with torch.no_grad():
        given = {key: value for key, value in subject.kwargs.items() if key in asked}
        found = net.get_image_features(**given)
    found = getattr(found, "pooler_output", found)
    parts = [found] if isinstance(found, Tensor) else [part for part in found if part is not None]
    return sum(part.numel() for part in parts) // net.get_input_embeddings().embedding_dim


# -- pictures ------------------------------------------------------------------------------------


def _pictures(asked: Any, eye: Any, config: Any) -> Iterator[tuple[dict[str, Tensor], bool, Any]]:
    """Yield pictures, whether both stand in one sequence, and how the first is cut from both."""
    side, channels = _side(eye, config), _channels(eye)
    yield from _patches(asked, eye, config, channels)
    for name in ("pixel_values", "pixel_values_videos", "pixel_values_images"):
        if name not in asked:
            continue
        plain, frames = images(channels, side, side), images(2, channels, side, side)
        for given in (frames, plain) if name.endswith("videos") else (plain, frames):
            yield {name: given}, False, None
        yield {name: images(1, channels, side, side)}, False, None
        if getattr(eye, "num_frames", None) or getattr(config, "num_frames", None):
            yield {name: frames.flatten(0, 1)}, False, cut_half
        if "aspect_ratio_ids" in asked:
            tiles = getattr(eye, "max_num_tiles", 4)
            yield {name: images(1, tiles, channels, side, side)}, False, None
        if side < 224:
            yield {name: images(channels, 224, 224)}, False, None
        yield {name: images(1, 1, channels, side, side)}, False, None
        cut = images(GRID * GRID, channels * _patch(eye) ** 2)
        yield {name: cut.flatten(0, 1)}, True, cut_half
        yield {name: cut}, False, None
        break


def _patches(
    asked: Any, eye: Any, config: Any, channels: int
) -> Iterator[tuple[dict[str, Tensor], bool, Any]]:
    """Pictures as a list of patches, with the grid of each, as in NaViT and Qwen2-VL."""
    patch = _patch(eye)
    time = getattr(eye, "temporal_patch_size", 1) or 1
    number, size = GRID * GRID, channels * patch * patch
    generator = torch.Generator().manual_seed(0)
    grid = torch.tensor([[1, GRID, GRID]] * 2)
    flat = torch.randn(2 * number, size * time, generator=generator)
    alone = flat[:, :size]
    first = "hidden_states" if "hidden_states" in asked else "pixel_values"
    for name in ("grid_thw", "image_grid_thw"):
        if name in asked:
            twice = torch.cat([alone, alone], 1)
            for given in (flat, alone, twice, alone.unflatten(1, (channels, patch, patch))):
                yield {first: given, name: grid}, True, cut_half
            yield {first: flat.unflatten(0, (2, number)), name: grid}, True, cut_half
            if "images_per_sample" in asked:  # the last of each is a picture that is still to make
                pairs = {"images_per_sample": torch.tensor([2, 2]), name: grid.repeat(2, 1)}
                yield {first: alone, **pairs}, True, cut_half
            merged = torch.randn(2 * number, 2 * patch, 2 * patch, channels, generator=generator)
            yield {first: merged, name: grid}, True, cut_half
            tubes = flat.unflatten(1, (channels, time, patch, patch))
            yield {first: tubes, name: grid}, True, cut_half
            apart = alone.unflatten(1, (channels, patch, patch))[None]
            yield {first: apart, name: grid}, True, _cut_second
    if "image_grid_hw" in asked:
        yield {first: alone, "image_grid_hw": grid[:, 1:]}, True, cut_half
    if "target_sizes" in asked:  # a row of patches
        row = torch.randn(1, channels, patch, 2 * number * patch, generator=generator)
        yield {first: row, "target_sizes": grid[:, 1:]}, True, _cut_row
    together = torch.randn(2, number, size, generator=generator)
    mask = torch.ones(2, number, dtype=torch.long)
    if "spatial_shapes" in asked:
        shapes = grid[:, 1:].clone()
        given = {"pixel_values": together, "pixel_attention_mask": mask, "spatial_shapes": shapes}
        yield given, False, None
    places = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID))
    for name in ("pixel_position_ids", "image_position_ids"):
        if name in asked:
            where = {name: places.expand(2, -1, 2).clone()}
            yield {"pixel_values": together, **where}, False, None
            pool = getattr(eye, "pooling_kernel_size", 3)
            pooled = torch.randn(2, number, size * pool**2, generator=generator)
            yield {"pixel_values": pooled, **where}, False, None
    if "image_token_pooling" in asked:
        pooling = {
            "image_token_pooling": torch.arange(2 * number).view(-1, 4),
            "image_grids": torch.tensor([[GRID // 2, GRID // 2, 0, 0]] * 2),
            "image_num_crops": torch.tensor([1, 1]),
        }
        yield {"pixel_values": together, **pooling}, True, cut_half
    if "pixel_attention_mask" in asked and "spatial_shapes" not in asked:
        cameras = images(2, channels, _side(eye, eye), _side(eye, eye))
        shown = torch.ones(2, 2, dtype=torch.bool)
        yield {"pixel_values": cameras, "pixel_attention_mask": shown}, False, None


def cut_half(subject: Subject) -> tuple[tuple, dict]:
    """The first half of every tensor."""
    halves = {
        key: value[: len(value) // 2] if isinstance(value, Tensor) else value
        for key, value in subject.kwargs.items()
    }
    return (), halves


def _cut_second(subject: Subject) -> tuple[tuple, dict]:
    """The first half, where pixels (1, N, ...) have a dimension of their own before."""
    halves = cut_half(subject)[1]
    pixels = subject.kwargs["pixel_values"]
    return (), halves | {"pixel_values": pixels[:, : pixels.shape[1] // 2]}


def _cut_row(subject: Subject) -> tuple[tuple, dict]:
    """The first half of a row of patches (1, C, P, N·P)."""
    halves = cut_half(subject)[1]
    pixels = subject.kwargs["pixel_values"]
    return (), halves | {"pixel_values": pixels[..., : pixels.shape[-1] // 2]}


# -- what goes with them -------------------------------------------------------------------------


def _texts(asked: Any, config: Any) -> Iterator[dict[str, Tensor]]:
    """Yield no text, a text without a place for the picture, and one with a place."""
    if "input_ids" not in asked:
        yield {}
        return
    if asked["input_ids"].default is not inspect.Parameter.empty:
        yield {}
    plain = torch.arange(3, 9).expand(2, 6).clone()
    text = {"input_ids": plain}
    if "decoder_input_ids" in asked:
        text["decoder_input_ids"] = torch.arange(3, 7).expand(2, 4).clone()
    yield text
    image = _image_token(config)
    ids = torch.tensor([[1, *[image] * (GRID * GRID // 4), 5, 6]] * 2)
    text = text | {"input_ids": ids}
    yield text
    types = (ids == image).long()
    named = {key: types for key in ("token_type_ids", "mm_token_type_ids") if key in asked}
    if named:
        yield text | named
    if "attention_mask" in asked:
        yield {"input_ids": plain, "attention_mask": torch.ones(2, 6, dtype=torch.long)}


def _extras(asked: Any, config: Any, eye: Any, side: int) -> dict[str, Any]:
    """What else a class may ask for, by name."""
    ones = torch.ones
    words = torch.arange(3, 9).expand(2, 6).clone()
    known = {
        "bbox": torch.zeros(2, 6, 4, dtype=torch.long),
        "pixel_mask": ones(2, side, side, dtype=torch.long),
        "image_sizes": torch.tensor([[side, side]] * 2),
        "aspect_ratio_ids": ones(2, 1, dtype=torch.long),
        "aspect_ratio_mask": ones(2, 1, getattr(eye, "max_num_tiles", 4), dtype=torch.long),
        "prompt_pixel_values": images(3, side, side, seed=1),
        "prompt_masks": images(3, side, side, seed=2),
        "prompt_depth": images(1, side, side).abs(),
        "high_res_pixel_values": images(3, 2 * side, 2 * side),
        "task_inputs": torch.arange(3, 80).expand(2, 77).clone(),
        "qformer_input_ids": words,
        "merge_sizes": torch.tensor([2, 2]),
        "image_merge_sizes": torch.tensor([2, 2]),
        "image_attention_mask": ones(2, 6, 1, dtype=torch.long),
        "image_embeds_position_mask": torch.tensor([[0, 1, 1, 1, 1, 0]] * 2),
        "input_points": ones(2, 1, 1, 2) * side / 2,
        "input_labels": ones(2, 1, 1, dtype=torch.long),
        "action_embeds": torch.randn(2, 5, WIDTH),
        "input_values": torch.randn(2, 1, 3200),
        "batch_num_images": torch.tensor([1, 1]),
        "classes_input_ids": words,
        "classes_attention_mask": ones(2, 6, dtype=torch.long),
        "tasks_input_ids": words,
        "tasks_attention_mask": ones(2, 6, dtype=torch.long),
        "classes_structure": torch.tensor([1, 1]),
        "images_per_sample": torch.tensor([1, 1]),
        "pixel_attention_mask": ones(2, 2, dtype=torch.bool),
        "dataset_index": torch.tensor([0, 1]),
        "num_local_patches": torch.tensor([0, 0]),
        "vision_feature_layer": -1,
    }
    return {key: value for key, value in known.items() if key in asked}


def _eye(config: Any) -> Any:
    """Find the part of a configuration that the pictures are for."""
    eyes = ("vision_config", "vision_encoder_config", "backbone_config", "vit_config")
    for name in (*eyes, "encoder", "vlm_config"):
        part = getattr(config, name, None)
        if hasattr(part, "to_dict"):
            return _eye(part)
    return config


def _side(eye: Any, config: Any) -> int:
    for part in (eye, config):
        for name in ("image_size", "img_size", "max_img_size"):
            size = getattr(part, name, None)
            size = size[-1] if isinstance(size, list | tuple) and size else size
            if isinstance(size, int) and size:
                return size
    return 64


def _channels(eye: Any) -> int:
    for name in ("num_channels", "in_channels", "in_chans"):
        number = getattr(eye, name, None)
        if isinstance(number, int):
            return number
    return 3


def _patch(eye: Any) -> int:
    patch = getattr(eye, "patch_size", PATCH) or PATCH
    return patch if isinstance(patch, int) else patch[0]


def _height(pictures: dict[str, Tensor]) -> int:
    return next(iter(pictures.values())).shape[-2] if pictures else 64


def _image_token(config: Any) -> int:
    for name in ("image_token_id", "image_token_index", "img_context_token_id", "media_token_id"):
        number = getattr(config, name, None)
        if isinstance(number, int):
            return number
    return IMAGE_TOKEN
