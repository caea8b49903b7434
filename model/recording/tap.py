"""Watch every torch function that this thread calls, and make records of attention calls.

A net whose last recording saw fused attention alone is watched at torch's dispatcher instead, which
shows nothing but what matters (`model.recording.kernels`).
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.recording import kernels
from model.recording.call_log import CallLog
from model.recording.calls import ModuleCall, calls_inside, method_call, running_calls
from model.recording.dimensions import (
    Arrangement,
    find_arrangement,
    has_one_head,
    is_ambiguous,
    to_four_dimensions,
)
from model.recording.functions import Role, role_of
from model.recording.infer import (
    Roll,
    attends,
    call_with_heads,
    infer_batch_sizes,
    infer_heads,
    infer_kind,
    infer_windows,
    tokens_and_widths,
)
from model.recording.modes import RecordingMode
from model.recording.origin import Origin, version_of
from model.recording.partitions import keeps_own_order
from model.recording.record import AttentionRecord
from model.recording.structure import Structure
from model.recording.uses import Softmax, Use, UseLog, fused_over_channels
from model.recording.written_out import WrittenOut

# torch's own function, less the check that would hand it back to the mode again and again.
multi_head_attention_forward = types.FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


class _FusedNets:
    """The nets whose last recording saw fused attention alone, for as long as they live."""

    def __init__(self) -> None:
        self._nets: dict[int, weakref.ref[nn.Module]] = {}

    def __contains__(self, net: nn.Module) -> bool:
        found = self._nets.get(id(net))
        return found is not None and found() is net

    def note(self, net: nn.Module, fused: bool) -> None:
        number = id(net)
        if fused and net not in self:
            self._nets[number] = weakref.ref(net, lambda ref: self._forget(number, ref))
        elif not fused:
            self._nets.pop(number, None)

    def _forget(self, number: int, ref: weakref.ref[nn.Module]) -> None:
        if self._nets.get(number) is ref:
            del self._nets[number]


_fused_nets = _FusedNets()


class Tap(RecordingMode):
    """Call `keep` with a record of each attention call inside `net`, and change no call."""

    def __init__(
        self,
        net: nn.Module,
        structure: Structure,
        keep: Callable[[AttentionRecord], None],
        withdraw: Callable[[AttentionRecord], None],
    ) -> None:
        super().__init__()
        self.net = net
        self.keep = keep
        self.withdraw = withdraw
        self.names = structure.names
        self.began_quietly = False
        self.quiet = False  # whether the dispatcher shows what matters, instead of the mode
        self.has_fast_paths = structure.has_fast_paths
        self.all_fused = True  # whether nothing but fused attention has been seen
        self.ran = False  # whether any torch function did
        self.flex_checks = 0
        self.elsewhere = 0  # attention calls outside the net
        self.passed_over: list[tuple[str, str]] = []  # modules of other softmaxes, and why
        self.proven: set[str] = set()  # modules in which attention multiplied values
        self.call_log = CallLog()
        self.roll: Roll | None = None
        self.uses = UseLog()

    def __enter__(self) -> RecordingMode:
        if self.net in _fused_nets and not self.has_fast_paths and kernels.can_watch():
            self.quiet = self.began_quietly = True
            kernels.watch(self)
            return self
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        if self.quiet:
            self.quiet = False
            kernels.unwatch(self)
        else:
            super().__exit__(*error)
            if self.began_quietly:
                kernels.settle()

    def see_roll(self, input: Tensor, shifts: Any, dims: Any = None) -> None:
        """Remember a roll that the dispatcher shows."""
        self._remember_roll(input, shifts, dims)

    def see_other_way(self, func: Callable, args: tuple, result: Any) -> None:
        """See every function from here on, since the net attends otherwise than before.

        Nobody has watched where the scores came from, so they are taken for a product.
        """
        self.see_everything()
        self.uses.take_for_product(args[0])
        self._see(role_of(func), func, args, {}, result)

    def see_hidden(self, what: str) -> None:
        """Name attention that runs inside one kernel, and see every function from here on."""
        self.see_everything()
        name, calls, _ = self._find_caller()
        if calls:
            self.passed_over.append((name, f"{what} computes it inside one kernel"))

    def see_everything(self) -> None:
        """Go over from the dispatcher to the function mode."""
        if self.quiet:
            self.quiet = self.all_fused = False
            kernels.unwatch(self)
            super().__enter__()

    def __torch_function__(
        self, func: Callable, _: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        role = role_of(func)
        if role.what == "multi-head attention":
            with self:
                return multi_head_attention_forward(*args, **(kwargs or {}))
        result = func(*args, **kwargs) if kwargs else func(*args)
        self.ran = True
        if role.notable or self.uses.alive or (kwargs and "out" in kwargs):
            self._see(role, func, args, kwargs or {}, result)
        return result

    def _see(
        self, role: Role, func: Callable, args: tuple, kwargs: dict[str, Any], result: Any
    ) -> None:
        if role.what == "attention":
            self.see_fused(result, *args, **kwargs)
        elif role.what == "softmax":
            self._record_softmax(result, *args, **kwargs)
        elif role.what == "gumbel_softmax":
            dim = kwargs.get("dim", args[4] if len(args) > 4 else -1)
            self._begin_softmax(result, dim, self.uses.is_product(args and args[0]))
        elif role.what == "roll":
            self._remember_roll(*args, **kwargs)
        elif role.what == "dim":
            self._see_flex_attention(sys._getframe(2))
        else:
            match self.uses.see(role, func, args, kwargs, result):
                case Use() as use:
                    self._amend(use)
                case WrittenOut("softmax", int(dim)):
                    self._begin_softmax(result, dim, of_product=True)
                case WrittenOut("exp"):
                    self._pass_over_deferred()
            if role.writes or "out" in kwargs:
                self._count_write(args[0] if role.writes and args else kwargs.get("out"))

    def _see_flex_attention(self, caller: FrameType) -> None:
        """Count torch's flex_attention, whose kernel hides its map.

        Nothing is seen of it, except that it asks three tensors for their dimensions.
        """
        code = caller.f_code
        if code.co_name != "flex_attention" or not code.co_filename.endswith("flex_attention.py"):
            return
        self.all_fused = False
        self.flex_checks += 1
        name, calls, _ = self._find_caller()
        if calls and self.flex_checks % 3 == 0:
            self.passed_over.append((name, "flex_attention computes it inside one kernel"))

    def _count_write(self, written: Any) -> None:
        self.all_fused = False  # the dispatcher would not show it
        if isinstance(written, Tensor):
            self.call_log.count_write(written)

    def see_fused(
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
        """Record a fused call, which the dispatcher shows or the mode."""
        name, calls, origin = self._find_caller()
        if not calls:
            self.elsewhere += 1
            return
        if query.is_nested:
            self.all_fused = False
            self._record_nested(name, calls, origin, query, key, scale)
            return
        if fused_over_channels(calls[0].tensors, value):
            self.passed_over.append((name, "it weighs channels"))
            return
        *leading, queries, _ = output.shape
        of_query, of_key = query.shape, key.shape
        # A batch may share its queries (latents), or heads their keys.
        if [*of_query[:-2]] != leading:
            query = query.expand(*leading, *of_query[-2:])
        if not enable_gqa and not [*of_key[:-2]] == [*value.shape[:-2]] == leading:
            key, value = (t.expand(*leading, *t.shape[-2:]) for t in (key, value))
        shape = (*leading, queries, of_key[-2])
        origin = _with_one_head(origin, shape, calls)
        order = find_arrangement(shape, origin)
        if order or len(shape) != 4:
            if attn_mask is not None:
                attn_mask = attn_mask.expand(shape)
                attn_mask = to_four_dimensions(attn_mask, origin, order)
            query, key, value = (to_four_dimensions(t, origin, order) for t in (query, key, value))
            shape = (*query.shape[:3], key.shape[2])
        gradients = output.requires_grad
        if not gradients and query.requires_grad:  # learned, and expanded in inference mode
            query = query.detach()
        if not gradients and version_of(key):
            key = key.clone()  # something was written into it: a cache, which changes again
        if is_ambiguous(output, calls[0].module, origin):
            origin = origin._replace(stacked=True)
        self.proven.add(name)
        self._keep(
            name,
            calls,
            shape,
            origin=origin,
            arrangement=order,
            query=query,
            grouped_key=key,
            scale=of_query[-1] ** -0.5 if scale is None else float(scale),
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

    def _record_softmax(self, weights: Tensor, input: Tensor, *args: Any, **kwargs: Any) -> None:
        dim = kwargs.get("dim", args[0] if args else None)
        if isinstance(dim, int):
            self._begin_softmax(weights, dim, self.uses.is_product(input), input)

    def _begin_softmax(
        self, weights: Tensor, dim: int, of_product: bool, scores: Tensor | None = None
    ) -> None:
        """Follow a softmax over dimension `dim`, and keep its map where it is plainly one."""
        if weights.ndim < 2:
            return
        name, calls, origin = self._find_caller()
        if not calls:
            self.elsewhere += weights.ndim > 2
            return
        shape = _shape_given(calls, scores)
        # Scores that the net was given may be a product; nobody here can know.
        given = not of_product and any(scores is tensor for tensor in calls[-1].tensors)
        softmax = Softmax(name, origin, shape, of_product or given, given)
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
        origin = _with_one_head(origin, weights.shape, calls)
        order = find_arrangement(weights.shape, origin, handwritten=True)
        map = to_four_dimensions(weights, origin, order)
        origin = origin._replace(stacked=is_ambiguous(weights, calls[0].module, origin))
        anchor = weights if weights.requires_grad else None
        return self._keep(
            name, calls, map.shape, origin=origin, arrangement=order, map=map, anchor=anchor
        )

    def _amend(self, use: Use) -> None:
        """Make the record of a softmax hold what multiplies the values, or withdraw it."""
        first, *others = use.sources
        for source in others:
            self._withdraw(source)
        if use.second:
            first.record = first.kept() if first.kept else None
            self._pass_over(first, "its columns multiply several sets of values")
        elif reason := use.why_no_map():
            self._pass_over(first, reason)
        elif first.record is None and not self._record_late(first, use):
            self._pass_over(first, first.why_none)
        else:
            self.proven.add(first.name)
            assert first.record is not None, "it has been kept at the softmax, or now"
            self._arrange(first.record, use)
            first.kept = weakref.ref(first.record)
            first.record = None  # the recorder alone decides how long a record lives

    def _record_late(self, softmax: Softmax, use: Use) -> bool:
        """Keep a map that only its use has shown to be one, such as (K, Q) or one of one head."""
        _, calls, _ = self._find_caller()
        inputs = (tuple(given.shape) for call in calls[:1] for given in call.tensors)
        shapes = (softmax.input, *inputs)
        tokens = {count for shape in shapes for count in tokens_and_widths(shape)[0]}
        if not use.arranged or not (softmax.of_product or use.weights.shape[-1] in tokens):
            return False
        softmax.record = self._record_map(softmax.name, calls, softmax.origin, use.weights)
        softmax.record.anchor = use.own if use.own.requires_grad else None
        return True

    def _arrange(self, record: AttentionRecord, use: Use) -> None:
        changed = use.acting is not None
        if use.entrywise and use.own.ndim == 4 and not changed:  # a query for each of the others
            map = use.own.movedim(1, -2).flatten(0, 1)[:, None]
            record.amend(map, use.own, Arrangement((0, 2, 1, 3)), changed=False)
            _, calls, _ = self._find_caller()
            self._describe(record, calls)
        if use.summed or not (changed or use.order or heads_first(use, record.origin)):
            return
        weights = use.own if use.acting is None else use.acting
        arrangement = _arrangement(use, record.origin)
        map = to_four_dimensions(weights, record.origin, arrangement)
        record.amend(map, weights, arrangement, changed)
        if use.followed.first_column is not None:  # it had more keys than there are
            _, calls, _ = self._find_caller()
            self._describe(record, calls)

    def _pass_over_deferred(self) -> None:
        name, calls, _ = self._find_caller()
        if calls:
            reason = "its weights are divided after they have multiplied the values"
            self.passed_over.append((name, reason))

    def _pass_over(self, softmax: Softmax, reason: str) -> None:
        self._withdraw(softmax)
        self.passed_over.append((softmax.name, reason))

    def _withdraw(self, softmax: Softmax) -> None:
        if softmax.record is not None:
            self.withdraw(softmax.record)
            softmax.record = None

    def finish(self) -> None:
        """Withdraw the records of softmaxes that did not turn out to be attention."""
        fused = self.all_fused and bool(self.proven) and not self.uses.softmaxes
        _fused_nets.note(self.net, fused and not self.passed_over)
        for softmax in self.uses.softmaxes:
            if softmax.done:
                continue
            if softmax.collected:
                self._pass_over(softmax, "it is multiplied along another dimension than its own")
            elif softmax.record is None:
                self._pass_over(softmax, softmax.why_none)
            elif softmax.name in self.proven:
                self._pass_over(softmax, "the module attends by another map")
            elif not softmax.of_product:
                self._pass_over(softmax, "it did not multiply values")
            elif not (softmax.consumed or softmax.given):
                self._pass_over(softmax, "nothing was seen to use it")

    def _remember_roll(self, input: Tensor, shifts: Any, dims: Any = None) -> None:
        inside = [call.kwargs for call in running_calls()]
        self.roll = Roll(inside, tuple(input.shape), shifts, dims)

    def _find_caller(self) -> tuple[str, list[ModuleCall], Origin]:
        """Find the module of the net that is running, by name, and the calls from it outwards."""
        calls = calls_inside(self.names, running_calls())
        if calls:
            names = self.names
            inside = [call for call in calls if id(call.module) in names]
            origin = self.call_log.origin(inside, infer_heads(calls))
            return names[id(calls[0].module)], calls, origin
        if call := method_call(self.net):
            origin = Origin(batches=infer_batch_sizes(call), heads=infer_heads([call]))
            return "", [call], origin
        return "", [], Origin()

    def _keep(
        self, name: str, calls: list[ModuleCall], shape: Sequence[int], **held: Any
    ) -> AttentionRecord:
        batch, heads, queries, keys = shape
        record = AttentionRecord(name, "self", (batch, heads, queries, keys), **held)
        self._describe(record, calls)
        self.keep(record)
        return record

    def _describe(self, record: AttentionRecord, calls: list[ModuleCall]) -> None:
        """Tell the kind of a record, and its windows."""
        batch, _, queries, keys = record.shape
        record.kind = infer_kind(record.name, calls, queries, keys)
        same = queries == keys
        record.windows = infer_windows(calls, batch, keys, self.roll) if same else None
        record.ordered = record.windows is not None or not keeps_own_order(calls, not same)


def pad_nested(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Pad a nested (B, H, j, d) to (B, H, N, d), and tell which of its tokens are real (B, N)."""
    tokens = tensor.transpose(1, 2)
    padded = torch.nested.to_padded_tensor(tokens, 0.0).transpose(1, 2)
    lengths = torch.tensor([len(one) for one in tokens.unbind()], device=padded.device)
    real = torch.arange(padded.shape[2], device=padded.device) < lengths[:, None]
    return padded, real


def _shape_given(calls: list[ModuleCall], scores: Tensor | None) -> tuple[int, ...]:
    """Find the shape of what the innermost module was given that was not given the scores."""
    for call in calls:
        inputs = call.tensors
        if not any(tensor is scores for tensor in inputs):
            return tuple(inputs[0].shape) if inputs else ()
    return ()


def _with_one_head(origin: Origin, shape: Sequence[int], calls: list[ModuleCall]) -> Origin:
    """Note where the heads of a module cannot share the first dimension of its map."""
    if len(shape) != 3 or (call := call_with_heads(calls)) is None:
        return origin
    given = next((tuple(tensor.shape) for tensor in call.tensors), ())
    return origin._replace(one_head=has_one_head(shape, given))


def is_map(weights: Tensor, call: ModuleCall) -> bool:
    """Whether a softmax made a map of tokens, rather than class probabilities or a router.

    Four dimensions and more are taken for a map, unless it is a map of channels. Three are a map
    where the module attends by its name or has heads, or where every token weighs all tokens.
    """
    tokens = next((tuple(given.shape) for given in call.tensors), ())
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


def _arrangement(use: Use, origin: Origin) -> Arrangement | None:
    """Find the way from the model's weights to (..., H, Q, K)."""
    if heads_first(use, origin):
        return Arrangement((1, 0, 2, 3))
    shape = use.own.shape
    if use.order is None:
        return find_arrangement(shape, origin, handwritten=True)
    found = find_arrangement([shape[place] for place in use.order], origin, handwritten=True)
    if found is None or found.heads or (use.named and len(shape) == 4):
        return Arrangement(use.order)
    return Arrangement(tuple(use.order[place] for place in found.order))


def heads_first(use: Use, origin: Origin) -> bool:
    """Whether the values show that heads come before as many images: (H, B, Q, K).

    In memory the heads of a token lie beside each other, and images apart, unless somebody has
    copied the values since.
    """
    values = use.values
    if values.ndim != 4 or use.own.ndim != 4 or use.order is not None:
        return False
    same = values.shape[0] == values.shape[1] == origin.heads
    return same and values.stride(0) < values.stride(1)
