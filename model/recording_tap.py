"""The tap: sees every torch function that its thread calls, and turns attention into records."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

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
from model.recording_maps import AttentionRecord

SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}

# torch's own function without the check that would hand it back to the mode for ever.
multi_head_attention_forward = types.FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


def named_modules(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """As `net.named_modules()`, whose recursion takes longer than a small net's attention."""
    seen, waiting = set(), [("", net)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        inner = [(part, m) for part, m in module._modules.items() if m is not None]
        waiting += [(f"{name}.{part}" if name else part, m) for part, m in reversed(inner)]


class Tap(TorchFunctionMode):
    """Calls `keep` with a record for each attention call inside `net`, and changes no call."""

    def __init__(self, net: nn.Module, keep: Callable[[AttentionRecord], None]) -> None:
        super().__init__()
        self.keep = keep
        self.names = {id(module): name for name, module in named_modules(net)}
        self.calls = 0  # of any torch function
        self.elsewhere = 0  # attention calls outside the net

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.calls += 1
        if func is F.multi_head_attention_forward:
            with self:
                return multi_head_attention_forward(*args, **kwargs)
        result = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self._fused(result, *args, **kwargs)
        elif func in SOFTMAX:
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
        name, calls = self._place()
        if not calls:
            return
        if query.ndim != 4:
            heads = heads_of(calls)
            if attn_mask is not None:
                attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
                attn_mask = four_dimensional(attn_mask, heads)
            query, key, value = (four_dimensional(t, heads) for t in (query, key, value))
        gradients = output.requires_grad
        self._keep(
            name,
            calls,
            (*query.shape[:3], key.shape[2]),
            query=query,
            grouped_key=key,
            scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
            mask=attn_mask,
            causal=bool(is_causal),
            value=value if gradients else None,
            anchor=output if gradients else None,
        )

    def _handwritten(
        self, weights: Tensor, input: Tensor, dim: int | None = None, *_: Any, **__: Any
    ) -> None:
        if weights.ndim < 3 or dim not in (-1, weights.ndim - 1):
            return
        name, calls = self._place()
        if not calls or (weights.ndim == 3 and not attends(calls[0].module)):
            return  # class probabilities along a sequence, or a router
        map = four_dimensional(weights, heads_of(calls))
        anchor = weights if weights.requires_grad else None
        self._keep(name, calls, tuple(map.shape), map=map, anchor=anchor)

    def _place(self) -> tuple[str, list[ModuleCall]]:
        """Name of the module of the net that is running, and the calls from there outwards."""
        calls = running_calls()
        for depth, call in enumerate(calls):
            if id(call.module) in self.names:
                return self.names[id(call.module)], calls[depth:]
        self.elsewhere += 1
        return "", []

    def _keep(
        self, name: str, calls: list[ModuleCall], shape: tuple[int, int, int, int], **held: Any
    ) -> None:
        batch, _, queries, keys = shape
        kind = kind_of(name, calls, queries, keys)
        windows = windows_of(calls, batch, keys) if queries == keys else None
        self.keep(AttentionRecord(name, kind, shape, windows=windows, **held))


def four_dimensional(tensor: Tensor, heads: int | None) -> Tensor:
    """(B·H, N, d), (B, N, d), (N, d) or (..., H, N, d) -> (B, H, N, d)"""
    if tensor.ndim == 2:
        return tensor[None, None]
    if tensor.ndim == 3:
        heads = heads if heads and tensor.shape[0] % heads == 0 else 1
        return tensor.unflatten(0, (-1, heads))
    return tensor if tensor.ndim == 4 else tensor.flatten(0, -4)
