"""Bring recorded tensors from the model's order of dimensions to (B, H, N, d).

Models write a map as (B·H, Q, K), (B, H, windows, Q, K), (H, B, Q, K) or (B, Q, H, K). The number
of heads that the module declares, and the batch sizes that the net was given, decide which.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from model.recording.origin import Origin


def find_order(
    shape: Sequence[int], origin: Origin, handwritten: bool = False
) -> tuple[int, ...] | None:
    """Find the permutation to (..., H, Q, K); None where the order is that already.

    It is needed where another dimension than the third from the end has as many entries as the
    module has heads: (B, H, windows, Q, K), (H, B, Q, K), or (B, Q, H, K), which only a
    handwritten softmax can mean. Where there are as many images as heads, the map is taken as
    it is.
    """
    place = len(shape) - 3
    if place < 1 or not origin.heads or shape[place] == origin.heads:
        return None
    others = list(range(1, place))
    if shape[0] not in origin.batches and origin.heads > 1:
        others.append(0)
    if handwritten:
        others.append(place + 1)
    for other in others:
        if shape[other] == origin.heads:
            order = [dimension for dimension in range(len(shape)) if dimension != other]
            return (*order[:place], other, *order[place:])
    return None


def to_four_dimensions(tensor: Tensor, origin: Origin, order: tuple[int, ...] | None) -> Tensor:
    """Reshape (B·H, N, d), (N, d), or (..., H, N, d) after reordering, to (B, H, N, d)."""
    if tensor.ndim == 2:
        return tensor[None, None]
    if tensor.ndim == 3:
        return tensor.unflatten(0, (-1, _stacked_heads(tensor.shape[0], origin)))
    tensor = tensor if order is None else tensor.permute(order)
    return tensor if tensor.ndim == 4 else tensor.flatten(0, -4)


def from_four_dimensions(
    tensor: Tensor, shape: Sequence[int], order: tuple[int, ...] | None
) -> Tensor:
    """Undo `to_four_dimensions`: (B, H, N, d) -> `shape`, in the model's order of dimensions."""
    if len(shape) < 4 or order is None:
        return tensor.reshape(tuple(shape))
    ordered = tensor.reshape([shape[place] for place in order])
    return ordered.permute([order.index(place) for place in range(len(order))])


def is_ambiguous(tensor: Tensor, module: nn.Module, origin: Origin) -> bool:
    """Whether (B·H, Q, K) may as well be (H·B, Q, K), which some models write by hand."""
    if tensor.ndim != 3 or isinstance(module, nn.MultiheadAttention):
        return False
    return 1 < _stacked_heads(len(tensor), origin) < len(tensor)


def _stacked_heads(first: int, origin: Origin) -> int:
    """Count the heads of an image that lie in the first of three dimensions, (B·H, Q, K)."""
    if not origin.heads or first % origin.heads or origin.batches == (first,):
        return 1
    return origin.heads
