"""Lay out the tokens of an image, and turn pixels into patches and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

MAX_TOKENS = 10_000  # a photo of 800 pixels in patches of 8
MAX_SIDE = 2048  # pixels of a prepared photo


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Make a size (height, width) of one number or two; ValueError for anything else.

    >>> pair(16), pair((224, 160))
    ((16, 16), (224, 160))
    """
    sides = (size, size) if isinstance(size, int) else size
    if isinstance(sides, str) or not isinstance(sides, Sequence) or len(sides) != 2:
        raise ValueError(f"A size is one number of pixels or (height, width), not {size!r}.")
    height, width = sides
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise ValueError(f"A size is in whole pixels, at least 1, not {size!r}.")
    return height, width


def grid_of(image_size: int | Sequence[int], patch: int | Sequence[int]) -> tuple[int, int]:
    """Count the rows and columns of patches; ValueError where they do not tile the image.

    >>> grid_of(224, 16)
    (14, 14)
    """
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
    """Layout of a sequence of tokens: its prefix, then the patches of a grid.

    The patches follow each other row by row.

        >>> layout = TokenLayout(grid=(14, 14), prefix=("cls",), patch=(16, 16))
        >>> layout.tokens, layout.patches, layout.image_size
        (197, 196, (224, 224))
        >>> layout.index_of(row=2, col=3)
        32
        >>> layout.position_of(32)
        (2, 3)
        >>> layout.position_of(0) is None  # the class token has no place in the image
        True

    Args:
        grid: rows and columns of patches.
        prefix: names of the tokens before the patches: "cls", "dist", "reg0", ...
        patch: height and width of one patch, in pixels of the prepared image.
        units: rows and columns of mask units, of a model that unrolls its tokens (Hiera); None
            where the patches of every layer follow each other row by row. See `model.unrolled`.
    """

    grid: tuple[int, int]
    prefix: tuple[str, ...] = ()
    patch: tuple[int, int] = (16, 16)
    units: tuple[int, int] | None = None

    @property
    def patches(self) -> int:
        """Number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """Number of tokens, prefix included."""
        return len(self.prefix) + self.patches

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the prepared image in pixels."""
        return self.grid[0] * self.patch[0], self.grid[1] * self.patch[1]

    @property
    def patch_slice(self) -> slice:
        """Slice that selects the patch tokens: `map[..., layout.patch_slice]`."""
        return slice(len(self.prefix), self.tokens)

    def covered(self, images: Tensor) -> Tensor:
        """Cut prepared images (..., H, W) to the part that patches cover.

        Where a patch does not divide their sides, this leaves out a rim below and at the right.
        """
        height, width = self.image_size
        return images[..., :height, :width]

    def as_pixels(self, maps: Tensor, height: int, width: int) -> Tensor:
        """Spread values of patches (..., rows, columns) over pixels (..., height, width).

        Each pixel has its patch's value, or zero in a rim that no patch covers.

            >>> import torch
            >>> layout = TokenLayout(grid=(1, 2), patch=(2, 2))
            >>> layout.as_pixels(torch.tensor([[3, 4]]), height=2, width=5)
            tensor([[3, 3, 4, 4, 0],
                    [3, 3, 4, 4, 0]])
        """
        tall, wide = self.patch
        pixels = maps.repeat_interleave(tall, -2).repeat_interleave(wide, -1)
        return F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))

    def index_of(self, row: int, col: int) -> int:
        """Find the token of the patch at (row, col); IndexError outside the grid."""
        rows, cols = self.grid
        if not (0 <= row < rows and 0 <= col < cols):
            raise IndexError(
                f"There is no patch at row {row}, column {col}: the grid has {rows} rows and "
                f"{cols} columns, counted from 0."
            )
        return len(self.prefix) + row * cols + col

    def position_of(self, token: int) -> tuple[int, int] | None:
        """Find (row, col) of a patch token, None for a prefix token; IndexError past the end."""
        if not 0 <= token < self.tokens:
            raise IndexError(f"There is no token {token}: they run from 0 to {self.tokens - 1}.")
        if token < len(self.prefix):
            return None
        return divmod(token - len(self.prefix), self.grid[1])


def check_affordable(layout: TokenLayout) -> None:
    """Raise ValueError for a model that needs too much memory for one photo on a server."""
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
    """Cut images into patches row by row, each flattened channel first.

    It only moves values, so `unpatchify` restores the images to the bit.

        >>> import torch
        >>> images = torch.arange(8.0).reshape(1, 1, 2, 4)
        >>> patchify(images, 2)
        tensor([[[0., 1., 4., 5.],
                 [2., 3., 6., 7.]]])
        >>> torch.equal(unpatchify(patchify(images, 2), 2, grid=(1, 2)), images)
        True

    Args:
        images: (B, C, H, W).
        patch: side of a patch in pixels, or its height and width.

    Returns:
        (B, N, C·p·p) for N patches.

    Raises:
        ValueError: where the patch does not tile the images.
    """
    batch, channels, height, width = images.shape
    rows, cols = grid_of((height, width), patch)
    p, q = pair(patch)
    cells = images.reshape(batch, channels, rows, p, cols, q)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * cols, channels * p * q)


def unpatchify(patches: Tensor, patch: int | Sequence[int], grid: Sequence[int]) -> Tensor:
    """Join patches (B, N, C·p·p) into images (B, C, H, W), the inverse of `patchify`.

    Args:
        patches: (B, N, C·p·p), row by row.
        patch: side of a patch in pixels, or its height and width.
        grid: rows and columns of patches.

    Raises:
        ValueError: where the grid does not hold N patches, or a patch does not hold a whole
            number of channels.
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
