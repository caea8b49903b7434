"""Tell what each function of torch does to the tensors that the recorder follows.

A net calls many functions, and most of them are no business of the recorder: what a function does
is looked up once, and its role is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
_LOG_SOFTMAX = {
    *(F.log_softmax, torch.log_softmax, Tensor.log_softmax, torch.special.log_softmax),
}
_PRODUCTS = {
    *(torch.matmul, torch.bmm, torch.mm, Tensor.matmul, Tensor.bmm, Tensor.mm),
    *(Tensor.__matmul__, Tensor.__rmatmul__, torch.mv, Tensor.mv),
}
_DROPOUT = {F.dropout, torch.dropout, F.alpha_dropout, F.dropout1d}
_TRANSPOSITIONS = {Tensor.mT.__get__, Tensor.T.__get__, torch.t, Tensor.t}  # type: ignore[attr-defined]  # untyped getters
_SWAPS = {
    *(torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes),
    *(torch.swapdims, Tensor.swapdims),
}
_PERMUTATIONS = {torch.permute, Tensor.permute}

# By name, without underscores: mul, __mul__, __imul__ and mul_ are one function here.
_SUBTRACTS = {"sub", "rsub", "isub", "subtract"}
_DIVIDES = {"div", "truediv", "itruediv", "divide", "true_divide"}
_SCALES = {
    *("mul", "rmul", "imul", "multiply", "add", "radd", "iadd", "masked_fill", "where", "clamp"),
    *("clamp_min", "clip", "tanh", "baddbmm", *_SUBTRACTS, *_DIVIDES),
}
_ARRANGES = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("expand", "expand_as", "contiguous", "clone", "detach", "chunk", "split", "unbind"),
    *("to", "type", "type_as", "float", "half", "bfloat16", "double", "requires_grad"),
    *("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "get"),
    *("narrow", "select", "getitem", "retain_grad"),
}
_MEASURES = {
    *("sum", "mean", "std", "var", "norm", "any", "all", "isnan", "isinf", "isfinite", "eq", "ne"),
    *("max", "min", "amax", "amin", "argmax", "argmin", "topk", "sort", "argsort", "log"),
}
_IN_PLACE = {"setitem", "iadd", "isub", "imul", "itruediv", "ipow", "iand", "ior"}


@dataclass(frozen=True, slots=True)
class Role:
    """What one function does."""

    notable: bool  # whether it matters where nothing is followed yet
    what: str  # "attention", "softmax", "log_softmax", "exp", "logsumexp", "sum", "divide", ...
    multiplies: bool  # two tensors, along a dimension
    scales: bool  # entry by entry, in place or not
    arranges: bool  # moves or copies entries without changing them
    measures: bool  # says something about a tensor, as its sum does
    writes: bool  # into its first argument
    drops: bool  # dropout
    moves: str  # "last two", "two" or "all" dimensions
    joins: bool  # puts tensors beside each other


@lru_cache(maxsize=2048)
def role_of(func: Callable) -> Role:
    """Look up what a function of torch does."""
    name = getattr(func, "__name__", "")
    word = name.strip("_")
    what = _what(func, word)
    multiplies = func in _PRODUCTS or func is torch.einsum
    writes = word in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
    begins = what in ("attention", "softmax", "gumbel_softmax", "log_softmax", "exp", "roll", "dim")
    return Role(
        notable=begins or multiplies or writes,
        what=what,
        multiplies=multiplies,
        scales=word in _SCALES,
        arranges=word in _ARRANGES,
        measures=word in _MEASURES,
        writes=writes,
        drops=func in _DROPOUT,
        moves=_moves(func),
        joins=word in ("cat", "concat", "concatenate"),
    )


def _what(func: Callable, word: str) -> str:
    if func is F.scaled_dot_product_attention:
        return "attention"
    if func is F.multi_head_attention_forward:
        return "multi-head attention"
    if func in SOFTMAX:
        return "softmax"
    if func in _LOG_SOFTMAX:
        return "log_softmax"
    if func is torch.einsum:
        return "einsum"
    if word in _SUBTRACTS:
        return "subtract"
    if word in ("mul", "rmul", "imul", "multiply"):
        return "multiply"
    if word in _DIVIDES:
        return "divide"
    named = ("exp", "logsumexp", "sum", "normalize", "roll", "gumbel_softmax", "dim")
    return word if word in named else ""


def _moves(func: Callable) -> str:
    if func in _TRANSPOSITIONS:
        return "last two"
    if func in _SWAPS:
        return "two"
    return "all" if func in _PERMUTATIONS else ""
