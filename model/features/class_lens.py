"""The lens: what the net's own end makes of every token of every layer.

nostalgebraist 2020, "interpreting GPT: the logit lens"; for vision transformers Vilas et al. 2023,
"Analyzing Vision Transformers for Image Classification in Class Embedding Space". The end (last
norm and head) was trained on the last layer's tokens, so early layers are read with the last
layer's eyes: an early class is a hint, and no proof that the layer knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.attribution.block_exits import without_blocks
from model.errors import NothingToShow
from model.features.block_pass import layout_of, run_blocks
from model.tokens import TokenLayout

CHUNK = 1 << 23
"""Numbers in the sequences that the end reads at a time."""


@dataclass(frozen=True)
class LensReading:
    """Logits that a net's end gives after each of its blocks."""

    tokens: Tensor
    """Of each token by itself, (layers, B, N, classes)."""
    mean: Tensor
    """Of the mean of the patches, (layers, B, classes)."""
    answer: Tensor
    """Of all tokens as the net pools them, (layers, B, classes): its answer if it ended here."""


def lens(net: nn.Module, images: Tensor, *, layout: TokenLayout | None = None) -> Tensor:
    """Read every token of every layer with the net's own end.

    The end (last norm, pooling, head) is given a sequence in which every token is the one to read,
    so that it reads this token whether it takes the class token, a mean, or both.

    Args:
        net: a classifier in eval mode, our own or another library's.
        images: (B, C, H, W), prepared for the net.
        layout: what the net's tokens stand for, for a net that does not say so itself
            (`bundle.tokens`).

    Returns:
        Logits (layers, B, N, classes), all tokens in the model's order. Those of the last layer,
        at the token from which the net reads its answer, are the net's output.

    Raises:
        NothingToShow: the net is not one chain of blocks that share their tokens.

    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3, num_classes=5)
    >>> images = torch.rand(1, 3, 32, 32)
    >>> read = lens(net.eval(), images)
    >>> read.shape  # layers, images, the class token and 16 patches, classes
    torch.Size([2, 1, 17, 5])
    >>> torch.allclose(read[-1, :, 0], net(images), atol=1e-5)
    True
    """
    return read_layers(net, images, layout=layout).tokens


@torch.no_grad()
def read_layers(
    net: nn.Module, images: Tensor, *, layout: TokenLayout | None = None
) -> LensReading:
    """Read every token, the mean of the patches, and the net's answer after each block.

    Args, errors: as for `lens`.
    """
    layout = layout_of(net, layout)
    passed = run_blocks(net, images, layout)
    tokens = torch.stack(passed.outputs)
    mean = tokens[:, :, layout.patch_slice].mean(2, keepdim=True)

    def read(sequences: Tensor) -> Tensor:
        return without_blocks(net, passed.names, sequences, passed.in_tuple)(images[:1])

    answer = torch.cat([read(layer) for layer in tokens])
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        raise NothingToShow(
            "This model's answer is no list of classes, so there is no lens for it."
        )
    single = _read_singly(read, torch.cat((tokens, mean), 2).flatten(0, 2), len(layout.prefix) + 1)
    single = single.view(*tokens.shape[:2], -1, single.shape[-1])
    return LensReading(single[:, :, :-1], single[:, :, -1], answer.view(*tokens.shape[:2], -1))


def _read_singly(read: Callable[[Tensor], Tensor], vectors: Tensor, length: int) -> Tensor:
    """Read vectors (M, D), each as a sequence that repeats it: (M, classes)."""
    step = max(1, CHUNK // (length * vectors.shape[1]))
    parts = vectors[:, None].expand(-1, length, -1).split(step)
    return torch.cat([read(part) for part in parts])
