"""Multi-head attention: who looks at whom, and what they take from there."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SCALES = ("head", "width", "after_softmax")


class MultiHeadAttention(nn.Module):
    """softmax(Q Kᵀ · scale + mask) V in each of H heads, then one projection.

    Vaswani et al. 2017, "Attention Is All You Need". Without `memory` the tokens attend to
    one another (self-attention), with it they attend to the memory (cross-attention).

    `scale_by` names the divisor of the scores:
    - "head": sqrt(dim / heads), as in the paper;
    - "width": sqrt(dim), which makes the maps of models with many heads flatter;
    - "after_softmax": scores undivided, and the *output* divided by sqrt(dim), for weights
      that were trained with that slip. The maps still sum to one.
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
        """`memory_dim`: width of the memory's tokens where it is not `dim`.

        Raises ValueError where the heads do not divide the width or `scale_by` is unknown.
        """
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
        """(B, N, D), and memory (B, M, E) where given -> (B, N, D).

        `mask` broadcasts to (B, H, N, M): booleans that are True where a token may look, or
        floats that are added to the scores. `causal`: token i sees tokens 0 ... i only.
        Raises ValueError where both are given.
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
    """ValueError unless the heads divide the width into equal parts."""
    if dim < 1 or heads < 1:
        raise ValueError(f"Width and heads are positive integers, not {dim} and {heads}.")
    if dim % heads:
        fits = ", ".join(str(h) for h in range(1, min(dim, 64) + 1) if dim % h == 0)
        raise ValueError(
            f"A width of {dim} does not split into {heads} equal heads: {fits} heads would do."
        )
