"""Between an image and its sequence of patch tokens, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
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


class LinearPatches(nn.Module):
    """(B, C, H, W) -> (B, N, D): each patch flattened channel first, then one Linear.

    With `norm_eps` LayerNorms stand before and after the Linear, as in lucidrains/vit-pytorch.
    """

    def __init__(
        self,
        patch: int,
        channels: int,
        dim: int,
        bias: bool = True,
        norm_eps: float | None = None,
    ) -> None:
        super().__init__()
        self.patch = patch
        length = channels * patch * patch
        self.norm_pixels, self.norm_tokens = (
            nn.Identity() if norm_eps is None else nn.LayerNorm(width, eps=norm_eps)
            for width in (length, dim)
        )
        self.proj = nn.Linear(length, dim, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm_tokens(self.proj(self.norm_pixels(patchify(images, self.patch))))


class ConvPatches(nn.Module):
    """(B, C, H, W) -> (B, N, D): a convolution whose stride is the patch.

    The same function as `LinearPatches`, its weight shaped (D, C, p, p).
    """

    def __init__(self, patch: int, channels: int, dim: int, bias: bool = True) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class StemPatches(nn.Module):
    """(B, C, H, W) -> (B, N, D): small convolutions instead of one large one.

    Each stage is a 3x3 convolution, BatchNorm and GELU, and `depth` - 1 times more of the same with
    a residual; a 1x1 convolution to `dim` ends it. The last log2(patch) stages halve the image, the
    ones before keep its size. Neighbouring tokens share some pixels. Xiao et al. 2021, "Early
    Convolutions Help Transformers See Better".

    A 3x3 convolution with stride 2 is centred on one of the two pixels it steps over. With the
    usual padding that is the first in each stage, and a token would see the surroundings of its
    patch's upper left corner. `centred` lets the last stage take the second, which brings the
    token to within half a pixel of the patch's middle.
    """

    def __init__(
        self,
        patch: int,
        channels: int,
        dim: int,
        stages: Sequence[int],
        bias: bool = True,
        centred: bool = True,
        depth: int = 1,
    ) -> None:
        super().__init__()
        channels_in = (channels, *stages[:-1])
        steps = list(zip(channels_in, stages, stem_strides(patch, stages), strict=True))
        last = _SecondPixelConv if centred and patch > 1 else nn.Conv2d
        kinds = [nn.Conv2d] * (len(steps) - 1) + [last]
        self.stages = nn.Sequential(
            *(_stage(kind, depth, *step) for kind, step in zip(kinds, steps, strict=True))
        )
        self.proj = nn.Conv2d(stages[-1], dim, kernel_size=1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(self.stages(images)).flatten(2).transpose(1, 2)


def stem_strides(patch: int, stages: Sequence[int]) -> tuple[int, ...]:
    """Strides of a stem's stages, their product the patch: ones first, then twos.

    `stages` are the stages' channels. Raises ValueError where the patch is no power of two,
    has more halvings than there are stages, or a stage has no channel.
    """
    halvings = patch.bit_length() - 1
    if patch != 1 << halvings:
        raise ValueError(
            f"A stem halves the image step by step, so its patch is a power of two, not {patch}."
        )
    if len(stages) < max(halvings, 1):
        raise ValueError(
            f"A stem with patch {patch} has {max(halvings, 1)} or more stages, each with its "
            f"number of channels in `stem`; {len(stages)} given."
        )
    if not all(isinstance(width, int) and width > 0 for width in stages):
        raise ValueError(f"A stem's stages are numbers of channels, at least 1, not {stages!r}.")
    return (1,) * (len(stages) - halvings) + (2,) * halvings


class _SecondPixelConv(nn.Conv2d):
    """A 3x3 convolution with stride 2 centred on the second of the two pixels it steps over."""

    def forward(self, features: Tensor) -> Tensor:
        below_and_right = F.pad(features, (0, 1, 0, 1))
        return F.conv2d(below_and_right, self.weight, self.bias, self.stride)


class _Residual(nn.Sequential):
    """Adds what its modules make of the features to the features."""

    def forward(self, features: Tensor) -> Tensor:
        return features + super().forward(features)


def _stage(
    conv: type[nn.Conv2d], depth: int, channels: int, width: int, stride: int
) -> nn.Sequential:
    more = (_Residual(*_step(nn.Conv2d, width, width, 1)) for _ in range(depth - 1))
    return nn.Sequential(*_step(conv, channels, width, stride), *more)


def _step(conv: type[nn.Conv2d], channels: int, width: int, stride: int) -> tuple[nn.Module, ...]:
    # BatchNorm has a shift of its own, so the convolution needs no bias.
    filters = conv(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
    return filters, nn.BatchNorm2d(width), nn.GELU()
