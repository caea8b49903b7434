"""Run a net once, and keep the tokens that each of its blocks returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.attribution.block_exits import block_names
from model.attribution.trace import copy_sharing_weights
from model.errors import NothingToShow
from model.nets.vit import VisionTransformer
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.tokens import TokenLayout


@dataclass(frozen=True)
class BlockPass:
    """The tokens of one pass over images, block by block."""

    names: list[str]
    """The blocks, in running order."""
    outputs: list[Tensor]
    """What each block returns, (B, N, D)."""
    normed: Tensor
    """The tokens after the last norm, (B, N, D); the last block's where no norm follows."""
    in_tuple: bool
    """Whether a block returns its tokens in a tuple."""


def layout_of(net: nn.Module, layout: TokenLayout | None = None) -> TokenLayout:
    """Return the layout of a net's tokens, as it was given or as the net knows it.

    Raises ValueError where neither is so.
    """
    known = getattr(net, "tokens", None) if layout is None else layout
    if not isinstance(known, TokenLayout):
        raise ValueError(
            f"A {type(net).__name__} does not say what its tokens stand for: give "
            "layout=bundle.tokens."
        )
    return known


def image_records(net: nn.Module, images: Tensor, layout: TokenLayout) -> list[AttentionRecord]:
    """Record the layers that attend among the tokens of an image, in running order.

    Raises NothingToShow where a layer attends within windows, or on a grid of its own, since a
    token of one layer is then not a token of the next.
    """
    with AttentionRecorder(net) as recorder:
        net(images)
    tokens = layout.tokens
    records = [r for r in recorder.records if r.kind == "self" and not r.windows]
    whole = [r for r in records if r.shape[2:] == (tokens, tokens) and r.shape[0] == len(images)]
    if not whole or len(whole) < len(recorder.records):
        raise NothingToShow(
            "In this model a layer attends within windows, on a grid of its own, or to something "
            "besides the image: its tokens cannot be followed from layer to layer. Choose a model "
            "whose layers share their tokens."
        )
    return whole


@torch.no_grad()
def run_blocks(net: nn.Module, images: Tensor, layout: TokenLayout) -> BlockPass:
    """Run a net on prepared images (B, C, H, W) and keep its tokens after each block.

    The net is left as it is: the hooks are on a copy that shares its weights.

    Raises:
        NothingToShow: the net is not one chain of blocks that share their tokens.
        NothingRecorded: the net does not attend.
    """
    names = block_names([record.name for record in image_records(net, images, layout)])
    hooked = copy_sharing_weights(net)
    outputs: list[Any] = []
    last: list[Tensor] = []

    def keep_last(_: nn.Module, __: tuple, output: Any) -> None:
        if isinstance(output, Tensor) and output.shape[:2] == (len(images), layout.tokens):
            last[:] = [output]

    for module in hooked.modules():
        module.register_forward_hook(keep_last)
    for name in names:
        hooked.get_submodule(name).register_forward_hook(lambda _, __, out: outputs.append(out))
    hooked(images)
    in_tuple = any(isinstance(output, tuple) for output in outputs)
    tokens = [output[0] if isinstance(output, tuple) else output for output in outputs]
    shapes = {tuple(each.shape[:2]) for each in tokens}
    if len(tokens) != len(names) or shapes != {(len(images), layout.tokens)}:
        raise NothingToShow(
            f"This model is not one chain of blocks: {', '.join(names[:3])} did not each return "
            "the image's tokens once. Choose another model."
        )
    return BlockPass(names, tokens, _last_norm(net, tokens[-1], last), in_tuple)


def _last_norm(net: nn.Module, tokens: Tensor, last: list[Tensor]) -> Tensor:
    if isinstance(net, VisionTransformer):  # its last norm may come after the pooling
        return net.norm(tokens)
    return last[0] if last and last[0].shape == tokens.shape else tokens
