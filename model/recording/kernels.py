"""See the fused attention calls of this thread at torch's dispatcher.

A function mode is shown every call of torch, and a small net pays for that. The dispatcher looks up
a kernel for each operation and, among its keys, has one that torch keeps for its own tests and no
device uses. Kernels for that key stand here: of fused attention, and of the few operations that
tell that a net attends in another way. All others fall through it. A thread meets the key only
while it is switched on there, so other threads run as if it did not exist.

What a net hides from this is seen by the function mode, so the first recording of a net uses that,
and so does the rest of a recording in which the net has changed its way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

_NAME = "TESTING_ONLY_GenericMode"

# Operations that end the quiet way, with the functions of torch that they stand for.
_OTHER_WAYS: dict[str, Callable] = {
    "softmax.int": torch.softmax,
    "special_softmax": torch.softmax,
    "log_softmax.int": torch.log_softmax,
    "special_log_softmax": torch.log_softmax,
    "exp": torch.exp,
    "exp_": Tensor.exp_,
    "logsumexp": torch.logsumexp,
}
_HIDDEN = (
    *("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    *("_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu"),
    *("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"),
    *("_scaled_dot_product_attention_math", "_flash_attention_forward"),
    *("_efficient_attention_forward", "_scaled_dot_product_fused_attention_overrideable"),
)


def _find_key() -> Any:
    try:
        return torch._C._parse_dispatch_key(_NAME)
    except (AttributeError, RuntimeError):
        return None


class Watcher(Protocol):
    """What is told of the operations of its thread."""

    def see_fused(self, output: Tensor, *args: Any, **kwargs: Any) -> None:
        """See a fused attention call."""

    def see_roll(self, input: Tensor, shifts: Any, dims: Any) -> None:
        """See a roll, as before a grid is cut into windows."""

    def see_other_way(self, func: Callable, args: tuple, result: Any) -> None:
        """See the first sign that the net attends otherwise, and `unwatch`."""

    def see_hidden(self, what: str) -> None:
        """See attention inside one kernel, of which nothing can be recorded."""

    def see_everything(self) -> None:
        """Go over to a function mode, and `unwatch`."""


class _Thread(threading.local):
    def __init__(self) -> None:
        self.watchers: list[Watcher] = []


_thread = _Thread()
_KEY: Any = _find_key()
_installing = threading.Lock()
_libraries: list[torch.library.Library] = []  # kernels live as long as these
_include = torch._C._dispatch_tls_set_dispatch_key_included


def watch(watcher: Watcher) -> None:
    """Tell a watcher of every operation of interest in this thread."""
    _thread.watchers.append(watcher)
    settle()


def unwatch(watcher: Watcher) -> None:
    """Tell a watcher no more."""
    _thread.watchers.remove(watcher)
    settle()


def settle() -> None:
    """Switch the kernels on where this thread has watchers, and off where it has none.

    torch switches back itself what changes inside its operations on programs.
    """
    _switch(bool(_thread.watchers))


def watchers() -> list[Watcher]:
    """List who watches in this thread."""
    return list(_thread.watchers)


def can_watch() -> bool:
    """Whether the operations of this thread reach the kernels as the net calls them.

    No mode or transform of torch may stand between, nor may a call be traced.
    """
    return (
        not torch._C._len_torch_function_stack()
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._get_tracing_state() is None
        and _install()
    )


def _switch(on: bool) -> None:
    _include(_KEY, on)


# -- kernels ------------------------------------------------------------------------------------


def _run(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run an operation itself, and let no kernel here see what it consists of."""
    _switch(False)
    try:
        return func(*args, **kwargs)
    finally:
        settle()


def _fused(*args: Any, **kwargs: Any) -> Tensor:
    _switch(False)  # as `_run` does, which would take longer
    try:
        output = F.scaled_dot_product_attention(*args, **kwargs)
    finally:
        settle()
    for watcher in _thread.watchers:
        watcher.see_fused(output, *args, **kwargs)
    return output


def _roll(*args: Any, **kwargs: Any) -> Tensor:
    result: Tensor = _run(torch.roll, args, kwargs)
    for watcher in _thread.watchers:
        watcher.see_roll(*args, **kwargs)
    return result


def _other_way(op: Callable, func: Callable, *args: Any, **kwargs: Any) -> Any:
    result = _run(op, args, kwargs)
    # A single number's exponential is a temperature. Under a mode, torch itself asks for shapes.
    if args[0].numel() > 1 and not torch._C._len_torch_dispatch_stack():
        for watcher in watchers():
            watcher.see_other_way(func, args, result)
    return result


def _hidden(op: Callable, what: str, *args: Any, **kwargs: Any) -> Any:
    result = _run(op, args, kwargs)
    if not torch._C._len_torch_dispatch_stack():
        for watcher in watchers():
            watcher.see_hidden(what)
    return result


# -- installation -------------------------------------------------------------------------------


def _install() -> bool:
    with _installing:
        return _installed() and _see_flex_attention()


@cache
def _installed() -> bool:
    """Register the kernels once; False where this version of torch does not take them."""
    if _KEY is None:
        return False
    try:
        _pass_over_programs()
        everything, ours = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
        _libraries.extend((everything, ours))
        everything.fallback(torch.library.fallthrough_kernel, _NAME)
        ours.impl("scaled_dot_product_attention", _fused, _NAME)
        ours.impl("roll", _roll, _NAME)
        for name, func in _OTHER_WAYS.items():
            ours.impl(name, partial(_other_way, _op(name), func), _NAME)
        for name in _HIDDEN:
            if hasattr(torch.ops.aten, name):
                ours.impl(name, partial(_hidden, _op(name), name), _NAME)
        return _works()
    except (AttributeError, RuntimeError, TypeError, ValueError):
        _libraries.clear()
        return False


def _op(name: str) -> Callable:
    packet, _, overload = name.partition(".")
    op: Callable = getattr(getattr(torch.ops.aten, packet), overload or "default")
    return op


def _pass_over_programs() -> None:
    """Let torch's operations on programs (`torch.cond`, ...) fall through the key, too."""
    torch._ops._HIGHER_ORDER_OP_DEFAULT_FALLTHROUGH_DISPATCH_KEYS.append(_KEY)
    for program in torch._ops._higher_order_ops.values():
        program.fallthrough(_KEY)


def _see_flex_attention() -> bool:
    """Notice flex_attention, which is such an operation, once it has been imported."""
    flex = torch._ops._higher_order_ops.get("flex_attention")
    if flex is not None and _KEY not in flex.py_kernels:
        flex.py_impl(_KEY)(partial(_hidden, flex, "flex_attention"))
    return True


class _Witness:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def see_fused(self, output: Tensor, *args: Any, **kwargs: Any) -> None:
        self.seen.append((output, *args))

    def see_roll(self, input: Tensor, shifts: Any, dims: Any) -> None: ...

    def see_other_way(self, func: Callable, args: tuple, result: Any) -> None: ...

    def see_hidden(self, what: str) -> None: ...

    def see_everything(self) -> None: ...


def _works() -> bool:
    """Whether the kernels see the very tensors of a call, and its result."""
    witness, (query, key, value) = _Witness(), torch.ones(3, 1, 1, 2, 4)
    watch(witness)
    try:
        output = F.scaled_dot_product_attention(query, key, value)
    finally:
        unwatch(witness)
    given = (output, query, key, value)
    return len(witness.seen) == 1 and all(
        a is b for a, b in zip(witness.seen[0], given, strict=False)
    )
