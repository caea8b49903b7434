"""Recognise a softmax that a model writes out: exp(x) / exp(x).sum(dim), or exp(x - logsumexp(x)).

The scores x come from a product, as of queries and keys; any maximum may have been subtracted
before, and a mask or a small number may be applied on the way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from model.recording.functions import Role


class Step(NamedTuple):
    """How far a tensor has come on its way from scores to a softmax."""

    name: str  # "scores", "exp", "sum", "logsumexp", "log_softmax" or, at the end, "softmax"
    dim: int | None = None  # counted from the last


def next_step(
    role: Role, args: tuple, kwargs: dict[str, Any], result: Any, steps: list[Step | None]
) -> Step | None:
    """Find how far the result of a function is; None where the function leads elsewhere.

    `steps` are those of the positional arguments.
    """
    if not steps or not isinstance(result, Tensor):
        return None
    first = steps[0]
    second = steps[1] if len(steps) > 1 else None
    match role.what, first, second:
        case "log_softmax", _, _:
            return _along("log_softmax", args, kwargs)
        case "exp", Step("log_softmax", dim), _:
            return Step("softmax", dim)
        case "exp", Step("scores"), _:
            return Step("exp")
        case "logsumexp", Step("scores"), _:
            return _along("logsumexp", args, kwargs)
        case "sum", Step("exp"), _:
            return _along("sum", args, kwargs)
        case "subtract", Step("scores"), Step("logsumexp", dim):
            return Step("log_softmax", dim)
        case "divide", Step("exp"), Step("sum", dim):
            return Step("softmax", dim)
        case "normalize", Step("exp"), _:
            power, dim = (*args[1:], kwargs.get("p", 2.0), kwargs.get("dim", 1))[:2]
            return Step("softmax", dim if dim < 0 else dim - result.ndim) if power == 1 else None
    return None


def _along(name: str, args: tuple, kwargs: dict[str, Any]) -> Step | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if isinstance(dim, list | tuple) and len(dim) == 1:
        dim = dim[0]
    if not isinstance(dim, int):
        return None
    return Step(name, dim if dim < 0 else dim - args[0].ndim)
