"""Record what a model attends to while it runs, without touching the model.

An attention map is softmax(Q Kᵀ · scale + bias). The recorder keeps Q and K as the model made
them, and a row of a map is computed where somebody looks at it.

A `TorchFunctionMode`, which lives in one thread, sees three kinds of calls:
1. `F.scaled_dot_product_attention`: the original runs with its original arguments, so the
   output is the model's own to the bit;
2. `F.multi_head_attention_forward` (`nn.MultiheadAttention`): torch's own code runs, and the
   mode sees the attention inside it. Fused layers (`nn.TransformerEncoderLayer`'s fast path)
   are ones that torch itself avoids while a mode is active;
3. a softmax over the last dimension of a map, written by hand: the finished map is kept.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model.recording_calls import (
    ModuleCall,
    attends,
    heads_of,
    kind_of,
    running_calls,
    windows_of,
)
from model.recording_maps import AttentionRecord, storage_bytes

__all__ = ["AttentionRecord", "AttentionRecorder", "NothingRecorded"]


class NothingRecorded(RuntimeError):
    """The model ran, but no attention (or not the attention asked for) was seen in it."""


class AttentionRecorder:
    """Context manager: `with AttentionRecorder(net) as recorder: net(images)`.

    `recorder.records` has one AttentionRecord for each attention call inside `net`, in the
    order they ran. Only what runs in this thread is seen, the model stays as it is, and its
    output too: to the bit where it calls `scaled_dot_product_attention`. Fast paths of
    `nn.MultiheadAttention` and `nn.TransformerEncoder` are not taken (up to 1e-6 of
    difference; an encoder with a padding mask returns values instead of zeros at the padding).

    `layers` chooses what is kept: positions among the modules that attend, in the order in
    which they first run (negative ones count from the last), or names of modules; a name
    stands for everything inside it.

    Leaving the block raises NothingRecorded where nothing, or not every chosen layer, was seen.
    """

    def __init__(self, net: nn.Module, layers: Sequence[int | str] | None = None) -> None:
        self.net = net
        self.layers = None if layers is None else list(layers)
        self.records: list[AttentionRecord] = []

    def __enter__(self) -> Self:
        self.records = []
        self._names = {id(module): name for name, module in self.net.named_modules()}
        self._order: dict[str, int] = {}  # names of the modules that attended
        self._elsewhere = 0  # attention calls outside the net
        self._tap = _Tap(self)
        self._tap.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._tap.__exit__(kind, *error)
        self.records = [r for r in self.records if self._chosen(r.name)]
        if kind is None:
            self._check()

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all records together keep alive."""
        return storage_bytes(t for record in self.records for t in record.tensors())

    @classmethod
    def estimate(
        cls, net: nn.Module, *args: Any, layers: Sequence[int | str] | None = None, **kwargs: Any
    ) -> int:
        """Bytes that recording `net(*args, **kwargs)` will hold, known without computing it.

        The net runs on tensors that have shapes and no values.
        """
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils._pytree import tree_map_only

        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            args, kwargs = tree_map_only(Tensor, fake.from_tensor, (args, kwargs))
            with cls(net, layers) as recorder:
                net(*args, **kwargs)
            return recorder.nbytes

    # Called by the tap.

    def place(self) -> tuple[str, list[ModuleCall]] | None:
        """Name of the module of the net that is running, and the calls from there outwards."""
        calls = running_calls()
        for depth, call in enumerate(calls):
            if id(call.module) in self._names:
                return self._names[id(call.module)], calls[depth:]
        self._elsewhere += 1
        return None

    def keep(self, record: AttentionRecord) -> None:
        self._order.setdefault(record.name, len(self._order))
        self.records.append(record)
        if self.layers is not None:
            self.records = [r for r in self.records if self._chosen(r.name, running=True)]

    # Choosing layers.

    def _chosen(self, name: str, running: bool = False) -> bool:
        """While the net runs, a layer that may yet turn out to be number -n is kept."""
        if self.layers is None:
            return True
        first, last = self._order[name], self._order[name] - len(self._order)
        for layer in self.layers:
            if isinstance(layer, str):
                if _inside(name, layer):
                    return True
            elif layer in (first, last) or (running and layer < last):
                return True
        return False

    def _check(self) -> None:
        if not self._order:
            raise NothingRecorded(self._why_nothing())
        missing = [
            layer
            for layer in self.layers or ()
            if not (
                any(_inside(name, layer) for name in self._order)
                if isinstance(layer, str)
                else -len(self._order) <= layer < len(self._order)
            )
        ]
        if missing:
            raise NothingRecorded(
                f"No attention ran in layer {', '.join(map(str, missing))}. "
                f"The layers that attended, from 0: {_listed(list(self._order))}."
            )

    def _why_nothing(self) -> str:
        net = type(self.net).__name__
        if self._elsewhere:
            return (
                f"Attention ran, but outside this {net}: give the recorder the model that "
                "you call inside the with block."
            )
        if not self._tap.calls:
            return (
                f"{net} was not run: call it inside the with block, in the thread that opened it."
            )
        close = [
            f"{name or net} ({type(module).__name__})"
            for name, module in self.net.named_modules()
            if "attn" in name or attends(module)
        ]
        closest = (
            f"The modules that came closest: {_listed(close)}"
            if close
            else ("No module in it has a name that speaks of attention")
        )
        return (
            f"No attention was seen in {net}: nothing in it called scaled_dot_product_attention, "
            f"nn.MultiheadAttention or a softmax over the last dimension of a map. {closest}."
        )


class _Tap(TorchFunctionMode):
    """Sees every call of a torch function in its thread, and passes each on unchanged."""

    def __init__(self, recorder: AttentionRecorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.calls = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.calls += 1
        if func is F.multi_head_attention_forward:
            with self:
                return _multi_head_attention_forward(*args, **kwargs)
        result = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self._fused(result, *args, **kwargs)
        elif func in _SOFTMAX:
            self._handwritten(result, *args, **kwargs)
        return result

    def _fused(
        self,
        output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if (place := self.recorder.place()) is None:
            return
        name, calls = place
        graph = output.requires_grad
        anchor = output if graph else None
        if query.ndim != 4:
            heads = heads_of(calls)
            if attn_mask is not None:
                attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
                attn_mask = _four_dimensional(attn_mask, heads)
            query, key, value = (_four_dimensional(t, heads) for t in (query, key, value))
        self._keep(
            name,
            calls,
            (*query.shape[:3], key.shape[2]),
            query=query,
            grouped_key=key,
            scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
            mask=attn_mask,
            causal=bool(is_causal),
            value=value if graph else None,
            anchor=anchor,
        )

    def _handwritten(
        self, weights: Tensor, _: Tensor, dim: int | None = None, *__: Any, **___: Any
    ) -> None:
        if weights.ndim < 3 or dim not in (-1, weights.ndim - 1):
            return
        if (place := self.recorder.place()) is None:
            return
        name, calls = place
        if weights.ndim == 3 and not attends(calls[0].module):
            return  # class probabilities along a sequence, or a router
        map = _four_dimensional(weights, heads_of(calls))
        anchor = weights if weights.requires_grad else None
        self._keep(name, calls, tuple(map.shape), map=map, anchor=anchor)

    def _keep(
        self, name: str, calls: list[ModuleCall], shape: tuple[int, int, int, int], **held: Any
    ) -> None:
        batch, _, queries, keys = shape
        kind = kind_of(name, calls, queries, keys)
        windows = windows_of(calls, batch, keys) if queries == keys else None
        self.recorder.keep(AttentionRecord(name, kind, shape, windows=windows, **held))


_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}

# torch's own function, but for the check that would hand it back to the mode for ever.
_multi_head_attention_forward = types.FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


def _four_dimensional(tensor: Tensor, heads: int | None) -> Tensor:
    """(B·H, N, d), (B, N, d), (N, d) or (..., H, N, d) -> (B, H, N, d)"""
    if tensor.ndim == 2:
        return tensor[None, None]
    if tensor.ndim == 3:
        heads = heads if heads and tensor.shape[0] % heads == 0 else 1
        return tensor.unflatten(0, (-1, heads))
    return tensor if tensor.ndim == 4 else tensor.flatten(0, -4)


def _inside(name: str, layer: str) -> bool:
    return name == layer or name.startswith(layer + ".")


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
