"""What a net would answer if it ended early, after each of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.attribution.trace import Score, gradients_of, twin, without_graph
from model.recording.recorder import AttentionRecord, AttentionRecorder


def blocks_of(layers: Sequence[str]) -> list[str]:
    """Names of the blocks that hold the attention layers of these names.

    `["encoder.0.attn", "encoder.1.attn"]` -> `["encoder.0", "encoder.1"]`: the shortest
    beginnings that tell the layers apart, or the parent where there is one layer only. A layer
    that ran several times counts once.
    """
    layers = list(dict.fromkeys(layers))
    if len(layers) == 1:
        return [layers[0].rpartition(".")[0]]
    paths = [name.split(".") for name in layers]
    shared = 0
    while len({tuple(path[: shared + 1]) for path in paths}) == 1:
        shared += 1
    return list(dict.fromkeys(".".join(path[: shared + 1]) for path in paths))


def exit_gradients(
    net: nn.Module, images: Tensor, score: Score, layers: Sequence[str]
) -> tuple[list[AttentionRecord], list[Tensor]]:
    """The records of a pass, and of each layer l ∂s_l/∂anchor_l (see AttentionRecord).

    s_l is `score` of what the net's end (its last norm, pooling and head) makes of the tokens
    after block l. Every block starts a graph of its own, so that s_l sees its own layer only.
    `layers` are the names of the net's attention layers. Raises ValueError where the net is
    not one chain of blocks.
    """
    images = images.detach()
    double, names = twin(net), blocks_of(layers)
    outputs: list[Tensor | tuple] = []
    for name in names:
        block = double.get_submodule(name)
        block.register_forward_pre_hook(lambda _, args: _cut(args))
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.enable_grad(), AttentionRecorder(double) as recorder:
        double(images)
        if len(outputs) != len(names):
            raise ValueError(
                f"This net is not one chain of blocks: {', '.join(names[:3])} did not each run "
                "once, so it cannot end after each of them."
            )
        tokens = [output[0] if isinstance(output, tuple) else output for output in outputs]
        shortened = _shortened(net, names, torch.cat(tokens), isinstance(outputs[0], tuple))
        answers = shortened(images).chunk(len(names))
        total = sum(score(answer).sum() for answer in answers)
    gradients = gradients_of(total, [record.anchor for record in recorder.records])
    return [without_graph(record) for record in recorder.records], gradients


def _cut(args: tuple) -> tuple:
    tokens, *rest = args
    return (tokens.detach().requires_grad_(), *rest)


def _shortened(net: nn.Module, names: list[str], tokens: Tensor, in_tuple: bool) -> nn.Module:
    """The net with its blocks left out, as if `tokens` had come out of the last of them."""

    def wrap(forward: Callable[..., Tensor]) -> Callable[..., Tensor | tuple]:
        return lambda *args, **kwargs: (
            (forward(*args, **kwargs),) if in_tuple else forward(*args, **kwargs)
        )

    double = twin(net)
    first, *others = (double.get_submodule(name) for name in names)
    first.forward = wrap(lambda *_, **__: tokens)
    for block in others:
        block.forward = wrap(lambda given, *_, **__: given)
    return double
