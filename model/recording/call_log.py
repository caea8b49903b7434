"""Log which module calls led to an attention call, and which tensors they were given."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from model.recording.calls import ModuleCall
from model.recording.infer import infer_batch_sizes
from model.recording.origin import Origin, Step, version_of


class CallLog:
    """Number the calls of modules and the tensors that they were given.

    A call is known by the dict of its keyword arguments, which Python makes anew for each.
    """

    def __init__(self) -> None:
        self._number = itertools.count()
        self._running: list[tuple[dict[str, Any], Step]] = []  # from the net inwards
        self._runs: dict[int, dict[int, int]] = {}  # of each outermost module: call -> which run
        self._tensors = WeakIdKeyDictionary()  # tensor -> {its writes: number}
        # Writes are counted here by storage too, since torch does not count all of them.
        self._writes: Counter[int | None] = Counter()

    def count_write(self, tensor: Tensor) -> None:
        """Count a call that wrote into the tensor."""
        self._writes[_storage_of(tensor)] += 1

    def origin(self, calls: list[ModuleCall], heads: int | None) -> Origin:
        """Describe the origin of an attention call inside these module calls, innermost first."""
        path = self._path(calls[::-1])
        runs = self._runs.setdefault(id(calls[-1].module), {})
        run = runs.setdefault(path[0].call, len(runs))
        return Origin(run, path, infer_batch_sizes(calls[-1]), heads)

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
        """Number a value: a tensor keeps its number until something is written into it.

        Every other value gets a new number each time, since it may hold any tensor.
        """
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
