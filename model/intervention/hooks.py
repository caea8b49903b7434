"""Hooks that act in one thread, and are gone after a `with` block."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Change = Callable[[Tensor], Tensor]


class ThreadHooks:
    """Change what modules are given or return, in the thread that opened the hooks alone.

    The same net may run in other threads meanwhile: there the hooks do nothing.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._handles: list[RemovableHandle] = []

    def before(self, module: nn.Module, change: Change, ndim: int) -> None:
        """Change the first tensor of `ndim` dimensions that the module is given."""

        def hook(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple | None:
            if threading.get_ident() != self._thread:
                return None
            return _change_first(args, kwargs, change, ndim)

        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def after(self, module: nn.Module, change: Change) -> None:
        """Change the tensor that the module returns, or the first of the tuple."""

        def hook(_: nn.Module, __: tuple, output: Any) -> Any:
            if threading.get_ident() != self._thread:
                return None
            if isinstance(output, tuple):
                return change(output[0]), *output[1:]
            return change(output)

        self._handles.append(module.register_forward_hook(hook))

    def remove(self) -> None:
        """Take every hook away."""
        while self._handles:
            self._handles.pop().remove()


def _change_first(
    args: tuple, kwargs: dict[str, Any], change: Change, ndim: int
) -> tuple[tuple, dict[str, Any]] | None:
    for place, value in enumerate(args):
        if isinstance(value, Tensor) and value.ndim == ndim:
            return (*args[:place], change(value), *args[place + 1 :]), kwargs
    for name, value in kwargs.items():
        if isinstance(value, Tensor) and value.ndim == ndim:
            return args, {**kwargs, name: change(value)}
    return None
