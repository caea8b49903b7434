"""Log the torch calls around one attention, so that its numbers can be followed both ways.

The log is a graph: a call, the tensors that it was given, and the calls that made those. Walking
up from a query leads to its projection and LayerNorm, walking down from the heads to the output
projection, the residual and the MLP, whoever wrote the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from model.recording.functions import SOFTMAX
from model.recording.recorder import AttentionRecorder

FUSED = F.scaled_dot_product_attention

LINEAR = {"linear", "addmm"}
NORMS = {"layer_norm", "rms_norm"}
PRODUCTS = {"matmul", "rmatmul", "bmm", "baddbmm", "einsum"}
ADDITIONS = {"add", "radd", "iadd"}
SCALINGS = {"mul", "rmul", "imul", "div", "truediv", "itruediv"}
ARRANGEMENTS = {
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "contiguous"),
    *("transpose", "swapaxes", "permute", "movedim", "t", "get", "getitem", "unbind", "chunk"),
    *("split", "select", "narrow", "clone", "detach", "to", "type_as", "float", "identity", "roll"),
    *("pad",),  # a grid to whole windows
    *("dropout",),  # in eval mode it returns what it was given
}


@dataclass(eq=False)
class Call:
    """One torch function call: what it was given, which calls made that, and its results."""

    name: str
    func: Callable
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Tensor]
    makers: dict[int, Call] = field(default_factory=dict)
    """The call that made each given tensor, by the tensor's `id`; no entry for one from outside."""

    @property
    def result(self) -> Tensor:
        """The first tensor that the call returned."""
        return self.results[0]

    @property
    def given(self) -> list[Tensor]:
        """The tensors that the call was given, in order."""
        return list(tensors_in((*self.args, *self.kwargs.values())))

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument that may be given by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    @property
    def above(self) -> list[Call]:
        """The calls that made what this call was given."""
        return list(self.makers.values())


class CallGraph(TorchFunctionMode):
    """Log the calls from one attention before a recorder's chosen layer until two after it.

    Enter it before the recorder, which then also shows it the calls inside
    `nn.MultiheadAttention`. What is logged is held until the graph is let go.

    Args:
        recorder: records the one layer that is looked into.
        whole: keep every call before the layer too, as keys of a memory may need that were
            projected long before.
    """

    def __init__(self, recorder: AttentionRecorder, whole: bool = False) -> None:
        super().__init__()
        self.recorder = recorder
        self.whole = whole
        self.calls: list[Call] = []
        self._makers: dict[int, Call] = {}  # the last call that made a tensor, by its id
        self._last = 0  # where the calls since the last attention begin
        self._after = 0  # attentions after the chosen layer's own

    def __torch_function__(
        self, func: Callable, _: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._after > 2:
            return result
        if func is FUSED or func in SOFTMAX:
            self._see_attention()
        self._log(func, args, kwargs, result)
        return result

    def _see_attention(self) -> None:
        if self.recorder.records:
            self._after += 1
        elif not self.whole:
            self._forget_before(self._last)
            self._last = len(self.calls)

    def _forget_before(self, place: int) -> None:
        self.calls = self.calls[place:]
        self._makers = {id(t): call for call in self.calls for t in call.results}

    def _log(self, func: Callable, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        results = list(tensors_in((result,)))
        if not results:
            return
        name = getattr(func, "__name__", "").strip("_")
        given = tensors_in((*args, *kwargs.values()))
        makers = {id(t): self._makers[id(t)] for t in given if id(t) in self._makers}
        call = Call(name, func, args, kwargs, results, makers)
        self.calls.append(call)
        for tensor in results:
            self._makers[id(tensor)] = call


def tensors_in(values: Iterable[Any]) -> Iterable[Tensor]:
    """Iterate over the tensors among values, those in lists and tuples too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def is_fused(call: Call) -> bool:
    """Whether a call is a fused attention."""
    return call.func is FUSED


def is_softmax(call: Call) -> bool:
    """Whether a call is a softmax."""
    return call.func in SOFTMAX
