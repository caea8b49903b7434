"""Between an image and its sequence of patch tokens, in both directions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from model.tokens import patchify


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
