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
        self._running: list[tuple[dict[str, Any], Step]] = []  # from the net inwards
        # Of each outermost module: call -> which run, and how many images it was given.
        self._runs: dict[int, dict[int, tuple[int, tuple[int, ...]]]] = {}
        # The number of each tensor, by how often it was written into.
        self._tensors: dict[int, tuple[weakref.ref[Tensor], dict[tuple[int | None, int], int]]] = {}
        # Writes are counted here by storage too, since torch does not count all of them.
        self._writes: Counter[int | None] = Counter()

    def count_write(self, tensor: Tensor) -> None:
        """Count a call that wrote into the tensor."""
        self._writes[storage_of(tensor)] += 1

    def origin(self, calls: list[ModuleCall], heads: int | None) -> Origin:
        """Describe the origin of an attention call inside these module calls, innermost first."""
        path = self._path(calls[::-1])
        runs = self._runs.setdefault(id(calls[-1].module), {})
        if path[0].call not in runs:
            runs[path[0].call] = len(runs), infer_batch_sizes(calls[-1])
        run, batches = runs[path[0].call]
        return Origin(run, path, batches, heads)

    def _path(self, calls: list[ModuleCall]) -> tuple[Step, ...]:
        known = 0
        for call, (kwargs, _) in zip(calls, self._running, strict=False):
            if call.kwargs is not kwargs:
                break
            known += 1
        self._running[known:] = [(call.kwargs, self._step(call)) for call in calls[known:]]
        return tuple([step for _, step in self._running])

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
        number = next(self._number)
        written = self._writes[storage_of(given)] if self._writes else 0
        writes = version_of(given), written
        found = self._tensors.get(id(given))
        if found is None or found[0]() is not given:
            self._tensors[id(given)] = weakref.ref(given), {writes: number}
            return number
        return found[1].setdefault(writes, number)


def _numbered(value: Any) -> list[Any]:
    return [leaf for leaf in leaves(value) if not isinstance(leaf, _PLAIN)]


def storage_of(tensor: Tensor) -> int | None:
    """Name the memory behind a tensor; None where it has none of its own."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse and nested tensors have none
        return None
