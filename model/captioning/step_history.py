"""What a captioner remembers of its way, so that it can tell later where it looked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepHistory:
    """The tensors (B, ..., words, features) of each step, for the words so far.

    Steps are kept as they came, each with the rows of the step before from which its own rows
    went on: while a captioner writes, nothing is copied.
    """

    steps: tuple[tuple[list[int] | None, tuple[Tensor, ...]], ...] = ()
    rows: list[int] | None = None  # chosen since the last step; None: all as they are

    def select(self, rows: Tensor) -> StepHistory:
        """The trail for these rows of the batch, in this order; a row may come twice."""
        return StepHistory(self.steps, _of(self.rows, rows.tolist()))

    def then(self, *parts: Tensor) -> StepHistory:
        """The trail with the words that come next, as many tensors for each step."""
        return StepHistory((*self.steps, (self.rows, parts)))

    def gather(self) -> list[Tensor]:
        """Each of the steps' tensors for all words so far."""
        rows, found = self.rows, []
        for before, parts in reversed(self.steps):
            found.append(parts if rows is None else [_picked(part, rows) for part in parts])
            rows = _of(before, rows)
        return [torch.cat(parts[::-1], dim=-2) for parts in zip(*found, strict=True)]


def _picked(part: Tensor, rows: list[int]) -> Tensor:
    """The rows of a tensor. One row, the usual wish, is not copied."""
    return part[rows] if len(rows) > 1 else part[rows[0] : rows[0] + 1]


def _of(rows: list[int] | None, chosen: list[int] | None) -> list[int] | None:
    """Of the `rows`, those `chosen`; None is all of them."""
    if rows is None or chosen is None:
        return chosen if rows is None else rows
    return [rows[i] for i in chosen]
