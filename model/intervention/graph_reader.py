"""Find the numbers of one attention layer in what a net calls while it runs.

    >>> import torch
    >>> from model.vit import build
    >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
    >>> numbers = read_layer(net, torch.randn(1, 3, 32, 32), layer=1)
    >>> numbers.query.shape, numbers.entering.shape  # (H, N, d) and (N, D)
    (torch.Size([3, 5, 16]), torch.Size([5, 48]))
    >>> numbers.missing  # everything was found
    []
    >>> numbers.difference() < 1e-5  # heads times output projection, against the model's own
    True

A call graph is followed from the attention up to the projections and the LayerNorm, and down to the
output projection, the residual and the MLP. What cannot be followed is missing, with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.intervention.attention_reader import NO_PROJECTION, AttentionReader
from model.intervention.block_reader import BlockReader
from model.intervention.call_graph import CallGraph
from model.intervention.graph_walk import GraphWalk
from model.intervention.layer_numbers import LayerNumbers, largest
from model.intervention.token_rows import TokenRows
from model.recording.recorder import AttentionRecorder

UNEXPLAINED = (
    "What this layer computes from its maps and values differs from its own output by {:.1g}, so "
    "something in it is not shown here."
)
TOLERANCE = 1e-3  # of the largest value; models of half precision stay below it


def read_layer(
    net: nn.Module, inputs: Tensor | Callable[[], Any], layer: int | str = -1
) -> LayerNumbers:
    """Run a net and collect the numbers of one layer and its block.

    Args:
        net: any PyTorch module that `AttentionRecorder` records; it stays as it is.
        inputs: one image (1, C, H, W), on which the net is called; or a function that runs the
            net on one image or one caption, such as a captioner's decoder.
        layer: number of the layer among the modules that attend, from zero as the recorder counts
            them (negative ones from the last); or a module's name.

    Raises:
        NothingRecorded: where the layer does not attend, or nothing does.
        ValueError: for more than one image.
    """
    run = _runner(net, inputs)
    if isinstance(layer, int) and layer < 0:
        layer = _from_the_last(net, run, layer)
    numbers = _read(net, run, layer, whole=not isinstance(inputs, Tensor))
    if NO_PROJECTION in numbers.missing and isinstance(inputs, Tensor):
        return _read(net, run, layer, whole=True)  # keys may have been made long before
    return numbers


def _runner(net: nn.Module, inputs: Tensor | Callable[[], Any]) -> Callable[[], Any]:
    if not isinstance(inputs, Tensor):
        return inputs
    if inputs.ndim != 4 or len(inputs) != 1:
        raise ValueError(
            f"Give one image, (1, C, H, W), not {tuple(inputs.shape)}; images[:1] is the first of "
            "a batch."
        )
    return lambda: net(inputs)


def _from_the_last(net: nn.Module, run: Callable[[], Any], layer: int) -> int:
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        run()
    count = len({record.name for record in recorder.records})
    if -layer > count:
        raise NothingRecorded(f"There is no layer {layer}: {count} modules attend.")
    return count + layer


def _read(net: nn.Module, run: Callable[[], Any], layer: int | str, whole: bool) -> LayerNumbers:
    recorder = AttentionRecorder(net, [layer])
    graph = CallGraph(recorder, whole)
    with torch.no_grad(), graph, recorder:
        run()
    record = recorder.records[0]
    if record.shape[0] > 1 and record.windows is None:
        raise ValueError(
            f"{record.name} attends in {record.shape[0]} images or captions at once: run it on one."
        )
    numbers = LayerNumbers(record, record.shape[1], record.scale)
    walk, rows = GraphWalk(graph.calls), TokenRows(record)
    mixing = AttentionReader(walk, rows, numbers).read()
    if mixing is not None:
        BlockReader(walk, rows, numbers).read(mixing)
        _admit_difference(numbers)
    return numbers


def _admit_difference(numbers: LayerNumbers) -> None:
    """Say so where maps and values do not make the output: something was not understood."""
    difference = numbers.difference()
    compared = numbers.mixed if numbers.projected is None else numbers.projected
    if compared is not None and difference > TOLERANCE * max(1.0, largest(compared)):
        numbers.missing.append(UNEXPLAINED.format(difference))
