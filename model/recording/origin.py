"""The origin of an attention call, by which calls that belong together are found."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Step(NamedTuple):
    """A module call between the net and its attention, kept as numbers, so that it is light."""

    call: int
    given: tuple[int, ...]  # numbers of the tensors that the module was given


class Origin(NamedTuple):
    """The forward pass and the module calls that a record comes from."""

    run: int = 0  # number of the forward pass, among all that the recorder saw
    path: tuple[Step, ...] = ()  # from the net inwards
    batches: tuple[int, ...] = ()  # how many images the net may have been given; empty: unknown
    heads: int | None = None  # how many the module declares
    one_head: bool = False  # whether a map (first, Q, K) has as many as its module has inputs
    stacked: bool = False  # whether images and heads share a dimension, in an unknown order


def version_of(tensor: Tensor) -> int | None:
    """Count how often something was written into the tensor; None in inference mode."""
    return None if tensor.is_inference() else tensor._version
