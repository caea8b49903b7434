"""Rules that change the scores of a head before its softmax.

The scores of head h are S = Q Kᵀ · scale + bias, (Q, K), and its map is A = softmax(S). Each rule
makes new scores S', and the model goes on with A' = softmax(S').
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import InterventionRefused

MAPS = ("uniform", "identity", "heads_mean")
NEVER = 1e-30  # a weight below this is a mask's, also where a model masks by adding -100

Rule = Callable[[Tensor, Sequence[int]], Tensor]
"""New scores (B, h, Q, K) of the chosen heads, from the scores (B, H, Q, K) of all heads."""


def map_rule(kind: str) -> Rule:
    """Find the rule that replaces a map: "uniform", "identity" or "heads_mean"."""
    rules = {"uniform": uniform_map, "identity": identity_map, "heads_mean": mean_map}
    if kind not in rules:
        raise InterventionRefused(f"There is no map {kind!r}: choose {', '.join(MAPS)}.")
    return rules[kind]


def uniform_map(scores: Tensor, heads: Sequence[int]) -> Tensor:
    """A'_ij = 1 / n_i for the n_i tokens that i may attend to: the mean of their values."""
    chosen = scores[:, heads]
    return torch.zeros_like(chosen).masked_fill(chosen.softmax(-1) < NEVER, -torch.inf)


def identity_map(scores: Tensor, heads: Sequence[int]) -> Tensor:
    """A' = I: each token takes its own value alone."""
    rows, columns = scores.shape[-2:]
    if rows != columns:
        raise InterventionRefused(
            f"The identity needs as many queries as keys, and this map has {rows} and {columns}: "
            "it is cross-attention, or words are written one by one."
        )
    elsewhere = ~torch.eye(rows, dtype=torch.bool, device=scores.device)
    return torch.zeros_like(scores[:, heads]).masked_fill(elsewhere, -torch.inf)


def mean_map(scores: Tensor, heads: Sequence[int]) -> Tensor:
    """A'_h = (1 / H) Σ_g A_g: every chosen head attends by the mean map of all heads."""
    mean = scores.softmax(-1).mean(1, keepdim=True).log()
    return mean.expand(-1, len(heads), -1, -1)


@dataclass(frozen=True)
class Scaled:
    """S' = c · S, which sharpens the map for c > 1 and flattens it for c < 1.

    c = √d undoes the division by √d, and c = 1 / T is a temperature T. Where a model adds a bias
    to its scores, the bias is scaled too; a mask of -inf stays one.
    """

    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor < float("inf"):
            raise InterventionRefused(
                f"Scores are scaled by a number above 0, not {self.factor}. A uniform map is "
                "what scores of zero would give: maps={layer: 'uniform'}."
            )

    def __call__(self, scores: Tensor, heads: Sequence[int]) -> Tensor:
        return scores[:, heads] * self.factor


@dataclass(frozen=True)
class KnockedOut:
    """Attention knock-out: S'_ij = -inf where token j is not `kept`, and S_ij elsewhere.

    The softmax shares a row's attention among the tokens that are left. Geva et al. 2023,
    "Dissecting Recall of Factual Associations in Auto-Regressive Language Models".
    """

    tokens: tuple[int, ...]
    only: bool = False  # whether the tokens are the only ones left, or the ones taken away

    def __call__(self, scores: Tensor, heads: Sequence[int]) -> Tensor:
        keys = scores.shape[-1]
        if outside := [token for token in self.tokens if not 0 <= token < keys]:
            raise InterventionRefused(
                f"There is no token {outside[0]} to attend to: the tokens run from 0 to {keys - 1}."
            )
        out = torch.zeros(keys, dtype=torch.bool, device=scores.device)
        out[list(self.tokens)] = True
        out = ~out if self.only else out
        if out.all():
            raise InterventionRefused("A query attends to something: leave it one token at least.")
        changed = scores[:, heads].masked_fill(out, -torch.inf)
        if (changed.amax(-1) == -torch.inf).any():
            raise InterventionRefused(
                "Some queries may attend to none of the tokens that are left, because the model "
                "masks these: choose other tokens."
            )
        return changed
