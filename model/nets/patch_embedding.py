"""Patch embeddings: modules that turn an image into its sequence of patch tokens."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from model.tokens import patchify


class LinearPatches(nn.Module):
    """Embed each patch, flattened channel first, by one Linear: (B, C, H, W) -> (B, N, D).

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
    """Embed patches by a convolution whose stride is the patch: (B, C, H, W) -> (B, N, D).

    It computes the same function as `LinearPatches`, with a weight of shape (D, C, p, p).
    """

    def __init__(self, patch: int, channels: int, dim: int, bias: bool = True) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class StemPatches(nn.Module):
    """Embed patches by a stem of small convolutions: (B, C, H, W) -> (B, N, D).

    Each stage is a 3x3 convolution, BatchNorm and GELU, and `depth` - 1 times more of the same with
    a residual; a 1x1 convolution to `dim` ends the stem. The last log2(patch) stages halve the
    image, the ones before keep its size. Neighbouring tokens share some pixels. Xiao et al. 2021,
    "Early Convolutions Help Transformers See Better".

    A 3x3 convolution with stride 2 is centred on one of the two pixels it steps over. With padding
    on all sides this is the first pixel in each stage, so a token would see the surroundings of
    the upper left corner of its patch. With `centred` the last stage takes the second pixel,
    which brings the token to within half a pixel of the middle of its patch.
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
    """Compute the strides of a stem's stages: ones first, then twos; their product is the patch.

        >>> stem_strides(8, stages=(16, 32, 64, 128))
        (1, 2, 2, 2)

    `stages` holds the channels of each stage. Raises ValueError where the patch is not a power of
    two, needs more halvings than there are stages, or where a stage has no channel.
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
    """Convolve 3x3 with stride 2, centred on the second of the two pixels it steps over."""

    def forward(self, features: Tensor) -> Tensor:
        below_and_right = F.pad(features, (0, 1, 0, 1))
        return F.conv2d(below_and_right, self.weight, self.bias, self.stride)


class _Residual(nn.Sequential):
    """Add the output of its modules to their input."""

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
