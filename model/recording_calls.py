"""Which module is running? Read from the call stack of this thread.

Hooks on modules would be shared by every thread, would stay behind after a mishap, and would
switch off fast paths. The stack has none of that: `nn.Module.__call__` has one frame for every
module that is running, and that frame goes away by itself.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from torch import Tensor, nn

_CALL = nn.Module._call_impl.__code__
_HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads", "n_head", "nhead")


class ModuleCall(NamedTuple):
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def running_calls() -> list[ModuleCall]:
    """The module calls that are running in this thread, innermost first."""
    calls = []
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _CALL:
            scope = frame.f_locals
            calls.append(ModuleCall(scope["self"], scope["args"], scope["kwargs"]))
        frame = frame.f_back
    return calls


def heads_of(calls: list[ModuleCall]) -> int | None:
    """Number of heads that the innermost module with such an attribute tells."""
    for call in calls:
        for attribute in _HEADS:
            heads = getattr(call.module, attribute, None)
            if isinstance(heads, int) and not isinstance(heads, bool) and heads > 0:
                return heads
    return None


def is_attention(name: str) -> bool:
    """Does the name of a module or class speak of attention?"""
    return any(word in name.lower() for word in ("attn", "attention", "softmax"))


def kind_of(name: str, call: ModuleCall, queries: int, keys: int) -> str:
    """ "self" where the tokens attend to themselves, "cross" where to another sequence.

    The attention call alone cannot tell: both may have any lengths. So the module's name is
    asked first ("crossattention", "self_attn"), then whether it was called with two different
    sequences, and the lengths last.
    """
    lowered = name.lower()
    if "cross" in lowered or "encoder_attn" in lowered:
        return "cross"
    if "self" in lowered:
        return "self"
    sequences = [a for a in call.args[:2] if isinstance(a, Tensor) and a.is_floating_point()]
    if len(sequences) == 2 and sequences[0].ndim == sequences[1].ndim == 3:
        same_width = sequences[0].shape[-1] == sequences[1].shape[-1]
        return "cross" if same_width and sequences[0] is not sequences[1] else "self"
    return "self" if queries == keys else "cross"
