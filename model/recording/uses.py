"""Follow a softmax to the product with values, which shows what it is: a map of tokens, or not.

A map of tokens is multiplied with values along the dimension over which it sums to one. Between
the two a model may mix heads, subtract a second map, gate or mask; what multiplies the values is
then the map that acts. A softmax over channels, classes or experts has other uses.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.recording.origin import Origin
from model.recording.record import AttentionRecord

_DROPOUT = {F.dropout, torch.dropout, F.alpha_dropout, torch.nn.functional.dropout1d}
_PRODUCTS = {
    torch.matmul,
    torch.bmm,
    Tensor.matmul,
    Tensor.bmm,
    Tensor.__matmul__,
    Tensor.__rmatmul__,
}
_TRANSPOSITIONS = {Tensor.mT.__get__, Tensor.T.__get__, torch.t, Tensor.t}  # type: ignore[attr-defined]  # untyped getters
_SWAPS = {
    torch.transpose,
    Tensor.transpose,
    torch.swapaxes,
    Tensor.swapaxes,
    torch.swapdims,
    Tensor.swapdims,
}
_PERMUTATIONS = {torch.permute, Tensor.permute}


@dataclass(eq=False)
class Softmax:
    """One softmax inside the net, and the record that was made of it, if any."""

    name: str  # of the module
    origin: Origin
    input: tuple[int, ...]  # shape of the first tensor that the module was given
    of_product: bool  # whether its scores come from a product, as of queries and keys
    record: AttentionRecord | None = None
    why_none: str = ""  # where there is no record
    done: bool = False  # whether it has met values


@dataclass(eq=False)
class Followed:
    """A tensor that comes from softmaxes, with the dimension over which these sum to one."""

    sources: list[Softmax]
    axis: int  # counted from the last, -1
    acting: Tensor | None = None  # before dropout, where something has changed the softmax


@dataclass(frozen=True)
class Use:
    """A product of followed weights with values along the dimension of the softmax."""

    followed: Followed
    weights: Tensor  # (..., Q, K), as it multiplies the values
    values: Tensor  # (..., K, d)
    order: tuple[int, ...] | None = None  # of the dimensions, where an einsum names them
    values_of_product: bool = False
    result_order: tuple[int, ...] | None = None  # of the result's dimensions, to (..., Q, d)

    @property
    def sources(self) -> list[Softmax]:
        """The softmaxes that the weights come from."""
        return self.followed.sources

    @property
    def acting(self) -> Tensor | None:
        """The weights before dropout, where they are not just the softmax; None where they are."""
        acting = self.followed.acting
        if acting is None or acting.shape != self.weights.shape:
            return None if acting is None else self.weights
        return acting

    def why_no_map(self) -> str | None:
        """Say what the weights are if they are no map of tokens; None for a map."""
        source = self.sources[0]
        tokens, widths = tokens_and_widths(source.input)
        queries, keys = self.weights.shape[-2:]
        heads = self.weights.shape[-3] if self.weights.ndim > 3 else 1
        features = self.values.shape[-1]
        of_product = any(each.of_product for each in self.sources)
        if features in tokens and keys not in tokens and heads * features not in widths:
            return "it weighs channels"
        if not of_product and self.values_of_product:
            return "it is over the features of each token, as in linear attention"
        if not of_product and queries not in tokens and heads * queries in widths:
            return "it is over the tokens of each feature, as in linear attention"
        return None


@dataclass
class UseLog:
    """The tensors that come from softmaxes while a net runs."""

    softmaxes: list[Softmax] = field(default_factory=list)
    _products: dict[int, weakref.ref[Tensor]] = field(default_factory=dict)
    _followed: dict[int, tuple[weakref.ref[Tensor], Followed]] = field(default_factory=dict)

    def begin(self, weights: Tensor, softmax: Softmax, dim: int) -> None:
        """Follow the result of a softmax over dimension `dim`."""
        self.softmaxes.append(softmax)
        axis = dim - weights.ndim if dim >= 0 else dim
        self._follow(weights, Followed([softmax], axis))

    def is_product(self, tensor: Any) -> bool:
        """Whether a tensor comes from a product of two tensors that the net has computed."""
        found = self._products.get(id(tensor))
        return found is not None and found() is tensor

    def see(self, func: Callable, args: tuple, kwargs: dict[str, Any], result: Any) -> Use | None:
        """Note what a function makes of followed tensors; a product with values is returned."""
        multiplies = func in _PRODUCTS or func is torch.einsum
        if not (multiplies or self._followed or self._products):
            return None
        if not (multiplies or kwargs or self._may_concern(args)):
            return None
        given = _tensors((*args, *kwargs.values()))
        if multiplies or (self._products and self._stays_product(func, given)):
            for tensor in _tensors((result,)):
                self._follow_product(tensor)
        followed = [tensor for tensor in given if self._of(tensor)]
        if not followed:
            return None
        if func in _PRODUCTS:
            return self._product(func, given, result) if len(given) == 2 else None
        if func is torch.einsum:
            return self._einsum(args, result)
        self._derive(func, args, kwargs, followed, result)
        return None

    def _derive(
        self,
        func: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        given: Sequence[Tensor],
        result: Any,
    ) -> None:
        """Follow the results that still have the dimension of the softmax."""
        before, old = given[0], self._get(given[0])
        sources = list(dict.fromkeys(s for t in given for s in self._get(t).sources))
        for new in _tensors((result,)):
            axis = moved_axis(func, args, kwargs, before, old.axis, new)
            if axis is None or -axis > new.ndim or new.shape[axis] != before.shape[old.axis]:
                continue
            if len(sources) > 1 or not (func in _DROPOUT or _arranges(func)):
                acting: Tensor | None = new
            elif func in _DROPOUT or old.acting is None:
                acting = old.acting
            else:
                acting = new
            self._follow(new, Followed(sources, axis, acting))

    def _product(self, func: Callable, given: list[Tensor], result: Tensor) -> Use | None:
        left, right = given if func is not Tensor.__rmatmul__ else reversed(given)
        if (followed := self._of(left)) is not None:
            if followed.axis == -1 and left.ndim > 1:
                return self._use(followed, left, right)
            self._carry(followed, result)
        elif (followed := self._of(right)) is not None:
            if followed.axis == -2 and left.ndim > 1:
                swapped = (*range(result.ndim - 2), result.ndim - 1, result.ndim - 2)
                return self._use(followed, right.mT, left.mT, result_order=swapped)
            self._carry(followed, result)
        return None

    def _carry(self, followed: Followed, result: Tensor) -> None:
        """Follow a product over another dimension: heads were mixed, or groups collected."""
        if isinstance(result, Tensor) and -followed.axis <= result.ndim:
            self._follow(result, Followed(followed.sources, followed.axis, result))

    def _einsum(self, args: tuple, result: Tensor) -> Use | None:
        equation, *operands = args
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = list(operands[0])
        if not isinstance(equation, str) or "..." in equation or len(operands) != 2:
            return None
        inputs, _, output = equation.replace(" ", "").partition("->")
        terms = inputs.split(",")
        for index, tensor in enumerate(operands):
            followed = self._of(tensor)
            if followed is None or not output:
                continue
            term, other = terms[index], terms[1 - index]
            if len(term) != tensor.ndim:
                return None
            key = term[followed.axis]
            if key in output or key not in other:
                if key in output:
                    self._follow(
                        result, Followed(followed.sources, output.index(key) - len(output), result)
                    )
                return None
            queries = [c for c in term if c in output and c not in other]
            leading = [c for c in output if c in term and c not in queries]
            if len(queries) != 1 or len(leading) + 2 != len(term):
                return self._use(followed, tensor, operands[1 - index])
            order = tuple(term.index(c) for c in (*leading, queries[0], key))
            features = [c for c in other if c not in term]
            values, result_order = operands[1 - index], None
            if len(features) == 1 and all(c in other for c in (*leading, key)):
                values = values.permute([other.index(c) for c in (*leading, key, features[0])])
            if len(features) == 1 and len(output) == len(leading) + 2:
                result_order = tuple(output.index(c) for c in (*leading, queries[0], features[0]))
            return self._use(followed, tensor, values, order, result_order)
        return None

    def _use(
        self,
        followed: Followed,
        weights: Tensor,
        values: Tensor,
        order: tuple[int, ...] | None = None,
        result_order: tuple[int, ...] | None = None,
    ) -> Use | None:
        if weights.ndim < 2 or values.ndim < 2:
            return None  # one row alone: no map can be made of it here
        if all(source.done for source in followed.sources):
            return None
        for source in followed.sources:
            source.done = True
        return Use(followed, weights, values, order, self.is_product(values), result_order)

    def _may_concern(self, args: tuple) -> bool:
        """Whether an argument is followed or may hold one. Cheap, since every call pays for it."""
        followed, products = self._followed, self._products
        for argument in args:
            number = id(argument)
            if number in followed or number in products or type(argument) in (list, tuple):
                return True
        return False

    def _stays_product(self, func: Callable, given: Sequence[Tensor]) -> bool:
        name = getattr(func, "__name__", "").strip("_")
        known = name in _SCALES or name in _ARRANGES
        return known and any(self.is_product(tensor) for tensor in given)

    def _follow_product(self, tensor: Tensor) -> None:
        number = id(tensor)
        self._products[number] = weakref.ref(tensor, lambda _: self._products.pop(number, None))

    def _follow(self, tensor: Tensor, followed: Followed) -> None:
        number = id(tensor)
        forget = weakref.ref(tensor, lambda _: self._followed.pop(number, None))
        self._followed[number] = (forget, followed)

    def _of(self, tensor: Any) -> Followed | None:
        found = self._followed.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def _get(self, tensor: Tensor) -> Followed:
        followed = self._of(tensor)
        assert followed is not None
        return followed


def moved_axis(
    func: Callable, args: tuple, kwargs: dict[str, Any], before: Tensor, axis: int, new: Tensor
) -> int | None:
    """Find where a dimension (counted from the last) lies after a function, None where unknown."""
    if func in _TRANSPOSITIONS:
        return {-1: -2, -2: -1}.get(axis, axis)
    if func in _SWAPS or func in _PERMUTATIONS:
        dims = [_from_last(dim, before.ndim) for dim in _dims(args, kwargs)]
        if func in _SWAPS and len(dims) == 2:
            return {dims[0]: dims[1], dims[1]: dims[0]}.get(axis, axis)
        return dims.index(axis) - len(dims) if axis in dims else None
    return axis


def _dims(args: tuple, kwargs: dict[str, Any]) -> list[int]:
    given = [*args[1:], *(v for k, v in kwargs.items() if k != "input")]
    flat = [n for value in given for n in (value if isinstance(value, list | tuple) else [value])]
    return [n for n in flat if isinstance(n, int)]  # named dimensions are text


def _from_last(dim: int, ndim: int) -> int:
    return dim if dim < 0 else dim - ndim


_SCALES = {
    *("mul", "rmul", "imul", "multiply", "div", "truediv", "itruediv", "divide", "add", "radd"),
    *("iadd", "sub", "rsub", "isub", "masked_fill", "where", "clamp", "get"),
}
_ARRANGES = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("expand", "expand_as", "contiguous", "clone", "detach", "chunk", "split", "unbind"),
    *("to", "type", "type_as", "float", "half", "bfloat16", "double", "requires_grad_"),
    *("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "__get__"),
    *("narrow", "select", "__getitem__", "retain_grad"),
}


def _arranges(func: Callable) -> bool:
    """Whether a function moves or copies entries without changing them."""
    return getattr(func, "__name__", "") in _ARRANGES


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def tokens_and_widths(shape: tuple[int, ...]) -> tuple[set[int], set[int]]:
    """The numbers of tokens, and of channels, that a module's input of this shape may have."""
    match shape:
        case (_, tokens, width):  # (B, N, D), or (N, B, D)
            return {tokens, shape[0]}, {width}
        case (_, second, third, last):  # (B, C, H, W), or (B, H, W, C)
            return {third * last, second * third}, {second, last}
    return set(), set()
