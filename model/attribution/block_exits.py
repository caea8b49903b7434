"""End a net early, after each of its blocks, and ask what each answer depends on (LeGrad)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.attribution.trace import (
    Score,
    Trace,
    anchors_of,
    gradients_of,
    parts_of_rows,
    without_graph,
)
from model.errors import MethodUnsuitable
from model.nets.shared_weights import copy_sharing_weights
from model.recording.recorder import AttentionRecord, AttentionRecorder


def mean_exit_gradient(trace: Trace, layers: Sequence[str], start: int = 0) -> Tensor:
    """Average relu(∂s_l/∂A_l) over the layers l, heads and queries: (B, N).

    Args:
        trace: its net, images and score are used.
        layers: names of the attention layers after whose blocks the net ends, in order.
        start: the first of them that counts.

    Raises:
        MethodUnsuitable: the net is not one chain of blocks.

    Bousselham et al. 2024, "LeGrad: An Explainability Method for Vision Transformers via Feature
    Formation Sensitivity".
    """
    try:
        records, gradients = trace_block_exits(trace.net, trace.images, trace.score, layers)
    except ValueError as error:
        raise MethodUnsuitable(str(error)) from error
    counted = list(zip(records, gradients, strict=True))[start : len(layers)]
    return torch.stack([_mean_rising(record, gradient) for record, gradient in counted]).mean(0)


def _mean_rising(record: AttentionRecord, gradient: Tensor) -> Tensor:
    """Average relu(∂s/∂A) over heads and queries, a chunk of rows at a time: (B, K)."""
    parts = parts_of_rows(record)
    sums = [record.map_gradient(gradient, queries=part).relu().sum((1, 2)) for part in parts]
    return torch.stack(sums).sum(0) / (record.shape[1] * record.shape[2])


def trace_block_exits(
    net: nn.Module, images: Tensor, score: Score, layers: Sequence[str]
) -> tuple[list[AttentionRecord], list[Tensor]]:
    """Record a pass, and differentiate for each layer l the score s_l of the exit after its block.

    s_l is `score` of what the net's end (its last norm, pooling and head) makes of the tokens
    after block l. Each block has a graph of its own, so s_l depends on the attention of block l
    alone.

    Args:
        layers: names of the net's attention layers, in order.

    Returns:
        The records, and for each of them ∂s_l/∂anchor_l (see `AttentionRecord.map_gradient`).

    Raises:
        ValueError: the net is not one chain of blocks.
    """
    images = images.detach()
    hooked, names = copy_sharing_weights(net), block_names(layers)
    outputs: list[Tensor | tuple] = []
    for name in names:
        block = hooked.get_submodule(name)
        block.register_forward_pre_hook(lambda _, args: _detach_tokens(args))
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.enable_grad(), AttentionRecorder(hooked) as recorder:
        hooked(images)
        if len(outputs) != len(names):
            raise ValueError(
                f"This net is not one chain of blocks: {', '.join(names[:3])} did not each run "
                "once, so it cannot end after each of them."
            )
        tokens = [output[0] if isinstance(output, tuple) else output for output in outputs]
        end = without_blocks(net, names, torch.cat(tokens), isinstance(outputs[0], tuple))
        answers = end(images).chunk(len(names))
        total = torch.stack([score(answer).sum() for answer in answers]).sum()
    gradients = gradients_of(total, anchors_of(recorder.records))
    return [without_graph(record) for record in recorder.records], gradients


def block_names(layers: Sequence[str]) -> list[str]:
    """Find the names of the blocks that hold attention layers, from the layers' names.

    A block's name is the shortest beginning that tells the layers apart, or the parent where there
    is one layer only. A layer that ran several times counts once.

    >>> block_names(["encoder.0.attn", "encoder.1.attn"])
    ['encoder.0', 'encoder.1']
    """
    layers = list(dict.fromkeys(layers))
    if len(layers) == 1:
        return [layers[0].rpartition(".")[0]]
    paths = [name.split(".") for name in layers]
    shared = 0
    while len({tuple(path[: shared + 1]) for path in paths}) == 1:
        shared += 1
    return list(dict.fromkeys(".".join(path[: shared + 1]) for path in paths))


def _detach_tokens(args: tuple) -> tuple:
    tokens, *rest = args
    return (tokens.detach().requires_grad_(), *rest)


def without_blocks(net: nn.Module, names: list[str], tokens: Tensor, in_tuple: bool) -> nn.Module:
    """Skip the blocks of a net: it runs as if `tokens` had come out of the last one."""

    def wrap(forward: Callable[..., Tensor]) -> Callable[..., Tensor | tuple]:
        return lambda *args, **kwargs: (
            (forward(*args, **kwargs),) if in_tuple else forward(*args, **kwargs)
        )

    end = copy_sharing_weights(net)
    first, *others = (end.get_submodule(name) for name in names)
    first.forward = wrap(lambda *_, **__: tokens)
    for block in others:
        block.forward = wrap(lambda given, *_, **__: given)
    return end
