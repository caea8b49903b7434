"""Sums that are the same to the bit, whatever the order and the grouping of what is added.

Floating-point addition rounds, so the sum of three numbers depends on which two are added first,
and a survey on two machines would differ from the survey on one. Integers have no such order. Each
value is therefore rounded once to a whole number of steps of 2⁻³⁰, which changes a float32 above
2⁻⁷ not at all, and Python's integers, which never overflow, are added. Means and variances are
quotients of integers, rounded once at the end, so no digits cancel either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

STEPS = 1 << 30
"""Steps in one unit."""


def to_steps(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round values to whole steps.

    Returns:
        The steps, int64, 0 where a value is NaN; and which values are there.

    Raises:
        ValueError: for values too large to measure anything here.
    """
    there = ~np.isnan(values)
    steps = np.rint(np.where(there, values, 0.0).astype(np.float64) * STEPS)
    if (np.abs(steps) >= 2.0**62).any():
        raise ValueError("A measure is infinite: the model's numbers overflow on this picture.")
    return steps.astype(np.int64), there


class ExactSums:
    """How many values, their sum and the sum of their squares, for each cell of a table.

        >>> halves = ExactSums((1,)), ExactSums((1,))
        >>> for half, values in zip(halves, ([[0.1], [0.2]], [[0.3]])):
        ...     half.add(np.array(values))
        >>> halves[1].merge(halves[0])
        >>> halves[1].mean().round(6), halves[1].deviation().round(6)
        (array([0.2]), array([0.08165]))

    Args:
        shape: of the table, of at least one dimension.
        squares: whether to sum squares too.
    """

    def __init__(self, shape: Sequence[int], squares: bool = True) -> None:
        self.count = np.zeros(shape, np.int64)
        self.total = np.zeros(shape, object)
        self.squares = np.zeros(shape, object) if squares else None

    def add(self, values: np.ndarray) -> None:
        """Add values (B, *shape); NaN where there is none."""
        steps, there = to_steps(values)
        exact = steps.astype(object)
        self.count += there.sum(0)
        self.total = self.total + exact.sum(0)
        if self.squares is not None:
            self.squares = self.squares + (exact * exact).sum(0)

    def merge(self, other: ExactSums) -> None:
        """Add all that another one of this shape holds."""
        self.count = self.count + other.count
        self.total = self.total + other.total
        if self.squares is not None and other.squares is not None:
            self.squares = self.squares + other.squares

    def mean(self) -> np.ndarray:
        """Compute the mean of each cell, float64; NaN where it has no values."""
        return _divide(self.total, self.count.astype(object) * STEPS)

    def deviation(self) -> np.ndarray:
        """Compute the standard deviation of each cell over its values, float64.

        n Σ x² - (Σ x)² is a whole number, so nothing cancels. NaN where a cell has no values.
        """
        if self.squares is None:
            raise ValueError("Deviations need the sums of squares, which these sums leave out.")
        count = self.count.astype(object)
        above = count * self.squares - self.total * self.total
        return np.sqrt(_divide(above, count * count * STEPS * STEPS))

    def to_json(self) -> dict[str, Any]:
        """Return whole numbers for JSON."""
        squares = None if self.squares is None else self.squares.tolist()
        return {"count": self.count.tolist(), "total": self.total.tolist(), "squares": squares}

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> ExactSums:
        """Restore what `to_json` returned."""
        count = np.array(held["count"], np.int64)
        sums = cls(count.shape, held["squares"] is not None)
        sums.count = count
        sums.total = np.array(held["total"], object)
        if sums.squares is not None:
            sums.squares = np.array(held["squares"], object)
        return sums


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide whole numbers, each quotient rounded once; NaN where the divisor is zero."""
    pairs = zip(above.flat, below.flat, strict=True)
    quotients = [a / b if b else np.nan for a, b in pairs]
    return np.array(quotients, np.float64).reshape(above.shape)
