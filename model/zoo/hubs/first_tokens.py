"""Find the tokens of a model that no table describes: by recording one picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call

from model.errors import ModelRejected, NothingRecorded, NothingToShow
from model.image_layers import find_grid, image_layers
from model.recording.record import AttentionRecord
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout, check_affordable
from model.unrolled import find_unrolled

LARGE = 50_000_000  # parameters, from which on shapes alone are quicker than a real pass
GUESSES: tuple[tuple[str, ...], ...] = ((), ("cls",), ("cls", "dist"))


def find_first_tokens(
    name: str,
    net: nn.Module,
    size: tuple[int, int],
    channels: int = 3,
    prefix: Sequence[str] | None = None,
) -> TokenLayout:
    """Record an empty picture and find the finest grid on which a layer attends.

        >>> from model.vit import build
        >>> net = build("vit", img_size=32, patch_size=8, dim=48, depth=2, heads=3).eval()
        >>> find_first_tokens("mine", net, (32, 32))
        TokenLayout(grid=(4, 4), prefix=('cls',), patch=(8, 8), units=None)

    Args:
        name: the model's name, for messages.
        net: the model; it takes pictures (1, C, H, W).
        size: height and width of the pictures.
        channels: their channels.
        prefix: names of the tokens before the patches, where they are known; else none, a class
            token, or a distillation token besides are tried.

    Raises:
        ModelRejected: the model does not take pictures of this size, does not attend, or not from
            the picture's tokens to the picture's tokens.
    """
    if sum(parameter.numel() for parameter in net.parameters()) > LARGE:
        with suppress(Exception):  # of a model that asks for values, or is refused below
            shapes = _record_shapes(net, torch.zeros(1, channels, *size))
            return _find_tokens(name, net, size, prefix, shapes)
    return _find_tokens(name, net, size, prefix, _record(name, net, size, channels))


def _find_tokens(
    name: str,
    net: nn.Module,
    size: tuple[int, int],
    prefix: Sequence[str] | None,
    recorder: AttentionRecorder,
) -> TokenLayout:
    records = recorder.records
    if unrolled := find_unrolled(net, size):
        return _affordable(name, unrolled)
    tried = GUESSES if prefix is None else tuple(dict.fromkeys((tuple(prefix), ())))
    found = [layout for record in records for layout in _layouts(record, size, tried)]
    if not found:
        seen = ", ".join(f"{r.name} ({r.shape[2]} to {r.shape[3]})" for r in records[:4])
        unseen = f" {recorder.not_recorded}" if recorder.not_recorded else ""
        raise ModelRejected(
            f"{name} attends, but no layer of it is known to do so from the patches of the whole "
            f"picture to its patches: {seen}.{unseen} Choose another model."
        )
    # Of patches with a class token, the pixels inside them (TNT) are a finer layer.
    whole = [layout for layout in found if layout.prefix] if _has_windows(records) else []
    layout = max(whole or found, key=lambda each: (each.patches, len(each.prefix)))
    try:
        image_layers(records, layout)
    except NothingToShow as error:
        raise ModelRejected(f"{name} cannot be shown. {error}") from error
    return _affordable(name, layout)


def _has_windows(records: Sequence[AttentionRecord]) -> bool:
    return any(record.windows is not None for record in records)


def _affordable(name: str, layout: TokenLayout) -> TokenLayout:
    try:
        check_affordable(layout)
    except ValueError as error:
        raise ModelRejected(f"{name} cannot be shown. {error} Choose another model.") from error
    return layout


def _record(name: str, net: nn.Module, size: tuple[int, int], channels: int) -> AttentionRecorder:
    try:
        with torch.no_grad(), AttentionRecorder(net) as recorder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net(torch.zeros(1, channels, *size))
    except NothingRecorded as error:
        raise ModelRejected(f"{name} has nothing to show. {error}") from error
    except Exception as error:  # whatever another library does with a size that it cannot take
        reason = " ".join(str(error).split())[:120]
        raise ModelRejected(
            f"{name} does not take pictures of {size[0]} x {size[1]} pixels with {channels} "
            f"channels ({reason or type(error).__name__}). Choose another size, or another model."
        ) from error
    return recorder


def _record_shapes(net: nn.Module, picture: Tensor) -> AttentionRecorder:
    """Record a pass on the meta device, which computes shapes alone and so costs little."""
    held = (*net.named_parameters(), *net.named_buffers())
    shapes = {name: tensor.to("meta") for name, tensor in held}
    with torch.no_grad(), AttentionRecorder(net) as recorder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functional_call(net, shapes, (picture.to("meta"),))
    return recorder


def _layouts(
    record: AttentionRecord, size: tuple[int, int], prefixes: Sequence[tuple[str, ...]]
) -> list[TokenLayout]:
    """The layout that a record's queries may have, as a list of one or none."""
    if record.windows:
        return [_layout(record.windows.grid, (), size)]
    if record.kind != "self" or record.shape[0] != 1:
        return []
    for prefix in prefixes:
        if grid := find_grid(record.shape[2] - len(prefix), size):
            return [_layout(grid, prefix, size)]
    return []


def _layout(grid: tuple[int, int], prefix: tuple[str, ...], size: tuple[int, int]) -> TokenLayout:
    return TokenLayout(grid, prefix, (max(1, size[0] // grid[0]), max(1, size[1] // grid[1])))
