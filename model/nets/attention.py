"""Multi-head attention, among tokens or from tokens to a memory."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SCALES = ("head", "width", "after_softmax")


class MultiHeadAttention(nn.Module):
    """Compute softmax(Q Kᵀ · scale + mask) V in each of H heads, then one projection.

        >>> import torch
        >>> attention = MultiHeadAttention(dim=48, heads=3)
        >>> attention(torch.randn(2, 5, 48)).shape  # tokens (B, N, D)
        torch.Size([2, 5, 48])

    Vaswani et al. 2017, "Attention Is All You Need". Without `memory` the tokens attend to
    one another (self-attention), with it they attend to the memory (cross-attention).

    Args:
        dim: width D of the tokens.
        heads: number of heads H, which divides the width.
        memory_dim: width of the memory's tokens, where it is not `dim`.
        qkv_bias: whether queries, keys and values have a bias.
        out_bias: whether the projection has a bias.
        scale_by: the divisor of the scores. "head" is sqrt(dim / heads), as in the paper;
            "width" is sqrt(dim), which makes the maps of models with many heads flatter;
            "after_softmax" leaves the scores undivided and divides the *output* by sqrt(dim),
            for weights that were trained with this mistake. The maps still sum to one.
        dropout: probability of dropout on the map.

    Raises:
        ValueError: where the heads do not divide the width, or `scale_by` is unknown.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        memory_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        scale_by: str = "head",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        if scale_by not in SCALES:
            raise ValueError(f"scale_by={scale_by!r} is unknown: choose {', '.join(SCALES)}.")
        self.heads = heads
        self.dropout = dropout
        self.scale = {"head": (dim // heads) ** -0.5, "width": dim**-0.5}.get(scale_by, 1.0)
        self.gain = dim**-0.5 if scale_by == "after_softmax" else 1.0
        self.query = nn.Linear(dim, dim, bias=qkv_bias)
        self.key = nn.Linear(memory_dim or dim, dim, bias=qkv_bias)
        self.value = nn.Linear(memory_dim or dim, dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=out_bias)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend from tokens (B, N, D) to themselves, or to a memory (B, M, E): (B, N, D).

        `mask` broadcasts to (B, H, N, M): booleans, True where a token may attend, or floats that
        are added to the scores. With `causal`, token i attends to tokens 0 ... i only. Raises
        ValueError where both are given.
        """
        if causal and mask is not None:
            raise ValueError("Give either mask or causal=True: a mask can hold both.")
        memory = tokens if memory is None else memory
        mixed = F.scaled_dot_product_attention(
            self._split(self.query(tokens)),
            self._split(self.key(memory)),
            self._split(self.value(memory)),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
            scale=self.scale,
        )
        mixed = mixed.transpose(1, 2).flatten(2)
        return self.proj(mixed if self.gain == 1.0 else mixed * self.gain)

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, H, N, d)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def check_heads(dim: int, heads: int) -> None:
    """Raise ValueError unless the heads divide the width into equal parts."""
    if dim < 1 or heads < 1:
        raise ValueError(f"Width and heads are positive integers, not {dim} and {heads}.")
    if dim % heads:
        fits = ", ".join(str(h) for h in range(1, min(dim, 64) + 1) if dim % h == 0)
        raise ValueError(
            f"A width of {dim} does not split into {heads} equal heads: {fits} heads would do."
        )
