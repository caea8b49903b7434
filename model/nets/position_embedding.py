"""Position embeddings: modules that add to each token the code of its position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POSITIONS = ("learned", "sinusoidal", "none")


def sinusoidal_code(length: int, dim: int) -> Tensor:
    """Compute the fixed position codes of Vaswani et al. 2017: float64 (length, dim).

    P[i, 2j] = sin(i / 10000^(2j/dim)) and P[i, 2j+1] = cos(i / 10000^(2j/dim)).
    Raises ValueError for an odd `dim` (sines and cosines come in pairs) or a length below 1.
    """
    if length < 1:
        raise ValueError(f"A position code has at least one position, not {length}.")
    if dim < 2 or dim % 2:
        raise ValueError(
            f"A sinusoidal code pairs each sine with a cosine, so its width is even: "
            f"{dim} is not, {max(dim + dim % 2, 2)} would be."
        )
    position = torch.arange(length, dtype=torch.float64)
    exponent = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    angle = position[:, None] / 10000.0**exponent
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


class SinusoidalPositions(nn.Module):
    """Add the sinusoidal code to tokens (B, N, D); nothing is learned, or kept in a state dict."""

    code: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        code = sinusoidal_code(length, dim).to(torch.get_default_dtype())
        self.register_buffer("code", code, persistent=False)

    def compute_code(self) -> None:
        """Compute the code again, where the module was built without values."""
        self.code = sinusoidal_code(*self.code.shape).to(self.code.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.code[: tokens.shape[1]]


class LearnedPositions(nn.Module):
    """Add one learned vector for each position to tokens (B, N, D), as in the ViT paper."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        if length < 1 or dim < 1:
            raise ValueError(
                f"A position code has at least one position and one dimension, not {length} "
                f"and {dim}."
            )
        self.code = nn.Parameter(torch.empty(length, dim))
        nn.init.trunc_normal_(self.code, std=0.02, a=-0.04, b=0.04)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.code[: tokens.shape[1]]


def make_positions(kind: str, length: int, dim: int) -> nn.Module:
    """Make the module that adds position codes: "learned", "sinusoidal" or "none"."""
    if kind == "learned":
        return LearnedPositions(length, dim)
    if kind == "sinusoidal":
        return SinusoidalPositions(length, dim)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"There is no position code {kind!r}: choose one of {', '.join(POSITIONS)}.")
