"""The tap: sees every torch function that its thread calls, and turns attention into records."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from itertools import dropwhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model.recording.calls import (
    CallLog,
    ModuleCall,
    Roll,
    attends,
    batches_of,
    heads_of,
    kind_of,
    method_call,
    running_calls,
    windows_of,
)
from model.recording.origin import Origin, version_of
from model.recording.record import AttentionRecord

SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
ROLL = {torch.roll, Tensor.roll}

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
        self.net = net
        self.keep = keep
        self.names = {id(module): name for name, module in named_modules(net)}
        self.calls = 0  # of any torch function
        self.elsewhere = 0  # attention calls outside the net
        self.passed_over: list[str] = []  # modules whose softmax was not taken for attention
        self.trail = CallLog()
        self.roll: Roll | None = None

    def __torch_function__(
        self, func: Callable, _: Any, args: tuple = (), kwargs: dict | None = None
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
        elif func in ROLL:
            self._rolled(*args, **kwargs)
        elif written := written_by(func, args, kwargs):
            self.trail.written(written[0])
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
        name, calls, origin = self._place()
        if not calls:
            self.elsewhere += 1
            return
        batch = output.shape[:-2]  # queries may be shared by a batch (latents), or keys by heads
        query = query.expand(*batch, *query.shape[-2:])
        if not enable_gqa:
            key, value = (t.expand(*batch, *t.shape[-2:]) for t in (key, value))
        order = heads_last((*output.shape[:-1], key.shape[-2]), origin)
        if order or query.ndim != 4:
            if attn_mask is not None:
                attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
                attn_mask = four_dimensional(attn_mask, origin, order)
            query, key, value = (four_dimensional(t, origin, order) for t in (query, key, value))
        gradients = output.requires_grad
        if not gradients and version_of(key):
            key = key.clone()  # it was written into, so it is a cache: it will be again
        origin = origin._replace(stacked=stacked(output, calls[0].module, origin))
        self._keep(
            name,
            calls,
            (*query.shape[:3], key.shape[2]),
            origin=origin,
            order=order,
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
        if weights.ndim < 2 or dim not in (-1, weights.ndim - 1):
            return
        name, calls, origin = self._place()
        if not calls:
            self.elsewhere += weights.ndim > 2
            return
        if not is_map(weights, calls[0]):
            self.passed_over.append(name)
            return
        order = heads_last(weights.shape, origin, handwritten=True)
        map = four_dimensional(weights, origin, order)
        origin = origin._replace(stacked=stacked(weights, calls[0].module, origin))
        anchor = weights if weights.requires_grad else None
        self._keep(
            name, calls, tuple(map.shape), origin=origin, order=order, map=map, anchor=anchor
        )

    def _rolled(self, input: Tensor, shifts: Any, dims: Any = None) -> None:
        inside = [call.kwargs for call in running_calls()]
        self.roll = Roll(inside, tuple(input.shape), shifts, dims)

    def _place(self) -> tuple[str, list[ModuleCall], Origin]:
        """Name of the module of the net that is running, and the calls from there outwards."""
        calls = list(dropwhile(lambda call: id(call.module) not in self.names, running_calls()))
        if calls:
            inside = [call for call in calls if id(call.module) in self.names]
            name = self.names[id(calls[0].module)]
            return name, calls, self.trail.origin(inside, heads_of(calls))
        if call := method_call(self.net):
            return "", [call], Origin(batches=batches_of(call), heads=heads_of([call]))
        return "", [], Origin()

    def _keep(
        self, name: str, calls: list[ModuleCall], shape: tuple[int, int, int, int], **held: Any
    ) -> None:
        batch, _, queries, keys = shape
        kind = kind_of(name, calls, queries, keys)
        windows = windows_of(calls, batch, keys, self.roll) if queries == keys else None
        self.keep(AttentionRecord(name, kind, shape, windows=windows, **held))


def written_by(func: Callable, args: tuple, kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensor that a call has written into, if any: add_ and its like, x[...] =, out=x."""
    name = getattr(func, "__name__", "")
    in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    into = args[0] if in_place and args else kwargs.get("out")
    return [into] if isinstance(into, Tensor) else []


def is_map(weights: Tensor, call: ModuleCall) -> bool:
    """Whether a softmax made a map of tokens, and not class probabilities or a router.

    Four dimensions and more are taken for a map, unless they are of channels. Three are one where
    the module attends by its name or has heads, or where each of its tokens weighs all of them.
    """
    tokens = call.tensors[0].shape if call.tensors else ()
    if weights.ndim > 3:
        return not over_channels(weights.shape, tokens)
    if weights.ndim < 3:
        return False
    return attends(call.module) or (len(tokens) == 3 and weights.shape == (*tokens[:2], tokens[1]))


def over_channels(shape: tuple[int, ...], tokens: tuple[int, ...]) -> bool:
    """Whether a map (B, H, d, d) weighs the channels of tokens (B, N, H·d), as XCiT's does."""
    if len(shape) != 4 or len(tokens) != 3 or shape[2] != shape[3]:
        return False
    return shape[3] not in tokens[:2] and shape[1] * shape[3] == tokens[2]


def heads_last(
    shape: tuple[int, ...], origin: Origin, handwritten: bool = False
) -> tuple[int, ...] | None:
    """The order of dimensions that makes a map (..., H, Q, K); None where it is so already.

    Where the module's number of heads is found elsewhere: (B, H, windows, Q, K), (H, B, Q, K),
    or (B, Q, H, K), which only a handwritten softmax can mean. Where as many images as heads
    leave it open, the map is taken as it is.
    """
    place = len(shape) - 3
    if place < 1 or not origin.heads or shape[place] == origin.heads:
        return None
    others = list(range(1, place))
    if shape[0] not in origin.batches and origin.heads > 1:
        others.append(0)
    if handwritten:
        others.append(place + 1)
    for other in others:
        if shape[other] == origin.heads:
            order = [dimension for dimension in range(len(shape)) if dimension != other]
            return (*order[:place], other, *order[place:])
    return None


def heads_stacked(first: int, origin: Origin) -> int:
    """How many heads of an image lie in the first of three dimensions: (B·H, Q, K)."""
    if not origin.heads or first % origin.heads or origin.batches == (first,):
        return 1
    return origin.heads


def stacked(tensor: Tensor, module: nn.Module, origin: Origin) -> bool:
    """Whether (B·H, Q, K) could as well be (H·B, Q, K), which some write by hand."""
    if tensor.ndim != 3 or isinstance(module, nn.MultiheadAttention):
        return False
    return 1 < heads_stacked(len(tensor), origin) < len(tensor)


def four_dimensional(tensor: Tensor, origin: Origin, order: tuple[int, ...] | None) -> Tensor:
    """(B·H, N, d), (N, d) or (..., H, N, d), the latter after reordering -> (B, H, N, d)"""
    if tensor.ndim == 2:
        return tensor[None, None]
    if tensor.ndim == 3:
        return tensor.unflatten(0, (-1, heads_stacked(tensor.shape[0], origin)))
    tensor = tensor if order is None else tensor.permute(order)
    return tensor if tensor.ndim == 4 else tensor.flatten(0, -4)
