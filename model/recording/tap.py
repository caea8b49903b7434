"""Watch every torch function that this thread calls, and make records of attention calls."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.recording.call_log import CallLog
from model.recording.calls import ModuleCall, calls_inside, method_call, running_calls
from model.recording.dimensions import find_order, is_ambiguous, to_four_dimensions
from model.recording.infer import (
    Roll,
    attends,
    infer_batch_sizes,
    infer_heads,
    infer_kind,
    infer_windows,
)
from model.recording.modes import RecordingMode
from model.recording.origin import Origin, version_of
from model.recording.record import AttentionRecord
from model.recording.uses import Softmax, Use, UseLog

SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
ROLL = {torch.roll, Tensor.roll}

# torch's own function, less the check that would hand it back to the mode again and again.
multi_head_attention_forward = types.FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


def named_modules(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """List names and modules as `net.named_modules()` does, without its slow recursion."""
    seen: set[int] = set()
    waiting = [("", net)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        inner = [(part, m) for part, m in module._modules.items() if m is not None]
        waiting += [(f"{name}.{part}" if name else part, m) for part, m in reversed(inner)]


class Tap(RecordingMode):
    """Call `keep` with a record of each attention call inside `net`, and change no call."""

    def __init__(
        self,
        net: nn.Module,
        modules: Iterable[tuple[str, nn.Module]],
        keep: Callable[[AttentionRecord], None],
        withdraw: Callable[[AttentionRecord], None],
    ) -> None:
        super().__init__()
        self.net = net
        self.keep = keep
        self.withdraw = withdraw
        self.names = {id(module): name for name, module in modules}
        self.calls = 0  # of any torch function
        self.elsewhere = 0  # attention calls outside the net
        self.passed_over: list[tuple[str, str]] = []  # modules of other softmaxes, and why
        self.proven: set[str] = set()  # modules in which attention multiplied values
        self.call_log = CallLog()
        self.roll: Roll | None = None
        self.uses = UseLog()

    def __torch_function__(
        self, func: Callable, _: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.calls += 1
        if func is F.multi_head_attention_forward:
            with self:
                return multi_head_attention_forward(*args, **kwargs)
        result = func(*args, **kwargs)
        if use := self.uses.see(func, args, kwargs, result):
            self._amend(use)
        if func is F.scaled_dot_product_attention:
            self._record_fused(result, *args, **kwargs)
        elif func in SOFTMAX:
            self._record_softmax(result, *args, **kwargs)
        elif func in ROLL:
            self._remember_roll(*args, **kwargs)
        elif (written := find_written(func, args, kwargs)) is not None:
            self.call_log.count_write(written)
        return result

    def _record_fused(
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
        name, calls, origin = self._find_caller()
        if not calls:
            self.elsewhere += 1
            return
        if query.is_nested:
            self._record_nested(name, calls, origin, query, key, scale)
            return
        leading = output.shape[:-2]  # a batch may share its queries (latents), or heads their keys
        query = query.expand(*leading, *query.shape[-2:])
        if not enable_gqa:
            key, value = (t.expand(*leading, *t.shape[-2:]) for t in (key, value))
        order = find_order((*output.shape[:-1], key.shape[-2]), origin)
        if order or query.ndim != 4:
            if attn_mask is not None:
                attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
                attn_mask = to_four_dimensions(attn_mask, origin, order)
            query, key, value = (to_four_dimensions(t, origin, order) for t in (query, key, value))
        gradients = output.requires_grad
        if not gradients and version_of(key):
            key = key.clone()  # something was written into it: a cache, which changes again
        origin = origin._replace(stacked=is_ambiguous(output, calls[0].module, origin))
        self.proven.add(name)
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

    def _record_nested(
        self,
        name: str,
        calls: list[ModuleCall],
        origin: Origin,
        query: Tensor,
        key: Tensor,
        scale: float | None,
    ) -> None:
        """Keep pictures of different lengths (B, H, j, d) padded, the padding masked."""
        (query, asks), (key, answers) = map(pad_nested, (query, key))
        self.proven.add(name)
        self._keep(
            name,
            calls,
            (*query.shape[:3], key.shape[2]),
            origin=origin,
            query=query,
            grouped_key=key,
            scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
            mask=(asks[:, :, None] & answers[:, None])[:, None],
        )

    def _record_softmax(
        self, weights: Tensor, input: Tensor, dim: int | None = None, *_: Any, **__: Any
    ) -> None:
        if weights.ndim < 2 or dim is None:
            return
        name, calls, origin = self._find_caller()
        if not calls:
            self.elsewhere += weights.ndim > 2
            return
        inputs = calls[0].tensors
        shape = tuple(inputs[0].shape) if inputs else ()
        # Scores that the net was given may be a product; nobody here can know.
        of_product = self.uses.is_product(input) or any(input is t for t in calls[-1].tensors)
        softmax = Softmax(name, origin, shape, of_product)
        self.uses.begin(weights, softmax, dim)
        if dim not in (-1, weights.ndim - 1):
            softmax.why_none = "it is over another dimension than the keys"
        elif not is_map(weights, calls[0]):
            softmax.why_none = "it is not over a map of tokens"
        else:
            softmax.record = self._record_map(name, calls, origin, weights)

    def _record_map(
        self, name: str, calls: list[ModuleCall], origin: Origin, weights: Tensor
    ) -> AttentionRecord:
        """Keep a finished map, until its use shows more."""
        order = find_order(weights.shape, origin, handwritten=True)
        map = to_four_dimensions(weights, origin, order)
        origin = origin._replace(stacked=is_ambiguous(weights, calls[0].module, origin))
        anchor = weights if weights.requires_grad else None
        return self._keep(
            name, calls, map.shape, origin=origin, order=order, map=map, anchor=anchor
        )

    def _amend(self, use: Use) -> None:
        """Make the record of a softmax hold what multiplies the values, or withdraw it."""
        first, *others = use.sources
        for source in others:
            self._withdraw(source)
        if reason := use.why_no_map():
            self._pass_over(first, reason)
        elif first.record is None:
            self._pass_over(first, first.why_none)
        else:
            self.proven.add(first.name)
            self._arrange(first.record, use)
            first.record = None  # the recorder alone decides how long a record lives

    def _arrange(self, record: AttentionRecord, use: Use) -> None:
        changed = use.acting is not None
        if not (changed or use.order or heads_first(use, record.origin)):
            return
        weights = use.weights if use.acting is None else use.acting
        order = use.order if use.order is not None and weights.ndim == 4 else None
        if order is None and heads_first(use, record.origin):
            order = (1, 0, 2, 3)
        if order is None:
            order = find_order(weights.shape, record.origin, handwritten=True)
        record.amend(to_four_dimensions(weights, record.origin, order), weights, order, changed)

    def _pass_over(self, softmax: Softmax, reason: str) -> None:
        self._withdraw(softmax)
        self.passed_over.append((softmax.name, reason))

    def _withdraw(self, softmax: Softmax) -> None:
        if softmax.record is not None:
            self.withdraw(softmax.record)
            softmax.record = None

    def finish(self) -> None:
        """Withdraw the records of softmaxes that did not turn out to be attention."""
        for softmax in self.uses.softmaxes:
            if softmax.done:
                continue
            if softmax.record is None:
                self._pass_over(softmax, softmax.why_none)
            elif softmax.name in self.proven:
                self._pass_over(softmax, "the module attends by another map")
            elif not softmax.of_product:
                self._pass_over(softmax, "it did not multiply values")

    def _remember_roll(self, input: Tensor, shifts: Any, dims: Any = None) -> None:
        inside = [call.kwargs for call in running_calls()]
        self.roll = Roll(inside, tuple(input.shape), shifts, dims)

    def _find_caller(self) -> tuple[str, list[ModuleCall], Origin]:
        """Find the module of the net that is running, by name, and the calls from it outwards."""
        calls = calls_inside(self.names, running_calls())
        if calls:
            inside = [call for call in calls if id(call.module) in self.names]
            name = self.names[id(calls[0].module)]
            return name, calls, self.call_log.origin(inside, infer_heads(calls))
        if call := method_call(self.net):
            origin = Origin(batches=infer_batch_sizes(call), heads=infer_heads([call]))
            return "", [call], origin
        return "", [], Origin()

    def _keep(
        self, name: str, calls: list[ModuleCall], shape: Sequence[int], **held: Any
    ) -> AttentionRecord:
        batch, heads, queries, keys = shape
        kind = infer_kind(name, calls, queries, keys)
        windows = infer_windows(calls, batch, keys, self.roll) if queries == keys else None
        shape = (batch, heads, queries, keys)
        record = AttentionRecord(name, kind, shape, windows=windows, **held)
        self.keep(record)
        return record


def pad_nested(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Pad a nested (B, H, j, d) to (B, H, N, d), and tell which of its tokens are real (B, N)."""
    tokens = tensor.transpose(1, 2)
    padded = torch.nested.to_padded_tensor(tokens, 0.0).transpose(1, 2)
    lengths = torch.tensor([len(one) for one in tokens.unbind()], device=padded.device)
    real = torch.arange(padded.shape[2], device=padded.device) < lengths[:, None]
    return padded, real


def find_written(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
    """Find the tensor that a call has written into: add_ and others in place, x[...] =, out=x."""
    name = getattr(func, "__name__", "")
    in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    into = args[0] if in_place and args else kwargs.get("out")
    return into if isinstance(into, Tensor) else None


def is_map(weights: Tensor, call: ModuleCall) -> bool:
    """Whether a softmax made a map of tokens, rather than class probabilities or a router.

    Four dimensions and more are taken for a map, unless it is a map of channels. Three are a map
    where the module attends by its name or has heads, or where every token weighs all tokens.
    """
    tokens = call.tensors[0].shape if call.tensors else ()
    if weights.ndim > 3:
        return not over_channels(weights.shape, tokens)
    if weights.ndim < 3:
        return False
    return attends(call.module) or (len(tokens) == 3 and weights.shape == (*tokens[:2], tokens[1]))


def over_channels(shape: tuple[int, ...], tokens: tuple[int, ...]) -> bool:
    """Whether a map (B, H, d, d) weighs the channels of tokens (B, N, H·d), as in XCiT."""
    if len(shape) != 4 or len(tokens) != 3 or shape[2] != shape[3]:
        return False
    return shape[3] not in tokens[:2] and shape[1] * shape[3] == tokens[2]


def heads_first(use: Use, origin: Origin) -> bool:
    """Whether the values show that heads come before as many images: (H, B, Q, K).

    In memory the heads of a token lie beside each other, and images apart, unless somebody has
    copied the values since.
    """
    values = use.values
    if values.ndim != 4 or use.weights.ndim != 4 or use.order is not None:
        return False
    same = values.shape[0] == values.shape[1] == origin.heads
    return same and values.stride(0) < values.stride(1)
