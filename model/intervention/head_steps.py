"""Follow one query through one head, from the token's vector to the block's output.

Vaswani et al. 2017, "Attention Is All You Need"; Dosovitskiy et al. 2021, "An Image is Worth 16x16
Words". The order of the steps is the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from model.intervention.graph_reader import read_layer
from model.intervention.layer_numbers import LayerNumbers, Norm


@dataclass(frozen=True)
class HeadStep:
    """One step on the way through a head, with the model's own numbers.

    Attributes:
        name: What the step is, in one word.
        formula: How its numbers come about.
        value: The numbers: a vector, one number for each key, or one number alone.
    """

    name: str
    formula: str
    value: Tensor


@dataclass(frozen=True)
class HeadSteps:
    """The way of one query through one head, as `inside_head` follows it.

    Attributes:
        layer: Everything that was found of the layer, for all tokens and heads.
        head: The head that is followed, from zero.
        query: The token that asks, from zero.
        key: The token whose products with the query are written out.
        steps: The steps in the order in which the model takes them.
        difference: How far heads times output projection, computed in float64 from the maps and
            values, lies from the attention's own output; NaN where that cannot be compared.
        block_difference: How far input, attention and MLP together lie from the block's own
            output; NaN where a part of the block was not found.
        missing: Sentences about what could not be found in the model.
    """

    layer: LayerNumbers
    head: int
    query: int
    key: int
    steps: list[HeadStep]
    difference: float
    block_difference: float
    missing: list[str]

    def __getitem__(self, name: str) -> Tensor:
        """Return the numbers of the step with this name; KeyError where there is none."""
        for step in self.steps:
            if step.name == name:
                return step.value
        raise KeyError(f"There is no step {name!r}: {', '.join(s.name for s in self.steps)}.")


def inside_head(
    net: nn.Module,
    inputs: Tensor | Callable[[], Any],
    layer: int | str = -1,
    head: int = 0,
    query: int = 0,
    key: int = 0,
) -> HeadSteps:
    """Follow one query through one head of a running model, with the model's own numbers.

        >>> import torch
        >>> from model.intervention import inside_head
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
        >>> inside = inside_head(net, torch.randn(1, 3, 32, 32), layer=1, head=2, query=0, key=4)
        >>> [step.name for step in inside.steps[:8]]
        ['token', 'norm', 'query', 'key', 'value', 'products', 'product', 'scaled']
        >>> [step.name for step in inside.steps[8:]]
        ['softmax', 'mixed', 'heads', 'projected', 'residual', 'mlp', 'leaving']
        >>> round(inside["softmax"].sum().item(), 6)  # over all keys
        1.0
        >>> inside.difference < 1e-5 and inside.block_difference < 1e-5
        True

    The net runs once as it is, its fused kernels on, and stays as it was. Projections, LayerNorms,
    residual and MLP are found in what it calls, whoever wrote it; where one is not found, the steps
    leave it out and `missing` says so.

    Args:
        net: any PyTorch module that `AttentionRecorder` records, in eval mode.
        inputs: one image (1, C, H, W); or a function that runs the net on one image or one
            caption, for nets that are called in another way.
        layer: number of the layer among the modules that attend, from zero (negative ones from the
            last); or the name of a module.
        head: number of the head, from zero.
        query: number of the token that asks.
        key: number of the token that it is compared with, in a windowed layer within its window.

    Raises:
        IndexError: where there is no such head, query or key.
        NothingRecorded: where there is no such layer, or nothing attends.
        ValueError: for more than one image.
    """
    numbers = read_layer(net, inputs, layer)
    return steps_of(numbers, head, query, key)


def steps_of(numbers: LayerNumbers, head: int, query: int, key: int) -> HeadSteps:
    """Follow one query through one head of a layer whose numbers are known.

    Raises IndexError where there is no such head, query or key.
    """
    _, heads, queries, keys = numbers.record.shape
    for what, number, count in (
        ("head", head, heads),
        ("query", query, numbers.record.shape[0] * queries),
        ("key", key, keys),
    ):
        if not 0 <= number < count:
            raise IndexError(f"There is no {what} {number}: this layer has {count}, from 0.")
    steps = [
        *_to_projections(numbers, head, query, key),
        *_to_map(numbers, head, query, key),
        *_to_output(numbers, head, query),
    ]
    return HeadSteps(
        numbers,
        head,
        query,
        key,
        steps,
        numbers.difference(),
        numbers.block_difference(),
        numbers.missing,
    )


def _to_projections(numbers: LayerNumbers, head: int, query: int, key: int) -> Iterator[HeadStep]:
    place = numbers.keys_of(query).start + key
    if numbers.entering is not None:
        yield HeadStep("token", "x_i", numbers.entering[query])
    if numbers.norm_before is not None:
        yield HeadStep(
            "norm", _norm_formula(numbers.norm_before), numbers.norm_before.result[query]
        )
    for name, letter, tensor, token in (
        ("query", "q_i", numbers.query, query),
        ("key", "k_j", numbers.key, place),
        ("value", "v_j", numbers.value, place),
    ):
        if tensor is not None:
            turned = f", {numbers.changed}" if numbers.changed and name != "value" else ""
            formula = f"{letter} = W_{letter[0]} x + b_{letter[0]}{turned}"
            yield HeadStep(name, formula, tensor[head, token])


def _to_map(numbers: LayerNumbers, head: int, query: int, key: int) -> Iterator[HeadStep]:
    rows = slice(query, query + 1)
    if numbers.query is not None and numbers.key is not None:
        other = numbers.key[head, numbers.keys_of(query).start + key].double()
        products = numbers.query[head, query].double() * other
        yield HeadStep("products", "q_i · k_j, dimension by dimension", products)
        yield HeadStep("product", "their sum", products.sum())
        scaled = numbers.scores(head, rows, masked=False)[0]
        yield HeadStep("scaled", f"times {numbers.scale:.4g}, for every key", scaled)
        if numbers.bias is not None:
            masked = numbers.scores(head, rows)[0]
            yield HeadStep("masked", "with the mask or bias added", masked)
    yield HeadStep("softmax", "softmax over all keys", numbers.row(head, query))


def _to_output(numbers: LayerNumbers, head: int, query: int) -> Iterator[HeadStep]:
    if numbers.value is not None:
        values = numbers.value[head, numbers.keys_of(query)].double()
        yield HeadStep("mixed", "sum over j of A_ij v_j", numbers.row(head, query) @ values)
    if numbers.mixed is not None:
        yield HeadStep("heads", "all heads side by side", numbers.mixed[query])
    if numbers.projected is not None:
        yield HeadStep("projected", "W_O [h_1 ... h_H] + b_O", numbers.projected[query])
    if numbers.residual is not None:
        yield HeadStep("residual", "x_i + attention", numbers.residual[query])
    if numbers.norm_after is not None:
        formula = _norm_formula(numbers.norm_after)
        yield HeadStep("norm_after", formula, numbers.norm_after.result[query])
    if numbers.mlp is not None:
        activation = numbers.mlp.activation or "activation"
        yield HeadStep("mlp", f"W_2 {activation}(W_1 x + b_1) + b_2", numbers.mlp.added[query])
    if numbers.leaving is not None and numbers.mlp is not None:
        yield HeadStep("leaving", "the token as it leaves the block", numbers.leaving[query])


def _norm_formula(norm: Norm) -> str:
    if norm.kind == "RMSNorm":
        return "x / rms · weight"
    return "(x − mean) / deviation · weight + bias"
