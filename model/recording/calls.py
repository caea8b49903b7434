"""Which module is running? Read from the call stack of this thread.

Hooks on modules would be shared by every thread, would stay behind after a mishap, and would
switch off fast paths. The stack has none of that: `nn.Module.__call__` has one frame for every
module that is running, and that frame goes away by itself.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from model.recording.origin import Origin, Step, version_of
from model.recording.windows import Windows

_CALL = nn.Module._call_impl.__code__
# What modules call the sequence that they look at.
_KEYS = (
    *("key", "keys", "k", "kv", "context", "memory"),
    *("key_value_states", "encoder_hidden_states"),
)
_HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads", "n_head", "nhead")


class ModuleCall(NamedTuple):
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors that the module was given."""
        return [value for value in self.given if isinstance(value, Tensor)]

    @property
    def given(self) -> list[Any]:
        """All that the module was given, lists and dicts taken apart."""
        return list(_leaves((*self.args, *self.kwargs.values())))


class Roll(NamedTuple):
    """A tensor that was rolled while modules ran, as a grid is before it is cut into windows."""

    inside: list[dict[str, Any]]  # the keyword arguments of the calls, which tell them apart
    shape: tuple[int, ...]
    shifts: Any
    dims: Any


class CallLog:
    """Numbers the calls of modules, and the tensors that they were given.

    A call is known by the dict of its keyword arguments, which Python makes anew for each.
    """

    def __init__(self) -> None:
        self._number = itertools.count()
        self._running: list[tuple[dict[str, Any], Step]] = []  # from the net inwards
        self._runs: dict[int, dict[int, int]] = {}  # of each outermost module: call -> which run
        self._tensors = WeakIdKeyDictionary()  # tensor -> {its writes: number}
        self._writes: Counter[int | None] = (
            Counter()
        )  # by storage, since torch does not always count

    def written(self, tensor: Tensor) -> None:
        """A call wrote into the tensor."""
        self._writes[_storage_of(tensor)] += 1

    def origin(self, calls: list[ModuleCall], heads: int | None) -> Origin:
        """Of what runs inside these calls of the net's modules, innermost first."""
        path = self._path(calls[::-1])
        runs = self._runs.setdefault(id(calls[-1].module), {})
        run = runs.setdefault(path[0].call, len(runs))
        return Origin(run, path, batches_of(calls[-1]), heads)

    def _path(self, calls: list[ModuleCall]) -> tuple[Step, ...]:
        pairs = zip(calls, self._running, strict=False)
        same = itertools.takewhile(lambda pair: pair[0].kwargs is pair[1][0], pairs)
        known = self._running[: len(list(same))]
        self._running = known + [(call.kwargs, self._step(call)) for call in calls[len(known) :]]
        return tuple(step for _, step in self._running)

    def _step(self, call: ModuleCall) -> Step:
        plain = (type(None), bool, int, float, complex, str, torch.device, torch.dtype)
        given = (value for value in call.given if not isinstance(value, plain))
        return Step(next(self._number), tuple(self._number_of(value) for value in given))

    def _number_of(self, given: Any) -> int:
        """The same for the same tensor, until something is written into it; new for what is no
        tensor, and may hold any."""
        if not isinstance(given, Tensor):
            return next(self._number)
        writes = version_of(given), self._writes[_storage_of(given)]
        numbers = self._tensors.setdefault(given, {})
        return numbers.setdefault(writes, next(self._number))


def _storage_of(tensor: Tensor) -> int | None:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse and nested tensors have none
        return None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, list | tuple):
        yield value
        return
    for part in value:
        yield from _leaves(part)


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
    sequences that differ in their values. The lengths come last.
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
        return "self" if _same(first, second) else "cross"
    return "self" if queries == keys else "cross"


def windows_of(
    calls: list[ModuleCall], batch: int, tokens: int, roll: Roll | None = None
) -> Windows | None:
    """How the grid is cut, from the innermost module that was called with a grid and cuts it.

    `roll` is the last one that ran. A size of zero (SAM, ViTDet) marks a layer without windows.
    """
    for call in calls:
        size = _pair(getattr(call.module, "window_size", None))
        if size and not all(size):
            return None
        if size and (grids := _grids(call)):
            images = len(call.args[0])
            cut = (_shifted(Windows(grid, size), call, roll) for grid in grids)
            fits = (w for w in cut if (images * w.count, w.area) == (batch, tokens))
            return next(fits, None)
    return None


def _shifted(windows: Windows, call: ModuleCall, roll: Roll | None) -> Windows:
    """With the shift that was seen; otherwise with the one that the module speaks of."""
    if roll and any(kwargs is call.kwargs for kwargs in roll.inside):
        rolled = tuple(roll.shape[1:3])
        for padded_last, circle in ((False, windows.circle), (True, windows.grid)):
            if len(roll.shape) == 4 and rolled == circle and roll.dims in ((1, 2), [1, 2]):
                down, across = (-int(shift) for shift in roll.shifts)
                return Windows(windows.grid, windows.size, (down, across), padded_last)
    shift = _pair(getattr(call.module, "shift_size", 0)) or (0, 0)
    # A side that is one window has nothing to shift, whatever the module's attribute.
    shift = tuple(s if n > 1 else 0 for s, n in zip(shift, windows.counts, strict=True))
    return Windows(windows.grid, windows.size, shift)


def batches_of(call: ModuleCall) -> tuple[int, ...]:
    """How many images (or texts) the net may have been given; empty where nothing tells.

    (B, C, H, W) leaves no doubt. Tokens come as (B, N, D) or (N, B, D), or without a batch.
    """
    sizes = (t.shape[:1] if t.ndim >= 4 else (*t.shape[:2], 1) for t in call.tensors)
    return tuple(dict.fromkeys(size for some in sizes for size in some))


def method_call(net: nn.Module) -> ModuleCall | None:
    """The net's own method that is running, as in `net.forward_features(x)`."""
    frame = sys._getframe(1)
    while frame is not None:
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if names and hasattr(net, frame.f_code.co_name):
            owner, *given = (frame.f_locals.get(name) for name in names)
            if owner is net:
                return ModuleCall(net, tuple(given), {})
        frame = frame.f_back
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
    """The two sequences (B, N, D) of one width that the module was given: queries', and keys'."""
    given = [*call.args[:2], *(call.kwargs[name] for name in ("query", "q") if name in call.kwargs)]
    given += [call.kwargs[name] for name in _KEYS if name in call.kwargs]
    match given:
        case (Tensor(ndim=3) as first, Tensor(ndim=3) as second, *_):
            if first.shape[-1] == second.shape[-1] and second.is_floating_point():
                return first, second
    return None, None


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same sequence: attn(ln(x), ln(x), ln(x)) makes it twice."""
    if first is second or first.shape != second.shape:
        return first is second
    try:
        return torch.equal(first, second)
    except RuntimeError:  # tensors without values, as in AttentionRecorder.estimate
        return True


def _grids(call: ModuleCall) -> list[tuple[int, int]]:
    """Rows and columns that the call's tokens may have, likeliest first.

    (B, rows, columns, D) as in Swin and SAM, (B, D, rows, columns) as in ViTDet, or (B, N, D) and
    a pair: the next argument (Hugging Face), or the module's own (Microsoft's Swin).
    """
    match call.args:
        case (Tensor(ndim=4) as tokens, *_):
            return [tuple(tokens.shape[1:3]), tuple(tokens.shape[2:4])]
        case (Tensor(ndim=3), (int(rows), int(columns)), *_):
            return [(rows, columns)]
        case (Tensor(ndim=3) as tokens, *_):
            own = _pair(getattr(call.module, "input_resolution", None))
            return [own] if own and own[0] * own[1] == tokens.shape[1] else []
    return []


def _pair(size: Any) -> tuple[int, int] | None:
    match size:
        case int():
            return size, size
        case (int(rows), int(columns)):
            return rows, columns
    return None
