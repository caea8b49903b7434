"""Follow a softmax to the product with values, which shows what it is: a map of tokens, or not.

A map of tokens is multiplied with values along the dimension over which it sums to one. Between
the two a model may mix heads, subtract a second map, gate or mask; what multiplies the values is
then the map that acts. A softmax over channels, classes or experts has other uses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any
from weakref import KeyedRef, ref

from torch import Tensor, nn

from model.recording.call_log import storage_of
from model.recording.functions import Role
from model.recording.infer import tokens_and_widths
from model.recording.origin import Origin
from model.recording.record import AttentionRecord
from model.recording.written_out import WrittenOut, next_stage


@dataclass(eq=False)
class Softmax:
    """One softmax inside the net, and the record that was made of it, if any."""

    name: str  # of the module
    origin: Origin
    input: tuple[int, ...]  # shape of the first tensor that the module was given
    of_product: bool  # whether its scores come from a product, as of queries and keys
    given: bool = False  # whether the net was given the scores
    record: AttentionRecord | None = None
    why_none: str = ""  # where there is no record
    done: bool = False  # whether it has met values
    collected: bool = False  # whether it was multiplied along another dimension
    first_column: int | None = None  # that has met values, where columns were cut off before
    consumed: bool = False  # whether anything was computed from it
    kept: ref[AttentionRecord] | None = None  # the record, once it has met values
    tensors: list[int] = field(default_factory=list)  # the ids of those that come from it


@dataclass(eq=False)
class Followed:
    """A tensor that comes from softmaxes, with the dimension over which these sum to one."""

    sources: list[Softmax] = field(default_factory=list)
    axis: int = -1  # counted from the last
    acting: Tensor | None = None  # before dropout, where something has changed the softmax
    product: bool = False  # whether it comes from a product of tensors that the net computed
    stage: WrittenOut | None = None  # of a softmax that is being written out
    first_column: int | None = None  # that is left, where columns were cut off, such as a sink's
    weighed: tuple[Tensor, Tensor] | None = None  # weights and values, of which it is the product


@dataclass(frozen=True)
class Use:
    """A product of followed weights with values along the dimension of the softmax."""

    followed: Followed
    own: Tensor  # the weights, as the model gave them to the product
    values: Tensor  # (..., K, d)
    order: tuple[int, ...] | None = None  # of the weights' dimensions, to (..., Q, K)
    named: bool = False  # whether an einsum names the dimensions
    values_of_product: bool = False
    result_order: tuple[int, ...] | None = None  # of the result's dimensions, to (..., Q, d)
    arranged: bool = True  # whether the weights are known to be (..., Q, K), after `order`
    summed: bool = False  # whether there is one query only, without a dimension
    tokens_before: frozenset[int] = frozenset()  # how many attended to each other before, in a pass
    entrywise: bool = False  # whether (B, 1, ..., K) was multiplied entry by entry, and summed
    second: bool = False  # whether other columns of the softmax have met other values already

    @property
    def weights(self) -> Tensor:
        """The weights that multiply the values, (..., Q, K)."""
        weights = self.own if self.order is None else self.own.permute(self.order)
        return weights[..., None, :] if self.summed else weights

    @property
    def sources(self) -> list[Softmax]:
        """The softmaxes that the weights come from."""
        return self.followed.sources

    @property
    def acting(self) -> Tensor | None:
        """The weights before dropout, where they are not just the softmax; None where they are."""
        acting = self.followed.acting
        if acting is None or acting.shape != self.own.shape:
            return None if acting is None else self.own
        return acting

    def why_no_map(self) -> str | None:
        """Say what the weights are if they are no map of tokens; None for a map."""
        source = self.sources[0]
        tokens, widths = tokens_and_widths(source.input)
        shape = self.weights.shape
        queries, keys = shape[-2:]
        heads = {shape[-3] if len(shape) > 3 else 1, source.origin.heads or 1}
        features = self.values.shape[-1]
        of_features = any(head * features in widths for head in heads)
        of_features &= not _lie_side_by_side(source.input, self.values)
        if isinstance(self.values, nn.Parameter):
            return "it weighs the rows of a learned table"
        if self.entrywise and source.input[2:] != self.own.shape[2:]:
            return "each query weighs values of its own, such as sampled points"
        if len(shape) == 2 and queries == keys and (keys,) == source.origin.batches:
            return "it weighs the images of a batch"
        if features in tokens and keys not in tokens and not (of_features or self._is_of_parts()):
            channels = any(head * keys in widths for head in heads)
            return "it weighs channels" if channels else "it weighs something else than tokens"
        if keys in tokens and of_channels(source, self.weights, self.values, widths):
            return "it weighs channels"
        if queries == 1 and keys not in tokens and self._is_for_each_token():
            return "it weighs something else than tokens"
        if any(each.of_product for each in self.sources):
            return None
        one_map = len(shape) == 3 and shape[0] in source.origin.batches
        if one_map and (source.origin.heads or 1) > 1 and queries > 1:
            return "its scores are no product of queries and keys"
        if self.values_of_product:
            return "it is over the features of each token, as in linear attention"
        if tokens and queries > 1 and queries not in tokens:
            if any(head * queries in widths for head in heads):
                return "it is over the tokens of each feature, as in linear attention"
            if queries != keys:
                return "its scores are no product of queries and keys"
        return None

    def _is_of_parts(self) -> bool:
        """Whether the tokens attend to a coarser grid, or the windows make up all the tokens.

        Channels of as many features as there are tokens are told apart by that.
        """
        source, (*leading, queries, keys) = self.sources[0], self.weights.shape
        tokens, _ = tokens_and_widths(source.input)
        if queries in tokens and queries != keys and source.of_product:
            return True
        maps = prod(leading)
        images_and_heads = [each * (source.origin.heads or 0) for each in source.origin.batches]
        return any(maps * keys == each * count for each in images_and_heads for count in tokens)

    def _is_for_each_token(self) -> bool:
        """Whether each token has weights of its own, as over what the layers before made of it."""
        source, groups = self.sources[0], self.weights.shape[0]
        if groups in _tokens_of_all(source.input):
            return True
        images = source.origin.batches
        return any(groups == each * tokens for each in images for tokens in self.tokens_before)


_PRODUCT = Followed(product=True, stage=WrittenOut("scores"))


class UseLog:
    """The tensors that come from softmaxes, or from products, while a net runs."""

    def __init__(self) -> None:
        self.softmaxes: list[Softmax] = []
        self.alive: dict[int, tuple[KeyedRef, Followed]] = {}
        self.tokens = defaultdict[int, frozenset[int]](frozenset)  # by the number of the pass
        self._forget = _forgets(self.alive)

    def begin(self, weights: Tensor, softmax: Softmax, dim: int) -> None:
        """Follow the result of a softmax over dimension `dim`."""
        self.softmaxes.append(softmax)
        self._follow(weights, Followed([softmax], _from_last(dim, weights.ndim)))

    def take_for_product(self, tensor: Tensor) -> None:
        """Follow scores that nobody has seen come about as if they were a product."""
        if self.find(tensor) is None:
            self._follow(tensor, _PRODUCT)

    def is_product(self, tensor: Any) -> bool:
        """Whether a tensor comes from a product of two tensors that the net has computed."""
        followed = self.find(tensor)
        return followed is not None and followed.product

    def find(self, tensor: Any) -> Followed | None:
        """Find what a tensor comes from; None where that is nothing of interest."""
        found = self.alive.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def see(
        self, role: Role, func: Callable, args: tuple, kwargs: dict[str, Any], result: Any
    ) -> Use | WrittenOut | None:
        """Note what a function makes of followed tensors.

        A product with values is returned, the last stage of a softmax that is written out, and the
        stage "exp" where values meet it before it is one.
        """
        alive = self.alive
        if not alive and role.multiplies and not kwargs:
            self._follow_product(args, result)
            return None
        for argument in args:  # cheap, since every call pays for it
            if id(argument) in alive or type(argument) in (list, tuple):
                break
        else:
            if not (role.multiplies or kwargs):
                return None
        given = _tensors((*args, *kwargs.values()))
        followed = [tensor for tensor in given if id(tensor) in alive and self.find(tensor)]
        if role.multiplies:
            return self._multiply(role, func, args, given, followed, result)
        if followed and role.what and (stage := self._next_stage(role, args, kwargs, result)):
            if stage.name == "softmax":
                return stage
            self._follow(result, Followed(product=True, stage=stage))
        elif followed:
            return self._derive(role, args, kwargs, followed, result)
        return None

    def _next_stage(
        self, role: Role, args: tuple, kwargs: dict[str, Any], result: Any
    ) -> WrittenOut | None:
        found = (self.find(argument) or Followed() for argument in args[:2])
        return next_stage(role, args, kwargs, result, [followed.stage for followed in found])

    def _multiply(
        self,
        role: Role,
        func: Callable,
        args: tuple,
        given: list[Tensor],
        followed: list[Tensor],
        result: Any,
    ) -> Use | WrittenOut | None:
        sources = [source for tensor in followed for source in self._get(tensor).sources]
        # What attention made is followed no further: as values, it is tokens again.
        if not any(source.of_product for source in sources):
            self._follow_product(given, result)
        if not sources:
            stages = (self._get(tensor).stage for tensor in followed)
            return next((stage for stage in stages if stage and stage.name == "exp"), None)
        self._consume(sources)
        if role.what == "einsum":
            return self._einsum(args, result)
        if len(given) != 2:
            return None
        left, right = given if func is not Tensor.__rmatmul__ else reversed(given)
        return self._product(left, right, result)

    def _follow_product(self, given: Sequence[Any], result: Any) -> None:
        """Follow a product, unless it is a projection, which has its parameter on the right."""
        if isinstance(result, Tensor) and not isinstance(given[-1], nn.Parameter):
            self._follow(result, _PRODUCT)

    def _derive(
        self,
        role: Role,
        args: tuple,
        kwargs: dict[str, Any],
        given: Sequence[Tensor],
        result: Any,
    ) -> Use | None:
        """Follow the results that still have the dimension of the softmax."""
        before = next((t for t in given if self._get(t).sources), given[0])
        old = self._get(before)
        if not old.sources:
            self._derive_product(role, args, kwargs, before, old, result)
            return None
        if role.what == "sum" and old.weighed is not None:
            return self._sum(args, kwargs, old, *old.weighed)
        sources = list(dict.fromkeys(s for t in given for s in self._get(t).sources))
        unchanged = len(sources) == 1 and (role.drops or role.arranges)
        if not (unchanged or role.measures):
            self._consume(sources)
        for new in _tensors((result,)):
            axis = moved_axis(role, args, kwargs, before, old.axis, new)
            if axis is None or -axis > new.ndim:
                continue
            acting = old.acting if unchanged and (role.drops or old.acting is None) else new
            first = old.first_column
            if new.shape[axis] != before.shape[old.axis]:
                start = first_column_left(before, new, axis) if unchanged else None
                if start is None:
                    continue
                acting, first = new, start + (first or 0)
            weighed = entry_by_entry(args, before, new, axis) if role.what == "multiply" else None
            self._follow(new, Followed(sources, axis, acting, first_column=first, weighed=weighed))
        return None

    def _sum(
        self, args: tuple, kwargs: dict[str, Any], old: Followed, weights: Tensor, values: Tensor
    ) -> Use | None:
        """Use weights (B, 1, ..., K) whose products with values (B, d, ..., K) are summed."""
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dim = dim[0] if isinstance(dim, list | tuple) and len(dim) == 1 else dim
        if not isinstance(dim, int):
            return None
        if _from_last(dim, values.ndim) != -1 or old.axis != -1:
            for source in old.sources:
                source.collected = True
            return None
        followed, values = self.find(weights), values.movedim(1, -1)
        if followed is None:
            return None
        return self._use(followed, weights, values, summed=True, entrywise=True)

    def _derive_product(
        self,
        role: Role,
        args: tuple,
        kwargs: dict[str, Any],
        before: Tensor,
        old: Followed,
        result: Any,
    ) -> None:
        """Follow a product, or a softmax that is being written out, while it is scaled or moved."""
        if not (role.scales or role.arranges or role.drops or role.joins):
            return
        for new in _tensors((result,)):
            stage = old.stage
            if stage is not None and stage.dim is not None and role.moves:
                stage = WrittenOut(
                    stage.name, moved_axis(role, args, kwargs, before, stage.dim, new)
                )
            self._follow(new, Followed(product=True, stage=stage))

    def _consume(self, sources: Iterable[Softmax]) -> None:
        for source in sources:
            source.consumed = True

    def _product(self, left: Tensor, right: Tensor, result: Tensor) -> Use | None:
        followed = self.find(left)
        if followed is not None and followed.sources:
            if followed.axis == -1:
                return self._use(followed, left, right)
            self._carry(followed, right, followed.axis, result)
            return None
        followed = self._get(right)
        if followed.axis == -2 and right.ndim > 1 and left.ndim > 1:
            last = (*range(right.ndim - 2), right.ndim - 1, right.ndim - 2)
            swapped = (*range(result.ndim - 2), result.ndim - 1, result.ndim - 2)
            return self._use(followed, right, left.mT, order=last, result_order=swapped)
        self._carry(followed, left, followed.axis, result)
        return None

    def _carry(
        self, followed: Followed, other: Tensor, axis: int, result: Tensor, shared: bool = True
    ) -> None:
        """Follow a product over another dimension, which mixes heads by one matrix for all images.

        A product with tensors of each image collects tokens instead, as slots do.
        """
        if shared and other.ndim > 2:
            for source in followed.sources:
                source.collected = True
        elif isinstance(result, Tensor) and -axis <= result.ndim:
            self._follow(result, Followed(followed.sources, axis, result, product=True))

    def _einsum(self, args: tuple, result: Tensor) -> Use | None:
        equation, *operands = args
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = list(operands[0])
        if not isinstance(equation, str) or "..." in equation or len(operands) != 2:
            return None
        inputs, _, output = equation.replace(" ", "").partition("->")
        terms = inputs.split(",")
        for index, tensor in enumerate(operands):
            followed = self.find(tensor)
            if followed is None or not followed.sources or not output:
                continue
            term, other = terms[index], terms[1 - index]
            if len(term) != tensor.ndim:
                return None
            key = term[followed.axis]
            values = operands[1 - index]
            if key in output or key not in other:
                if key in output:
                    axis = output.index(key) - len(output)
                    shared = any(c in output and c in other for c in term if c != key)
                    self._carry(followed, values, axis, result, shared)
                return None
            queries = [c for c in term if c in output and c not in other]
            leading = [c for c in output if c in term and c not in queries]
            if len(queries) > 1 or len(leading) + len(queries) + 1 != len(term):
                return self._use(followed, tensor, values, arranged=False)
            order = tuple(term.index(c) for c in (*leading, *queries, key))
            features = [c for c in other if c not in term]
            result_order = None
            if len(features) == 1 and all(c in other for c in (*leading, key)):
                values = values.permute([other.index(c) for c in (*leading, key, features[0])])
            if len(features) == 1 and len(output) == len(leading) + 2:
                places = (*leading, *queries, features[0])
                result_order = tuple(output.index(c) for c in places) if queries else None
            return self._use(
                followed,
                tensor,
                values,
                order=order,
                named=True,
                result_order=result_order,
                summed=not queries,
            )
        return None

    def _use(
        self, followed: Followed, weights: Tensor, values: Tensor, **details: Any
    ) -> Use | None:
        if weights.ndim < 2 or values.ndim < 2:
            return None  # one row alone: no map can be made of it here
        first, start = followed.sources[0], followed.first_column
        second = first.done and first.first_column not in (None, start)
        if all(source.done for source in followed.sources) and not second:
            return None
        first.first_column = start
        self._finish(followed.sources, still_follow=start is not None)
        run = first.origin.run
        use = Use(
            followed,
            weights,
            values,
            values_of_product=self.is_product(values),
            tokens_before=self.tokens[run],
            second=second,
            **details,
        )
        queries, keys = use.weights.shape[-2:]
        if 1 < queries == keys:
            self.tokens[run] |= {keys}
        return use

    def _finish(self, sources: list[Softmax], still_follow: bool) -> None:
        """Follow no longer what has met values: its record may keep the tensor alive.

        Where columns were cut off, these may yet meet other values.
        """
        for source in sources:
            source.done = True
        if still_follow:
            return
        for number in [number for source in sources for number in source.tensors]:
            found = self.alive.get(number)
            if found and found[1].sources and all(each.done for each in found[1].sources):
                del self.alive[number]

    def _follow(self, tensor: Tensor, followed: Followed) -> None:
        number = id(tensor)
        for source in followed.sources:
            source.tensors.append(number)
        self.alive[number] = KeyedRef(tensor, self._forget, number), followed

    def _get(self, tensor: Tensor) -> Followed:
        followed = self.find(tensor)
        assert followed is not None
        return followed


def _forgets(alive: dict[int, tuple[KeyedRef, Followed]]) -> Callable[[KeyedRef], None]:
    def forget(ref: KeyedRef) -> None:
        found = alive.get(ref.key)
        if found is not None and found[0] is ref:
            del alive[ref.key]

    return forget


def moved_axis(
    role: Role, args: tuple, kwargs: dict[str, Any], before: Tensor, axis: int, new: Tensor
) -> int | None:
    """Find where a dimension (counted from the last) lies after a function, None where unknown."""
    if not role.moves:
        return axis
    if role.moves == "last two":
        return {-1: -2, -2: -1}.get(axis, axis)
    dims = [_from_last(dim, before.ndim) for dim in _dims(args, kwargs)]
    if role.moves == "two" and len(dims) == 2:
        return {dims[0]: dims[1], dims[1]: dims[0]}.get(axis, axis)
    return dims.index(axis) - len(dims) if axis in dims else None


def first_column_left(before: Tensor, new: Tensor, axis: int) -> int | None:
    """Find where a view begins in dimension `axis` of a tensor; None where it is no such part.

    Whatever made it, the view has the strides and, but for that dimension, the sizes of the tensor.
    """
    if new.stride() != before.stride() or storage_of(new) != storage_of(before):
        return None
    others = (dim for dim in range(new.ndim) if dim != axis % new.ndim)
    if any(new.shape[dim] != before.shape[dim] for dim in others) or not before.stride(axis):
        return None
    offset = int(new.storage_offset()) - int(before.storage_offset())
    start, rest = divmod(offset, before.stride(axis))
    inside = 0 <= start <= before.shape[axis] - new.shape[axis]
    return start if inside and not rest else None


def entry_by_entry(
    args: tuple, weights: Tensor, product: Tensor, axis: int
) -> tuple[Tensor, Tensor] | None:
    """Weights (B, 1, ..., K) and the values (B, d, ..., K) that they multiply entry by entry."""
    values = next((t for t in args if t is not weights), None)
    if not isinstance(values, Tensor) or values.shape != product.shape or axis != -1:
        return None
    same = weights.ndim == values.ndim > 2 and weights.shape[2:] == values.shape[2:]
    return (weights, values) if same and weights.shape[1] == 1 < values.shape[1] else None


def _dims(args: tuple, kwargs: dict[str, Any]) -> list[int]:
    given = [*args[1:], *(v for k, v in kwargs.items() if k != "input")]
    flat = [n for value in given for n in (value if isinstance(value, list | tuple) else [value])]
    return [n for n in flat if isinstance(n, int)]  # named dimensions are text


def _from_last(dim: int, ndim: int) -> int:
    return dim if dim < 0 else dim - ndim


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def of_channels(source: Softmax, weights: Tensor, values: Tensor, widths: set[int]) -> bool:
    """Whether values (..., K, d) come from tokens (B, N, D) or (B, H, W, D) with channels K: XCiT.

    Where a head has as many channels as there are tokens, only memory tells.
    """
    heads, queries, keys = weights.shape[-3] if weights.ndim > 3 else 1, *weights.shape[-2:]
    may_be = queries == keys and heads * keys in widths
    return may_be and _lie_side_by_side(source.input, values)


def fused_over_channels(given: Sequence[Tensor], value: Tensor) -> bool:
    """Whether a fused call attends over the channels of its module's tokens, as DaViT does.

    Args:
        given: what the module was given.
        value: (B, heads, K, d).
    """
    if not given or value.ndim != 4 or value.stride(-2) != 1:
        return False
    shape = tuple(given[0].shape)
    tokens, widths = tokens_and_widths(shape)
    heads, keys, features = value.shape[1:]
    is_apart = _lie_side_by_side(shape, value)
    return is_apart and features in tokens and heads * keys in widths


def _lie_side_by_side(given: tuple[int, ...], values: Tensor) -> bool:
    """Whether the keys are a token's channels by their places in memory.

    The channels of a token lie side by side where the module was given them last: (B, N, D), or
    (B, H, W, D), which is told from (B, D, H, W) by a square grid.
    """
    last = len(given) == 3 or (len(given) == 4 and given[1] == given[2] != given[3])
    return last and values.stride(-2) == 1 < values.stride(-1)


def _tokens_of_all(shape: tuple[int, ...]) -> set[int]:
    """The number of all tokens of all images, for an input (B, N, D) of several tokens."""
    return {shape[0] * shape[1]} if len(shape) == 3 and min(shape[:2]) > 1 else set()
