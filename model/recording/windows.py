"""Put windowed attention back into the image (Swin Transformer, Liu et al. 2021).

A windowed layer cuts its grid of tokens into windows. Tokens attend only inside their window, as
if it were an image of its own: the maps are (B · windows, H, n, n). Every second layer first
shifts the grid cyclically, so that its windows cross the borders of the layer before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
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
    order: tuple[int, ...] | None = None  # the token in each slot, where no neighbours share one

    @classmethod
    def apart(cls, grid: tuple[int, int], size: tuple[int, int]) -> Windows:
        """Make windows whose tokens lie apart and cover the grid evenly, as MaxViT's grids do.

        ValueError where the size does not divide the grid.

        >>> Windows.apart(grid=(4, 4), size=(2, 2)).order[:4]  # of the first window
        (0, 2, 8, 10)
        """
        return cls(grid, size, order=_tokens_apart(grid, size))

    @classmethod
    def unrolled(
        cls, grid: tuple[int, int], strides: tuple[tuple[int, int], ...], whole: bool = False
    ) -> Windows:
        """Make the mask units of Hiera, or its order of the whole grid, which is cut into them.

        Hiera brings the tokens that it will pool next to the front, stride by stride, so that each
        place of a unit is followed by the same place of the other units.

        >>> Windows.unrolled(grid=(4, 4), strides=((2, 2),)).order[:4]  # of the first unit
        (0, 1, 4, 5)
        >>> Windows.unrolled(grid=(4, 4), strides=((2, 2),), whole=True).order[:4]
        (0, 2, 8, 10)
        """
        order, unit = _unrolled(grid, strides)
        if whole:
            return cls(grid, grid, order=order)
        count = len(order) // (unit[0] * unit[1])
        return cls(grid, unit, order=tuple(n for w in range(count) for n in order[w::count]))

    @property
    def places_by_row(self) -> tuple[int, ...] | None:
        """The places of a window row by row; None where they are in that order already."""
        if self.order is None:
            return None
        tokens = self.order[: self.area]
        places = tuple(sorted(range(self.area), key=tokens.__getitem__))
        return None if places == tuple(range(self.area)) else places

    @property
    def spacing(self) -> tuple[int, int]:
        """How far apart the tokens of a window lie, in rows and columns: (1, 1) for neighbours."""
        if self.order is None:
            return 1, 1
        tokens = sorted(self.order[: self.area])
        first, columns = tokens[0], self.size[1]
        below, beside = tokens[columns % self.area], tokens[1 % columns]
        down = below // self.grid[1] - first // self.grid[1]
        return max(1, down), max(1, beside - first)

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
        if self.order is not None:
            return divmod(self.order.index(row * self.grid[1] + column), self.area)
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
        if self.order is not None:
            slots = torch.tensor(self.order, device=windows.device).argsort()
            return windows.flatten(-2)[..., slots].unflatten(-1, self.grid)
        down, across = self.counts
        grid = windows.reshape(*leading, down, across, *self.size).transpose(-3, -2)
        grid = grid.reshape(*leading, down * self.size[0], across * self.size[1])
        grid = grid[..., : self.circle[0], : self.circle[1]].roll(self.shift, dims=(-2, -1))
        return grid[..., : self.grid[0], : self.grid[1]]


@lru_cache(maxsize=256)
def _tokens_apart(grid: tuple[int, int], size: tuple[int, int]) -> tuple[int, ...]:
    """List the tokens of the first window, then of the second, ...: each window row by row."""
    (rows, columns), (down, across) = grid, size
    if rows % down or columns % across:
        raise ValueError(f"Windows of {down} x {across} do not divide {rows} x {columns} tokens.")
    tokens = torch.arange(rows * columns).view(down, rows // down, across, columns // across)
    return tuple(tokens.permute(1, 3, 0, 2).flatten().tolist())


@lru_cache(maxsize=256)
def _unrolled(
    grid: tuple[int, int], strides: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The tokens in the order of Hiera, and the size of its units."""
    tokens = torch.arange(grid[0] * grid[1]).view(1, *grid)
    down, across = 1, 1
    for rows, columns in strides:
        cut = tokens.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
        tokens = cut.permute(0, 2, 4, 1, 3).flatten(0, 2)
        down, across = down * rows, across * columns
    return tuple(tokens.flatten().tolist()), (down, across)
