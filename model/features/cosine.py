"""Which patches are alike: the cosine of their vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def similarity(tokens: Tensor, query: int | Tensor) -> Tensor:
    """Compute the cosine similarity of tokens with one of them, or with a vector.

    Args:
        tokens: (B, N, D).
        query: the index of a token, the same in each image; or vectors, (D,) for all images or
            (B, D), for example a patch's vector in another photo.

    Returns:
        (B, N), from -1 to 1; 0 where a vector is zero.

    Raises:
        ValueError: the vectors have another width than the tokens.
        IndexError: there is no such token.

    >>> tokens = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]])
    >>> similarity(tokens, query=0)
    tensor([[1., 1., 0.]])
    """
    if isinstance(query, Tensor) and query.shape[-1:] != tokens.shape[-1:]:
        raise ValueError(
            f"The query's vectors have the shape {tuple(query.shape)}, and the tokens a width of "
            f"{tokens.shape[-1]}: compare vectors of the same layer and part."
        )
    wanted = query if isinstance(query, Tensor) else tokens[:, query]
    wanted = wanted.expand(len(tokens), -1)
    return torch.einsum("bnd,bd->bn", F.normalize(tokens, dim=-1), F.normalize(wanted, dim=-1))
