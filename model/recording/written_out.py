"""Recognise a softmax that a model writes out: exp(x) / exp(x).sum(dim), or exp(x - logsumexp(x)).

The scores x come from a product, as of queries and keys; any maximum may have been subtracted
before, and a mask or a small number may be applied on the way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from model.recording.functions import Role


class WrittenOut(NamedTuple):
    """How far a tensor has come on its way from scores to a softmax."""

    name: str  # "scores", "exp", "sum", "logsumexp", "log_softmax" or, at the end, "softmax"
    dim: int | None = None  # counted from the last


def next_stage(
    role: Role, args: tuple, kwargs: dict[str, Any], result: Any, stages: list[WrittenOut | None]
) -> WrittenOut | None:
    """Find how far the result of a function is; None where the function leads elsewhere.

    `stages` are those of the positional arguments.
    """
    if not stages or not isinstance(result, Tensor):
        return None
    first = stages[0]
    second = stages[1] if len(stages) > 1 else None
    match role.what, first, second:
        case "log_softmax", _, _:
            return _along("log_softmax", args, kwargs)
        case "exp", WrittenOut("log_softmax", dim), _:
            return WrittenOut("softmax", dim)
        case "exp", WrittenOut("scores"), _:
            return WrittenOut("exp")
        case "logsumexp", WrittenOut("scores"), _:
            return _along("logsumexp", args, kwargs)
        case "sum", WrittenOut("exp"), _:
            return _along("sum", args, kwargs)
        case "subtract", WrittenOut("scores"), WrittenOut("logsumexp", dim):
            return WrittenOut("log_softmax", dim)
        case "divide", WrittenOut("exp"), WrittenOut("sum", dim):
            return WrittenOut("softmax", dim)
        case "normalize", WrittenOut("exp"), _:
            power, dim = (*args[1:], kwargs.get("p", 2.0), kwargs.get("dim", 1))[:2]
            return (
                WrittenOut("softmax", dim if dim < 0 else dim - result.ndim) if power == 1 else None
            )
    return None


def _along(name: str, args: tuple, kwargs: dict[str, Any]) -> WrittenOut | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if isinstance(dim, list | tuple) and len(dim) == 1:
        dim = dim[0]
    if not isinstance(dim, int):
        return None
    return WrittenOut(name, dim if dim < 0 else dim - args[0].ndim)
