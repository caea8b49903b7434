"""Bring recorded tensors from the model's order of dimensions to (B, H, N, d).

Models write a map as (B·H, Q, K), (B·H, blocks, Q, K), (B, H, windows, Q, K), (H, B, Q, K) or
(B, Q, H, K). The number of heads that the module declares, and the batch sizes that the net was
given, decide which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from model.recording.origin import Origin


class Arrangement(NamedTuple):
    """The way from a tensor of the model to (..., H, Q, d)."""

    order: tuple[int, ...]  # permutation
    heads: int | None = None  # that are split off the first dimension beforehand

    def apply(self, tensor: Tensor) -> Tensor:
        """Rearrange a tensor."""
        if self.heads:
            tensor = tensor.unflatten(0, (-1, self.heads))
        return tensor.permute(self.order)

    def undo(self, tensor: Tensor) -> Tensor:
        """Bring a rearranged tensor back."""
        tensor = tensor.permute([self.order.index(place) for place in range(len(self.order))])
        return tensor.flatten(0, 1) if self.heads else tensor


def find_arrangement(
    shape: Sequence[int], origin: Origin, handwritten: bool = False
) -> Arrangement | None:
    """Find the way to (..., H, Q, K); None where the map is that already.

    It is needed where another dimension than the third from the end has as many entries as the
    module has heads: (B, H, windows, Q, K), (H, B, Q, K), or (B, Q, H, K), which only a
    handwritten softmax can mean; and where the first has as many as images and heads together,
    (B·H, blocks, Q, K). Where there are as many images as heads, the map is taken as it is.
    """
    place = len(shape) - 3
    heads = origin.heads
    if place < 1 or not heads or shape[place] == heads:
        return None
    others = list(range(1, place))
    may_hold_heads = shape[0] not in origin.batches and heads > 1
    if may_hold_heads:
        others.append(0)
    if handwritten:
        others.append(place + 1)
    for other in others:
        if shape[other] == heads:
            order = [dimension for dimension in range(len(shape)) if dimension != other]
            return Arrangement((*order[:place], other, *order[place:]))
    images, rest = divmod(shape[0], heads)
    if place == 1 and may_hold_heads and not rest and images in origin.batches:
        return Arrangement((0, 2, 1, 3, 4), heads)
    return None


def to_four_dimensions(tensor: Tensor, origin: Origin, arrangement: Arrangement | None) -> Tensor:
    """Reshape (B·H, N, d), (N, d), or (..., H, N, d) after rearranging, to (B, H, N, d)."""
    tensor = tensor if arrangement is None else arrangement.apply(tensor)
    if tensor.ndim == 2:
        return tensor[None, None]
    if tensor.ndim == 3:
        return tensor.unflatten(0, (-1, _stacked_heads(tensor.shape[0], origin)))
    return tensor if tensor.ndim == 4 else tensor.flatten(0, -4)


def from_four_dimensions(
    tensor: Tensor, shape: Sequence[int], arrangement: Arrangement | None
) -> Tensor:
    """Undo `to_four_dimensions`: (B, H, N, d) -> `shape`, in the model's order of dimensions."""
    if len(shape) < 4 or arrangement is None:
        return tensor.reshape(tuple(shape))
    heads = arrangement.heads
    split = (shape[0] // heads, heads, *shape[1:]) if heads else shape
    return arrangement.undo(tensor.reshape([split[place] for place in arrangement.order]))


def has_one_head(shape: Sequence[int], given: Sequence[int]) -> bool:
    """Whether a map (first, Q, K) has as many entries as its module was given feature maps.

    The module with the heads was given (first, C, H, W) or (first, H, W, C), so no heads share the
    first dimension. Given (first, N, D), it may be that the heads were split off outside.
    """
    return len(shape) == 3 and len(given) == 4 and given[0] == shape[0]


def is_ambiguous(tensor: Tensor, module: nn.Module, origin: Origin) -> bool:
    """Whether (B·H, Q, K) may as well be (H·B, Q, K), which some models write by hand."""
    if tensor.ndim != 3 or isinstance(module, nn.MultiheadAttention):
        return False
    return 1 < _stacked_heads(len(tensor), origin) < len(tensor)


def _stacked_heads(first: int, origin: Origin) -> int:
    """Count the heads of an image that lie in the first of three dimensions, (B·H, Q, K)."""
    if not origin.heads or first % origin.heads or origin.batches == (first,) or origin.one_head:
        return 1
    return origin.heads
