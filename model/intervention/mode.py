"""Change attention calls while a net runs, in one thread.

The mode sees the same three kinds of calls as the recorder (`model.recording.recorder`). A fused
kernel has no place for a change of its map, so where one is asked for, the new scores go into it
as an additive mask, with queries of zero; every other call stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.errors import InterventionRefused
from model.intervention import outputs, scores
from model.recording.calls import ModuleCall, calls_inside, method_call, running_calls
from model.recording.dimensions import (
    Arrangement,
    find_arrangement,
    from_four_dimensions,
    is_ambiguous,
    to_four_dimensions,
)
from model.recording.functions import SOFTMAX, role_of
from model.recording.infer import infer_batch_sizes, infer_heads, infer_windows
from model.recording.modes import ChangingMode
from model.recording.origin import Origin
from model.recording.structure import named_modules
from model.recording.tap import (
    heads_first,
    is_map,
    multi_head_attention_forward,
)
from model.recording.uses import Softmax, Use, UseLog

Layer = int | str


@dataclass(eq=False)
class ScoreChange:
    """A rule for the scores of some heads of a layer."""

    layer: Layer
    heads: tuple[int, ...] | None  # None: all
    rule: scores.Rule
    of_tokens: bool = False  # whether it names tokens, which windows do not share


@dataclass(eq=False)
class OutputChange:
    """A rule for the outputs of some heads of a layer; layer None stands for every layer."""

    layer: Layer | None
    heads: tuple[int, ...] | None
    rule: outputs.Rule


@dataclass(eq=False)
class ProjectionChange:
    """A matrix whose product is left out: zeros instead, or its input as it came."""

    layer: Layer
    name: str  # of the attention module, as the structure of the net says
    weight: Tensor
    identity: bool = False


@dataclass
class Changes:
    """All that is changed inside the attention of a net."""

    scores: list[ScoreChange] = field(default_factory=list)
    outputs: list[OutputChange] = field(default_factory=list)
    projections: list[ProjectionChange] = field(default_factory=list)

    def all(self) -> list[ScoreChange | OutputChange | ProjectionChange]:
        """List the changes of every kind."""
        return [*self.scores, *self.outputs, *self.projections]


class AttentionCall(NamedTuple):
    """An attention call: its module's name, its number, and the module calls around it."""

    name: str
    number: int
    calls: list[ModuleCall]

    @property
    def origin(self) -> Origin:
        """What decides the order of dimensions."""
        return Origin(batches=infer_batch_sizes(self.calls[-1]), heads=infer_heads(self.calls))

    def is_in(self, layer: Layer | None) -> bool:
        """Whether the call belongs to a layer, given by number or by name."""
        if isinstance(layer, str):
            return self.name == layer or self.name.startswith(layer + ".")
        return layer is None or layer == self.number


class AttentionChanger(ChangingMode):
    """Apply `changes` to the attention calls inside a net."""

    def __init__(self, net: nn.Module, changes: Changes) -> None:
        super().__init__()
        self.net = net
        self.changes = changes
        self.names = {id(module): name for name, module in named_modules(net)}
        self.projections = {id(change.weight): change for change in changes.projections}
        self.seen: list[str] = []  # layers in running order
        self.made: set[int] = set()  # changes that were made, by id
        self.uses = UseLog()
        self.places: dict[int, AttentionCall] = {}  # of softmaxes, by id
        self.doubtful: set[str] = set()  # layers whose softmax is not known to be attention

    def __torch_function__(
        self, func: Callable, _: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return multi_head_attention_forward(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._fused(*args, **kwargs)
        if func in SOFTMAX:
            return self._softmax(func, args, kwargs)
        if self.projections and (change := self._projection(func, args)):
            return self._without_projection(func, args, change)
        result = func(*args, **kwargs)
        if self.changes.outputs:
            use = self.uses.see(role_of(func), func, args, kwargs, result)
            return self._used(use, result) if isinstance(use, Use) else result
        return result

    # -- the three kinds of calls ---------------------------------------------------------------

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        options: dict[str, Any] = {"dropout_p": dropout_p, "scale": scale}
        if enable_gqa:
            options["enable_gqa"] = True
        place = self._place()
        before, after = self._changes_at(place)
        if not before:
            result = F.scaled_dot_product_attention(
                query, key, value, attn_mask, is_causal=is_causal, **options
            )
        else:
            with torch._C.DisableTorchFunction():
                changed = fused_scores(query, key, attn_mask, is_causal, scale)
                changed = self._change_scores(changed, before, place)
                nothing = torch.zeros_like(query)
            result = F.scaled_dot_product_attention(
                nothing, key, value, changed.to(query.dtype), **options
            )
        if not after:
            return result
        assert place is not None, "changes are found at a place"
        with torch._C.DisableTorchFunction():
            origin = place.origin
            order = find_arrangement((*result.shape[:-1], key.shape[-2]), origin)
            return self._change_outputs(result, order, after, place)

    def _softmax(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        given = args[0] if args else kwargs["input"]
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        place = None
        if given.ndim >= 2 and dim in (-1, given.ndim - 1):
            place = self._place(given)
        before, _ = self._changes_at(place)
        if before:
            with torch._C.DisableTorchFunction():
                changed = self._change_scores(given, before, place, handwritten=True)
            args, kwargs = (changed, *args[1:]), {k: v for k, v in kwargs.items() if k != "input"}
        weights = func(*args, **kwargs)
        if place is not None:
            self._follow(place, given, weights)
        return weights

    def _follow(self, place: AttentionCall, given: Tensor, weights: Tensor) -> None:
        inputs = place.calls[0].tensors
        of_product = self.uses.is_product(given) or any(given is t for t in place.calls[-1].tensors)
        shape = tuple(inputs[0].shape) if inputs else ()
        softmax = Softmax(place.name, place.origin, shape, of_product)
        self.places[id(softmax)] = place
        self.doubtful.add(place.name)
        self.uses.begin(weights, softmax, -1)

    def _used(self, use: Use, result: Tensor) -> Tensor:
        """Change what a product of a softmax with values returns."""
        place = self.places.get(id(use.sources[0]))
        if place is None or use.why_no_map():
            return result
        self.doubtful.discard(place.name)
        _, after = self._changes_at(place)
        if not after:
            return result
        with torch._C.DisableTorchFunction():
            origin = place.origin
            if use.named and not use.result_order:
                raise InterventionRefused(_no_heads(place.name))
            arranged = result if use.result_order is None else result.permute(use.result_order)
            if heads_first(use, origin):
                order: Arrangement | None = Arrangement((1, 0, 2, 3))
            elif use.result_order is not None and use.named:
                order = None
            else:
                shape = (*arranged.shape[:-1], use.values.shape[-2])
                order = find_arrangement(shape, origin, handwritten=True)
            changed = self._change_outputs(arranged, order, after, place)
            if use.result_order is None:
                return changed
            back = [use.result_order.index(at) for at in range(result.ndim)]
            return changed.permute(back)

    def _projection(self, func: Callable, args: tuple) -> ProjectionChange | None:
        place = {F.linear: 1, torch.addmm: 2}.get(func)
        if place is None or len(args) <= place:
            return None
        return self.projections.get(id(args[place]))

    def _without_projection(self, func: Callable, args: tuple, change: ProjectionChange) -> Tensor:
        self.made.add(id(change))
        given, width = (
            (args[0], change.weight.shape[0])
            if func is F.linear
            else (args[1], change.weight.shape[1])
        )
        if not change.identity:
            return given.new_zeros(*given.shape[:-1], width)
        if given.shape[-1] != width:
            raise InterventionRefused(
                f"The output projection of {change.name} goes from {given.shape[-1]} to {width} "
                "channels, so it cannot be replaced by the identity."
            )
        return given

    # -- changes --------------------------------------------------------------------------------

    def _place(self, given: Tensor | None = None) -> AttentionCall | None:
        """Find the layer whose attention is running; None outside the net, or for no map."""
        calls = calls_inside(self.names, running_calls())
        if not calls:
            call = method_call(self.net)
            calls = [call] if call else []
        if not calls or (given is not None and not is_map(given, calls[0])):
            return None
        name = self.names[id(calls[0].module)]
        if name not in self.seen:
            self.seen.append(name)
        return AttentionCall(name, self.seen.index(name), calls)

    def _changes_at(
        self, place: AttentionCall | None
    ) -> tuple[list[ScoreChange], list[OutputChange]]:
        if place is None:
            return [], []
        before = [c for c in self.changes.scores if place.is_in(c.layer)]
        return before, [c for c in self.changes.outputs if place.is_in(c.layer)]

    def _change_scores(
        self,
        given: Tensor,
        changes: Sequence[ScoreChange],
        place: AttentionCall | None,
        handwritten: bool = False,
    ) -> Tensor:
        assert place is not None, "changes are found at a place"
        origin = place.origin
        order = find_arrangement(given.shape, origin, handwritten)
        arranged = to_four_dimensions(given, origin, order).clone()
        for change in changes:
            if change.of_tokens:
                _refuse_windows(place, arranged)
            heads = _heads(change.heads, arranged, given, place)
            arranged[:, heads] = change.rule(arranged, heads).to(arranged.dtype)
            self.made.add(id(change))
        return from_four_dimensions(arranged, given.shape, order)

    def _change_outputs(
        self,
        given: Tensor,
        order: Arrangement | None,
        changes: Sequence[OutputChange],
        place: AttentionCall,
    ) -> Tensor:
        arranged = to_four_dimensions(given, place.origin, order).clone()
        for change in changes:
            heads = _heads(change.heads, arranged, given, place)
            arranged[:, heads] = change.rule(arranged, heads, place.name).to(arranged.dtype)
            self.made.add(id(change))
        return from_four_dimensions(arranged, given.shape, order)

    # -- afterwards -----------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InterventionRefused where a change was not made, or may have missed its layer."""
        asked = self.changes.all()
        missed = [change for change in asked if id(change) not in self.made]
        if missed and not self.seen:
            raise InterventionRefused(
                f"No attention ran in this {type(self.net).__name__}: call it inside the with "
                "block, in the thread that opened it."
            )
        if missed:
            raise InterventionRefused(
                f"No attention ran in layer {missed[0].layer}. The layers that attended, counted "
                f"from 0: {', '.join(self.seen[:16])}{' ...' if len(self.seen) > 16 else ''}."
            )
        for change in self.changes.projections:
            if isinstance(change.layer, int) and self.seen[change.layer] != change.name:
                raise InterventionRefused(
                    f"Layer {change.layer} is {self.seen[change.layer]} as the net ran, and "
                    f"{change.name} as it is built: give the layer by its name."
                )
        self._check_numbers([c.layer for c in asked if isinstance(c.layer, int)])

    def _check_numbers(self, numbers: Sequence[int]) -> None:
        """Refuse numbers that count a softmax which turned out to be no attention."""
        doubtful = [i for i, name in enumerate(self.seen) if name in self.doubtful]
        if self.changes.outputs and doubtful and numbers and max(numbers) >= doubtful[0]:
            raise InterventionRefused(
                f"{self.seen[doubtful[0]]} has a softmax that did not multiply values, so layers "
                "cannot be counted by it: give layers by their names."
            )


def fused_scores(
    query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float | None
) -> Tensor:
    """Compute Q Kᵀ · scale + mask as `scaled_dot_product_attention` does, (..., Q, K)."""
    if query.is_nested:
        raise InterventionRefused(
            "Pictures of different sizes run at once here, and their maps cannot be changed "
            "together: give one picture at a time."
        )
    if key.ndim > 3 and key.shape[-3] not in (1, query.shape[-3]):  # heads that share their keys
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    found = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        later = torch.ones(found.shape[-2:], dtype=torch.bool, device=found.device).triu(1)
        found = found.masked_fill(later, -torch.inf)
    if mask is None:
        return found
    if mask.dtype == torch.bool:
        return found.masked_fill(~mask, -torch.inf)
    return found + mask


def _heads(
    asked: tuple[int, ...] | None, arranged: Tensor, given: Tensor, place: AttentionCall
) -> list[int]:
    """List the heads that a change is for; InterventionRefused where they cannot be told apart."""
    count = arranged.shape[1]
    if asked is None:
        return list(range(count))
    origin = place.origin
    if given.ndim == 3 and not origin.heads:
        raise InterventionRefused(_no_heads(place.name))
    if is_ambiguous(given, place.calls[0].module, origin):
        raise InterventionRefused(
            f"{place.name} lays images and heads into one dimension, in an order that cannot be "
            "told: give one image at a time."
        )
    if outside := [head for head in asked if not 0 <= head < count]:
        raise InterventionRefused(
            f"There is no head {outside[0]} in layer {place.number} ({place.name}): it has "
            f"{count}, counted from 0."
        )
    return list(asked)


def _no_heads(name: str) -> str:
    return (
        f"The heads of {name} cannot be told apart: its module does not say how many it has, or "
        "returns them mixed. The whole layer can be changed, with all its heads."
    )


def _refuse_windows(place: AttentionCall, arranged: Tensor) -> None:
    batch, _, rows, keys = arranged.shape
    if rows == keys and infer_windows(place.calls, batch, keys):
        raise InterventionRefused(
            f"{place.name} attends inside windows, where each token has another number in every "
            "window: take tokens away from it by hiding their patches."
        )
