"""Find the module calls that are running, from the call stack of this thread.

Hooks on modules would be shared by every thread, would stay behind after an error, and would
switch off fast paths. The stack has none of these faults: `nn.Module.__call__` has one frame for
every module that is running, and that frame disappears by itself.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple

from torch import Tensor, nn

_CALL = nn.Module._call_impl.__code__
_OUTER_CALL = nn.Module._wrapped_call_impl.__code__  # calls `_call_impl`
# Where `_call_impl` stands while it runs a module without hooks: at its first call with `*args`.
_WITHOUT_HOOKS = next(
    (each.offset for each in dis.get_instructions(_CALL) if each.opname == "CALL_FUNCTION_EX"), None
)


class ModuleCall(NamedTuple):
    """A module with the arguments of one of its calls."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def given(self) -> list[Any]:
        """All arguments, with lists, tuples and dicts flattened."""
        given: list[Any] = []
        for value in (*self.args, *self.kwargs.values()):
            if isinstance(value, Tensor):
                given.append(value)
            else:
                given += leaves(value)
        return given

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return [value for value in self.given if isinstance(value, Tensor)]


def running_calls() -> list[ModuleCall]:
    """List the module calls that are running in this thread, innermost first.

    A bare `nn.Softmax` is left out: it is a function rather than a part of the net.
    """
    calls = []
    frame: FrameType | None = sys._getframe(1)
    code = _CALL
    while frame is not None:
        if frame.f_code is code:
            scope = _scope(frame)
            if not isinstance(module := scope["self"], nn.Softmax):
                calls.append(ModuleCall(module, scope["args"], scope["kwargs"]))
        frame = frame.f_back
    return calls


def _scope(frame: FrameType) -> dict[str, Any]:
    """Find the module and the arguments of a call by its frame.

    Where no hook has changed them, they are those of the outer frame, whose variables are few:
    Python takes long to gather the others.
    """
    outer = frame.f_back
    if frame.f_lasti == _WITHOUT_HOOKS and outer is not None and outer.f_code is _OUTER_CALL:
        return outer.f_locals
    return frame.f_locals


def calls_inside(modules: Container[int], calls: Sequence[ModuleCall]) -> list[ModuleCall]:
    """Leave out the calls of modules inside which the first of `modules` (by id) runs."""
    for start, call in enumerate(calls):
        if id(call.module) in modules:
            return list(calls[start:])
    return []


def method_call(net: nn.Module) -> ModuleCall | None:
    """Find a method of the net that is running, as in `net.forward_features(x)`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if names and hasattr(net, frame.f_code.co_name):
            owner, *given = (frame.f_locals.get(name) for name in names)
            if owner is net:
                return ModuleCall(net, tuple(given), {})
        frame = frame.f_back
    return None


def leaves(value: Any) -> Iterator[Any]:
    """Flatten lists, tuples and dicts."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, list | tuple):
        yield value
        return
    for part in value:
        yield from leaves(part)
