"""A model of a library, with the input of two images that it is run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map


class NoSubject(Exception):
    """The model cannot be built or run here, for a reason that is not the recorder's."""


@dataclass
class Subject:
    """A net with its input for two images; `first` is the input for the first of them alone."""

    net: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    cut: Callable[[Subject], tuple[tuple, dict]] | None = None
    """Makes the input of the first image where it is not the first entry of every tensor."""
    eager: Callable[[Subject], list[Tensor]] | None = None
    """Runs the net so that its library returns its own maps, (B, H, Q, K) each."""
    packed: bool = False
    """Whether the tokens of both images stand in one sequence."""
    nested: bool = False
    """Whether the images are a nested tensor, whose products cannot be followed from below."""

    def run(self) -> Any:
        """Run the net on both images."""
        return self.net(*self.args, **self.kwargs)

    def first(self) -> Subject:
        """The same net with the first image alone."""
        if self.cut is not None:
            args, kwargs = self.cut(self)
        else:
            args, kwargs = tree_map(_first_of_two, (self.args, self.kwargs))
        return Subject(self.net, args, kwargs, packed=self.packed, nested=self.nested)


def _first_of_two(value: Any) -> Any:
    return value[:1] if isinstance(value, Tensor) and value.ndim and len(value) == 2 else value


def images(*shape: int, seed: int = 0) -> Tensor:
    """Draw two images of a shape, from a seed."""
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


def tensors_of(output: Any) -> list[Tensor]:
    """List the floating-point tensors in what a net returned."""
    if hasattr(output, "to_tuple"):
        output = output.to_tuple()
    leaves = tree_leaves(output)
    return [x for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]
