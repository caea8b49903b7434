"""Log which module calls led to an attention call, and which tensors they were given."""

from __future__ import annotations

import itertools
import weakref
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from model.recording.calls import ModuleCall, leaves
from model.recording.infer import infer_batch_sizes
from model.recording.origin import Origin, Step, version_of

_PLAIN = (type(None), bool, int, float, complex, str, torch.device, torch.dtype)


class CallLog:
    """Number the calls of modules and the tensors that they were given.

    A call is known by the dict of its keyword arguments, which Python makes anew for each.
    """

    def __init__(self) -> None:
        self._number = itertools.count()
        # From the net inwards: the calls that are running, and their numbers.
        self._running: list[dict[str, Any]] = []
        self._path: tuple[Step, ...] = ()
        self._runs: Counter[int] = Counter()  # how often each outermost module has run
        self._run = 0  # which run of its outermost module this is
        self._batches: tuple[int, ...] = ()  # how many images it was given
        # The number of each tensor, by its id and how often it was written into.
        self._tensors: dict[tuple[int, int | None, int], tuple[weakref.ref[Tensor], int]] = {}
        # Writes are counted here by storage too, since torch does not count all of them.
        self._writes: Counter[int | None] = Counter()

    def count_write(self, tensor: Tensor) -> None:
        """Count a call that wrote into the tensor."""
        self._writes[storage_of(tensor)] += 1

    def origin(self, calls: list[ModuleCall], heads: int | None) -> Origin:
        """Describe the origin of an attention call inside these module calls, innermost first."""
        known = 0
        for call, kwargs in zip(reversed(calls), self._running, strict=False):
            if call.kwargs is not kwargs:
                break
            known += 1
        if not known:
            self._begin_run(calls[-1])
        begun = calls[: len(calls) - known][::-1]
        self._running[known:] = [call.kwargs for call in begun]
        self._path = (*self._path[:known], *map(self._step, begun))
        return Origin(self._run, self._path, self._batches, heads)

    def _begin_run(self, outermost: ModuleCall) -> None:
        number = id(outermost.module)
        self._run, self._batches = self._runs[number], infer_batch_sizes(outermost)
        self._runs[number] += 1

    def _step(self, call: ModuleCall) -> Step:
        numbers = []
        for value in (*call.args, *call.kwargs.values()):
            if isinstance(value, Tensor):
                numbers.append(self._number_of(value))
            elif not isinstance(value, _PLAIN):
                numbers += [self._number_of(leaf) for leaf in _numbered(value)]
        return Step(next(self._number), tuple(numbers))

    def _number_of(self, given: Any) -> int:
        """Number a value: a tensor keeps its number until something is written into it.

        Every other value gets a new number each time, since it may hold any tensor.
        """
        if not isinstance(given, Tensor):
            return next(self._number)
        written = self._writes[storage_of(given)] if self._writes else 0
        state = id(given), version_of(given), written
        found = self._tensors.get(state)
        if found is None or found[0]() is not given:
            found = self._tensors[state] = weakref.ref(given), next(self._number)
        return found[1]


def _numbered(value: Any) -> list[Any]:
    return [leaf for leaf in leaves(value) if not isinstance(leaf, _PLAIN)]


def storage_of(tensor: Tensor) -> int | None:
    """Name the memory behind a tensor; None where it has none of its own."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse and nested tensors have none
        return None
