"""Which module is running? Read from the call stack of this thread.

Hooks on modules would be shared by every thread, would stay behind after a mishap, and would
switch off fast paths. The stack has none of that: `nn.Module.__call__` has one frame for every
module that is running, and that frame goes away by itself.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from model.windows import Windows

_CALL = nn.Module._call_impl.__code__
_HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads", "n_head", "nhead")


class ModuleCall(NamedTuple):
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def running_calls() -> list[ModuleCall]:
    """The module calls that are running in this thread, innermost first.

    A bare `nn.Softmax` is a function more than a place, and left out.
    """
    calls = []
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _CALL:
            scope = frame.f_locals
            if not isinstance(scope["self"], nn.Softmax):
                calls.append(ModuleCall(scope["self"], scope["args"], scope["kwargs"]))
        frame = frame.f_back
    return calls


def attends(module: nn.Module) -> bool:
    """Does the module look like one that attends, by its class or by having heads?"""
    kind = type(module).__name__.lower()
    return any(word in kind for word in ("attn", "attention", "softmax")) or bool(_heads(module))


def heads_of(calls: list[ModuleCall]) -> int | None:
    """Number of heads, from the innermost module that tells it."""
    teller = _teller(calls)
    return None if teller is None else teller[1]


def kind_of(name: str, calls: list[ModuleCall], queries: int, keys: int) -> str:
    """ "self" where the tokens attend to themselves, "cross" where to another sequence.

    The attention call alone cannot tell: both may have any lengths. So the module's name is
    asked first ("crossattention", "self_attn"), then the module that knows the heads: whether it
    says so itself (GPT-2, which with a cache has more keys than queries), or was called with two
    different sequences. The lengths come last.
    """
    lowered = name.lower()
    if "cross" in lowered or "encoder_attn" in lowered:
        return "cross"
    if "self" in lowered:
        return "self"
    teller = _teller(calls)
    told = None if teller is None else getattr(teller[0].module, "is_cross_attention", None)
    if isinstance(told, bool):
        return "cross" if told else "self"
    first, second = _two_sequences(calls[0] if teller is None else teller[0])
    if first is not None:
        return "self" if first is second else "cross"
    return "self" if queries == keys else "cross"


def windows_of(calls: list[ModuleCall], batch: int, tokens: int) -> Windows | None:
    """How the grid is cut, from the innermost module that was called with a grid and cuts it."""
    for call in calls:
        size = _pair(getattr(call.module, "window_size", None))
        grid = _grid(call)
        if size and grid:
            windows = Windows(grid, size)
            shift = _pair(getattr(call.module, "shift_size", 0)) or (0, 0)
            # A side that is one window has nothing to shift, whatever the module's attribute.
            shift = tuple(s if n > 1 else 0 for s, n in zip(shift, windows.counts, strict=True))
            fits = tokens == windows.area and batch % windows.count == 0
            return replace(windows, shift=shift) if fits else None
    return None


def _teller(calls: list[ModuleCall]) -> tuple[ModuleCall, int] | None:
    return next(((call, heads) for call in calls if (heads := _heads(call.module))), None)


def _heads(module: nn.Module) -> int | None:
    for attribute in _HEADS:
        heads = getattr(module, attribute, None)
        if isinstance(heads, int) and heads > 0:
            return heads
    return None


def _two_sequences(call: ModuleCall) -> tuple[Tensor | None, Tensor | None]:
    """The first two arguments, where both are sequences (B, N, D) of one width."""
    match call.args:
        case (Tensor(ndim=3) as first, Tensor(ndim=3) as second, *_):
            if first.shape[-1] == second.shape[-1] and second.is_floating_point():
                return first, second
    return None, None


def _grid(call: ModuleCall) -> tuple[int, int] | None:
    """Rows and columns of the call's tokens: (B, rows, columns, D), or (B, N, D) and a pair."""
    match call.args:
        case (Tensor(ndim=4) as tokens, *_):
            return tuple(tokens.shape[1:3])
        case (Tensor(ndim=3), (int(rows), int(columns)), *_):
            return rows, columns
    return None


def _pair(size: Any) -> tuple[int, int] | None:
    match size:
        case int():
            return size, size
        case (int(rows), int(columns)):
            return rows, columns
    return None
