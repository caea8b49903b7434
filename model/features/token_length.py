"""How long the tokens are, and which of them are far longer than the rest."""

from __future__ import annotations

from torch import Tensor

FAR = 5.0
"""Standard deviations above the median from which a token is an outlier."""


def token_norms(tokens: Tensor) -> Tensor:
    """Compute the length (Euclidean norm) of each token: (B, N, D) -> (B, N).

    >>> import torch
    >>> token_norms(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]))
    tensor([[5., 1.]])
    """
    return tokens.norm(dim=-1)


def norm_outliers(norms: Tensor, far: float = FAR) -> Tensor:
    """Mark the tokens that are far longer than the rest of their image: (B, N) -> bool (B, N).

    Large models use some patches of smooth background as a memory for the whole picture. Their
    tokens are many times longer than the others, and say little about the place where they stand:
    Darcet et al. 2024, "Vision Transformers Need Registers". They read their threshold off a
    histogram; here a token is an outlier if it is `far` standard deviations above the median,
    with the deviation estimated from the median distance to the median (times 1.4826, as for
    a normal distribution), which outliers do not move.

    >>> import torch
    >>> norm_outliers(torch.tensor([[1.0, 1.1, 0.9, 1.0, 1.05, 9.0]]))
    tensor([[False, False, False, False, False,  True]])
    """
    norms = norms.double()
    above = norms - norms.quantile(0.5, dim=-1, keepdim=True)
    deviation = 1.4826 * above.abs().quantile(0.5, dim=-1, keepdim=True)
    return above > far * deviation.clamp_min(1e-12 + 1e-6 * norms.amax(-1, keepdim=True))
