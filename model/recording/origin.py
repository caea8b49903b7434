"""Where an attention call came from, so that calls which belong together can be found."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Step(NamedTuple):
    """A module call on the way from the net to where it attends; numbers, so that it is light."""

    call: int
    given: tuple[int, ...]  # the tensors that the module was given, and what may hold some


class Origin(NamedTuple):
    """Where a record comes from: what tells records apart that do not belong together."""

    run: int = 0  # the forward pass, of those that the recorder saw
    path: tuple[Step, ...] = ()  # from the net inwards
    batches: tuple[int, ...] = ()  # how many images the net may have been given; empty: unknown
    heads: int | None = None  # how many the module says that it has
    stacked: bool = False  # whether images and heads share a dimension, in an order unknown


def version_of(tensor: Tensor) -> int | None:
    """Counts how often something was written into the tensor; None in inference mode."""
    return None if tensor.is_inference() else tensor._version
