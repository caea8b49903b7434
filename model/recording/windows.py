"""Put windowed attention back into the image (Swin Transformer, Liu et al. 2021).

A windowed layer cuts its grid of tokens into windows. Tokens attend only inside their window, as
if it were an image of its own: the maps are (B · windows, H, n, n). Every second layer first
shifts the grid cyclically, so that its windows cross the borders of the layer before.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """The windows of a layer's grid of tokens; every size is (rows, columns).

    >>> windows = Windows(grid=(4, 4), size=(2, 2), shift=(1, 1))
    >>> windows.count, windows.area
    (4, 4)
    >>> windows.locate(row=1, column=2)  # number of the window, number of the token in it
    (0, 1)
    """

    grid: tuple[int, int]  # tokens, before padding to whole windows
    size: tuple[int, int]  # tokens in a window
    shift: tuple[int, int] = (0, 0)  # how far the grid moves up and left before it is cut
    padded_last: bool = False  # whether it moves before it is padded, as in timm, or after

    @property
    def counts(self) -> tuple[int, int]:
        """Windows down and across."""
        rows, columns = (-(-side // size) for side, size in zip(self.grid, self.size, strict=True))
        return rows, columns

    @property
    def count(self) -> int:
        """Number of windows."""
        return self.counts[0] * self.counts[1]

    @property
    def area(self) -> int:
        """Number of tokens in a window."""
        return self.size[0] * self.size[1]

    @property
    def circle(self) -> tuple[int, int]:
        """Rows and columns that the shift moves cyclically: with the padding, or without."""
        if self.padded_last:
            return self.grid
        return self.counts[0] * self.size[0], self.counts[1] * self.size[1]

    def locate(self, row: int, column: int) -> tuple[int, int]:
        """Find the window of a token and its index there; IndexError outside the grid."""
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
        """Put values back where their tokens lie: (..., windows, n) -> (..., rows, columns)."""
        leading = windows.shape[:-2]
        down, across = self.counts
        grid = windows.reshape(*leading, down, across, *self.size).transpose(-3, -2)
        grid = grid.reshape(*leading, down * self.size[0], across * self.size[1])
        grid = grid[..., : self.circle[0], : self.circle[1]].roll(self.shift, dims=(-2, -1))
        return grid[..., : self.grid[0], : self.grid[1]]
