"""Read what a torch call's arguments mean: a linear layer, a norm, a factor, a product."""

from __future__ import annotations

import torch
from torch import Tensor

from model.intervention.call_graph import Call
from model.intervention.layer_numbers import Norm, Projection


def linear_input(call: Call) -> Tensor:
    """Return the tokens that a linear layer was given: `linear`, or `addmm(bias, tokens, ...)`."""
    return call.argument(0, "input") if call.name == "linear" else call.argument(1, "mat1")


def as_projection(call: Call) -> Projection:
    """Read a linear layer."""
    if call.name == "linear":
        weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
    else:
        weight, bias = call.argument(2, "mat2").mT, call.argument(0, "input")
    given = linear_input(call)
    return Projection(weight, bias, given.reshape(-1, given.shape[-1]))


def as_norm(call: Call, result: Tensor) -> Norm:
    """Read `layer_norm(x, shape, weight, bias, eps)` or `rms_norm(x, shape, weight, eps)`."""
    plain = call.name == "layer_norm"
    eps = call.argument(4 if plain else 3, "eps", 1e-5 if plain else None)
    return Norm(
        kind="LayerNorm" if plain else "RMSNorm",
        weight=call.argument(2, "weight"),
        bias=call.argument(3, "bias") if plain else None,
        eps=torch.finfo(call.result.dtype).eps if eps is None else float(eps),
        result=result,
    )


def dropout_of(call: Call) -> float:
    """Read a dropout's probability."""
    return float(call.argument(1, "p", 0.5))


def factor_of(call: Call) -> float | None:
    """Read the number by which a call multiplies (or divides) a tensor; None for two tensors."""
    numbers = [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, int | float)]
    numbers += [t.item() for t in call.given if t.ndim == 0 and id(t) not in call.makers]
    if len(numbers) != 1:
        return None
    return 1 / float(numbers[0]) if "div" in call.name else float(numbers[0])


def operands_of(call: Call) -> tuple[Tensor, Tensor]:
    """Return the two factors of a product, left and right; `baddbmm` adds something before."""
    *_, left, right = call.given
    return (right, left) if call.name == "rmatmul" else (left, right)
