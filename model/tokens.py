"""The tokens of an image: which stands for which patch, and pixels to patches and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

MAX_TOKENS = 10_000  # a photo of 800 pixels in patches of 8
MAX_SIDE = 2048  # pixels of a prepared photo


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """`16` or `(16, 16)` -> `(16, 16)`: height, then width. ValueError for anything else."""
    sides = (size, size) if isinstance(size, int) else size
    if isinstance(sides, str) or not isinstance(sides, Sequence) or len(sides) != 2:
        raise ValueError(f"A size is one number of pixels or (height, width), not {size!r}.")
    height, width = sides
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise ValueError(f"A size is in whole pixels, at least 1, not {size!r}.")
    return height, width


def grid_of(image_size: int | Sequence[int], patch: int | Sequence[int]) -> tuple[int, int]:
    """Rows and columns of patches; ValueError where the patch does not tile the image."""
    (height, width), (patch_height, patch_width) = pair(image_size), pair(patch)
    if height % patch_height or width % patch_width:
        raise ValueError(
            f"Patches of {patch_height} x {patch_width} pixels do not tile an image of "
            f"{height} x {width}: {_sizes_that_fit(height, width)}."
        )
    return height // patch_height, width // patch_width


def _sizes_that_fit(height: int, width: int) -> str:
    fits = [
        p for p in range(1, min(height, width, MAX_SIDE) + 1) if height % p == 0 and width % p == 0
    ]
    return f"square patches of {', '.join(map(str, fits))} pixels would"


@dataclass(frozen=True)
class TokenLayout:
    """What each token of a sequence stands for.

    A sequence is its prefix tokens in order, then the patches row by row.
    """

    grid: tuple[int, int]
    """Rows and columns of patches."""
    prefix: tuple[str, ...] = ()
    """Names of the tokens before the patches: "cls", "dist", "reg0", ..."""
    patch: tuple[int, int] = (16, 16)
    """Height and width of one patch in pixels of the prepared image."""

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        return len(self.prefix) + self.patches

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the prepared image in pixels."""
        return self.grid[0] * self.patch[0], self.grid[1] * self.patch[1]

    @property
    def patch_slice(self) -> slice:
        """Selects the patch tokens: `map[..., layout.patch_slice]`."""
        return slice(len(self.prefix), self.tokens)

    def covered(self, images: Tensor) -> Tensor:
        """The part of prepared images (..., H, W) that patches cover: all of them, but for a rim
        below and at the right where a patch does not divide their sides."""
        height, width = self.image_size
        return images[..., :height, :width]

    def as_pixels(self, maps: Tensor, height: int, width: int) -> Tensor:
        """Values of patches (..., rows, columns) -> of an image's pixels (..., height, width).

        Each pixel has its patch's value, or zero in a rim that no patch covers.
        """
        tall, wide = self.patch
        pixels = maps.repeat_interleave(tall, -2).repeat_interleave(wide, -1)
        return F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))

    def index_of(self, row: int, col: int) -> int:
        """Token index of the patch at (row, col); IndexError outside the grid."""
        rows, cols = self.grid
        if not (0 <= row < rows and 0 <= col < cols):
            raise IndexError(
                f"There is no patch at row {row}, column {col}: the grid has {rows} rows and "
                f"{cols} columns, counted from 0."
            )
        return len(self.prefix) + row * cols + col

    def position_of(self, token: int) -> tuple[int, int] | None:
        """(row, col) of a patch token, None for a prefix token; IndexError beyond the end."""
        if not 0 <= token < self.tokens:
            raise IndexError(f"There is no token {token}: they run from 0 to {self.tokens - 1}.")
        if token < len(self.prefix):
            return None
        return divmod(token - len(self.prefix), self.grid[1])


def check_affordable(layout: TokenLayout) -> None:
    """Raises ValueError, in a sentence, for a model that one photo would cost a server's memory."""
    if layout.tokens > MAX_TOKENS:
        raise ValueError(
            f"It cuts a picture into {layout.tokens:,} tokens, each of which attends to all; at "
            f"most {MAX_TOKENS:,} can be computed here."
        )
    if max(layout.image_size) > MAX_SIDE:
        raise ValueError(
            f"It takes pictures of {max(layout.image_size):,} pixels; at most {MAX_SIDE:,} can be "
            "computed here."
        )


def patchify(images: Tensor, patch: int | Sequence[int]) -> Tensor:
    """(B, C, H, W) -> (B, N, C·p·p): patches row by row, each flattened channel first.

    Only moves values, so `unpatchify` gives the images back to the bit.
    Raises ValueError where the patch does not tile the images.
    """
    batch, channels, height, width = images.shape
    rows, cols = grid_of((height, width), patch)
    p, q = pair(patch)
    cells = images.reshape(batch, channels, rows, p, cols, q)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * cols, channels * p * q)


def unpatchify(patches: Tensor, patch: int | Sequence[int], grid: Sequence[int]) -> Tensor:
    """(B, N, C·p·p) -> (B, C, H, W), the inverse of `patchify`.

    `grid` is (rows, columns). Raises ValueError where it does not hold N patches, or the
    patches are no whole number of channels.
    """
    batch, count, length = patches.shape
    (rows, cols), (p, q) = grid, pair(patch)
    if rows * cols != count:
        raise ValueError(f"A grid of {rows} x {cols} holds {rows * cols} patches, not {count}.")
    if length % (p * q):
        raise ValueError(
            f"Patches of {length} values are no whole number of channels of {p} x {q} pixels."
        )
    channels = length // (p * q)
    cells = patches.reshape(batch, rows, cols, channels, p, q)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows * p, cols * q)
