"""Windowed attention put back into the image (Swin Transformer, Liu et al. 2021).

A windowed layer cuts its grid of tokens into windows that attend only inside themselves, as if
each were an image of its own: its maps are (B · windows, H, n, n). Every other layer first
shifts the grid cyclically, so that windows straddle the borders of the layer before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Windows:
    """How a layer's grid of tokens lies in its windows; everything is (rows, columns)."""

    grid: tuple[int, int]  # tokens, before padding to whole windows
    size: tuple[int, int]  # tokens in a window
    shift: tuple[int, int] = (0, 0)  # how far the grid moves up and left before it is cut
    padded_last: bool = False  # whether it moves before it is padded, as in timm, or after

    @property
    def counts(self) -> tuple[int, int]:
        """Windows down and across."""
        return tuple(-(-side // size) for side, size in zip(self.grid, self.size, strict=True))

    @property
    def count(self) -> int:
        return self.counts[0] * self.counts[1]

    @property
    def area(self) -> int:
        """Tokens in a window."""
        return self.size[0] * self.size[1]

    @property
    def circle(self) -> tuple[int, int]:
        """Rows and columns that the shift moves round: with the padding, or without."""
        padded = (count * size for count, size in zip(self.counts, self.size, strict=True))
        return self.grid if self.padded_last else tuple(padded)

    def locate(self, row: int, column: int) -> tuple[int, int]:
        """(window, place in it) of a token of the grid; IndexError outside the grid."""
        if not (0 <= row < self.grid[0] and 0 <= column < self.grid[1]):
            raise IndexError(
                f"There is no token at row {row}, column {column}: this layer has "
                f"{self.grid[0]} x {self.grid[1]}."
            )
        (window_row, y), (window_column, x) = (
            divmod((at - shift) % around, size)
            for at, shift, around, size in zip(
                (row, column), self.shift, self.circle, self.size, strict=True
            )
        )
        return window_row * self.counts[1] + window_column, y * self.size[1] + x

    def join(self, windows: Tensor) -> Tensor:
        """(..., windows, n) -> (..., rows, columns): values back where their tokens lie."""
        leading = windows.shape[:-2]
        down, across = self.counts
        grid = windows.reshape(*leading, down, across, *self.size).transpose(-3, -2)
        grid = grid.reshape(*leading, down * self.size[0], across * self.size[1])
        grid = grid[..., : self.circle[0], : self.circle[1]].roll(self.shift, dims=(-2, -1))
        return grid[..., : self.grid[0], : self.grid[1]]
