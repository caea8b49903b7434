"""A start that looks like the end: mimetic initialisation of attention.

Trockman and Kolter 2023, "Mimetic Initialization of Self-Attention Layers". In trained
transformers the product of query and key weights is nearly a multiple of the identity, and that
of value and output weights of its negative. A net that begins so learns sooner from few
pictures, and its first maps are already local.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.nets.attention import MultiHeadAttention
from model.nets.sinusoids import wave_code_2d
from model.tokens import TokenLayout

LOOK = (0.7, 0.7)  # noise and identity in queries times keys, as published
TAKE = (0.4, -0.4)  # and in output times values
GRID_BASE = 100.0  # waves as long as a small grid, where 10000 is for long sentences


def uses_mimetic_init(net: nn.Module) -> bool:
    """Whether the net is one of `model.vit` that began so."""
    return getattr(getattr(net, "config", None), "init", "") == "mimetic"


@torch.no_grad()
def init_attention(attention: MultiHeadAttention) -> None:
    """Set the four weights of self-attention; biases stay as they are."""
    width = len(attention.query.weight)
    size = width // attention.heads
    looks = [_factors(_near_identity(width, *LOOK), size) for _ in range(attention.heads)]
    attention.query.weight.copy_(torch.cat([query.T for query, _ in looks]))
    attention.key.weight.copy_(torch.cat([key for _, key in looks]))
    output, value = _factors(_near_identity(width, *TAKE), width)
    attention.proj.weight.copy_(output)
    attention.value.weight.copy_(value)


@torch.no_grad()
def init_positions(positions: nn.Module, layout: TokenLayout) -> None:
    """Learned positions of the patches begin as waves along rows and columns; the others stay."""
    code = positions.code
    waves = wave_code_2d(layout.grid, code.shape[1], GRID_BASE)
    code[len(code) - layout.patches :] = waves.to(code)


def _near_identity(width: int, noise: float, identity: float) -> Tensor:
    return noise * torch.randn(width, width) / width**0.5 + identity * torch.eye(width)


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two matrices (D, rank) and (rank, D), the best of that rank to multiply to `product`."""
    u, sizes, v = torch.linalg.svd(product)
    root = sizes[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]
