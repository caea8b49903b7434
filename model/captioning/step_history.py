"""Per-step decoder state, kept so that attention maps can be rebuilt after beam search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepHistory:
    """The tensors (B, ..., words, features) of each step, for the words so far.

    Each step keeps its tensors as they were, and which rows of the step before its own rows
    continue: while a captioner writes, nothing is copied.
    """

    steps: tuple[tuple[list[int] | None, tuple[Tensor, ...]], ...] = ()
    rows: list[int] | None = None  # selected since the last step; None: all as they are

    def select(self, rows: Tensor) -> StepHistory:
        """Keep these rows of the batch, in this order; a row may come twice."""
        return StepHistory(self.steps, _compose(self.rows, rows.tolist()))

    def append(self, *parts: Tensor) -> StepHistory:
        """Return the history with one more step; every step has as many tensors."""
        return StepHistory((*self.steps, (self.rows, parts)))

    def gather(self) -> list[Tensor]:
        """Join the tensors of all steps along the words."""
        rows: list[int] | None = self.rows
        found: list[Sequence[Tensor]] = []
        for before, parts in reversed(self.steps):
            found.append(parts if rows is None else [_take(part, rows) for part in parts])
            rows = _compose(before, rows)
        return [torch.cat(parts[::-1], dim=-2) for parts in zip(*found, strict=True)]


def _take(part: Tensor, rows: list[int]) -> Tensor:
    """Select rows of a tensor. A single row, the most frequent case, is not copied."""
    return part[rows] if len(rows) > 1 else part[rows[0] : rows[0] + 1]


def _compose(rows: list[int] | None, chosen: list[int] | None) -> list[int] | None:
    """Select the `chosen` among the `rows`; None stands for all of them."""
    if rows is None or chosen is None:
        return chosen if rows is None else rows
    return [rows[i] for i in chosen]
