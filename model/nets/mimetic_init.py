"""Mimetic initialisation: attention weights shaped like trained ones.

Trockman and Kolter 2023, "Mimetic Initialization of Self-Attention Layers". In trained
transformers the product of query and key weights is close to a positive multiple of the identity,
and the product of value and output weights to a negative one. A net initialised like this learns
faster from few pictures, and its first maps are already local.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.nets.attention import MultiHeadAttention
from model.nets.position_embedding import LearnedPositions
from model.nets.sinusoids import wave_code_2d
from model.tokens import TokenLayout

QUERY_KEY = (0.7, 0.7)  # factors of noise and identity in queries times keys, as published
OUTPUT_VALUE = (0.4, -0.4)  # the same in output times values
GRID_BASE = 100.0  # gives waves as long as a small grid; 10000 is for long sentences


def uses_mimetic_init(net: nn.Module) -> bool:
    """Whether the net is one of `model.vit` and was initialised like this."""
    return getattr(getattr(net, "config", None), "init", "") == "mimetic"


@torch.no_grad()
def init_attention(attention: MultiHeadAttention) -> None:
    """Initialise the four weights of self-attention; biases stay as they are."""
    width = len(attention.query.weight)
    size = width // attention.heads
    heads = [_factorise(_near_identity(width, *QUERY_KEY), size) for _ in range(attention.heads)]
    attention.query.weight.copy_(torch.cat([query.T for query, _ in heads]))
    attention.key.weight.copy_(torch.cat([key for _, key in heads]))
    output, value = _factorise(_near_identity(width, *OUTPUT_VALUE), width)
    attention.proj.weight.copy_(output)
    attention.value.weight.copy_(value)


@torch.no_grad()
def init_positions(positions: LearnedPositions, layout: TokenLayout) -> None:
    """Initialise the position codes of patches as waves along rows and columns; others stay."""
    code = positions.code
    waves = wave_code_2d(layout.grid, code.shape[1], GRID_BASE)
    code[len(code) - layout.patches :] = waves.to(code)


def _near_identity(width: int, noise: float, identity: float) -> Tensor:
    return noise * torch.randn(width, width) / width**0.5 + identity * torch.eye(width)


def _factorise(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Split a matrix (D, D) into (D, rank) times (rank, D), as close as that rank allows."""
    u, sizes, v = torch.linalg.svd(product)
    root = sizes[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]
