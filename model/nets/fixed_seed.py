"""Make the same random weights every time, also while other threads draw random numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Net = TypeVar("Net", bound=nn.Module)


def with_fixed_seed(make: Callable[[], Net]) -> Net:
    """Make a net with the same random weights every time.

    Random numbers drawn elsewhere, in this thread or another, neither change nor are changed.

    Args:
        make: builds the net on the CPU.

    Returns:
        The net that `make` returns.

    Example:
        >>> first, second = (with_fixed_seed(lambda: nn.Linear(2, 2)) for _ in range(2))
        >>> torch.equal(first.weight, second.weight)
        True
    """
    with _FixedRandomNumbers():
        return make()


class _FixedRandomNumbers(TorchDispatchMode):
    """Draw random numbers on the CPU from a generator of seed 0, which only this thread has.

    torch's default generator is one for the whole process. Two threads that seed it, or one that
    seeds it and one that draws, disturb each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded in func.tags and _on_cpu(args, given):
            given["generator"] = self.generator
            if not any(argument.name == "generator" for argument in func._schema.arguments):
                kind = func._overloadname  # rand, randn, randperm, randint and randint from a low
                name = {"low": "low_generator"}.get(kind, "generator")
                func = getattr(func.overloadpacket, name)
        return func(*args, **given)


def _on_cpu(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation fills a tensor on the CPU, rather than, for example, only a shape."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else kwargs.get("device") or "cpu"
    return torch.device(device).type == "cpu"
