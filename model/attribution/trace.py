"""Run a net forward and backward once, and keep what every attribution method needs.

trace = trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281)
weights, gradient = trace.weights(-1), trace.gradient(-1)     # A and ∂y/∂A, last layer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from model.image_layers import without_single_window
from model.nets.shared_weights import copy_sharing_weights
from model.recording.record import HELD, Selection, storage_bytes
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.tokens import TokenLayout

Score = Callable[[Tensor], Tensor]
"""The quantity to explain: the net's output (B, ...) -> one number y per image, (B,)."""

AnyTrace = TypeVar("AnyTrace", bound="Trace")

CHUNK = 1 << 22  # attention values in memory at a time


def rows_at_once(record: AttentionRecord) -> int:
    """Count the queries whose rows, of all images and heads, are `CHUNK` values together."""
    batch, heads, _, keys = record.shape
    return max(1, CHUNK // (batch * heads * keys))


def parts_of_rows(record: AttentionRecord) -> list[slice]:
    """Divide the queries of a record so that few enough rows are in memory at once."""
    size, queries = rows_at_once(record), record.shape[2]
    return [slice(first, min(first + size, queries)) for first in range(0, queries, size)]


def class_score(classes: int | Sequence[int]) -> Score:
    """Score a class by its logit, (B, classes) -> (B,): one class for all images, or one each."""

    def score(logits: Tensor) -> Tensor:
        index = torch.as_tensor(classes, device=logits.device).expand(len(logits))
        return logits.gather(1, index[:, None])[:, 0]

    return score


@dataclass(eq=False)
class Trace:
    """The attention of one pass over a batch of images, and the gradients of a score y.

    It keeps tensors but no autograd graph. In the shapes B counts images, H heads, q the queries
    that were asked for, and N tokens.
    """

    net: nn.Module
    images: Tensor
    """(B, C, H, W), the prepared images."""
    layout: TokenLayout
    """Which token stands for which patch."""
    score: Score
    """Maps the net's output to y."""
    output: Tensor
    """(B, classes), the net's output."""
    records: list[AttentionRecord]
    """The attention of each layer, first layer first."""
    gradients: list[Tensor]
    """∂y/∂anchor of each record, see `AttentionRecord.map_gradient`."""
    tokens: Tensor
    """(B, N, D), the input of the last attention layer."""
    token_gradient: Tensor
    """∂y/∂tokens."""
    image_gradient: Tensor
    """∂y/∂images."""
    last_gradient_norms: Tensor | None
    """(B, N), the length of ∂y/∂t for the last tokens t that a module returned; None if unknown."""

    @property
    def depth(self) -> int:
        """The number of attention layers."""
        return len(self.records)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the trace keeps alive, without the net."""
        held = (self.images, self.output, self.tokens, self.token_gradient, self.image_gradient)
        of_records = (tensor for record in self.records for tensor in record.tensors())
        return storage_bytes((*held, *self.gradients, *of_records))

    @property
    def readout_weights(self) -> Tensor:
        """How much each token contributes to the score directly: float32 (B, N), rows sum to one.

        The tokens are found from gradients: y depends on their attention in the last layer. This
        is the class token where the head reads it, and every patch where the head averages them.
        For a head that reads both, as in DINOv2, the class token and the patches are weighted
        by their gradients. If y depends on no token, the class token is used, or else the patches.
        """
        tokens = self.records[-1].shape[2]
        read = (self.records[-1].arranged(self.gradients[-1]) != 0).any(3).any(1)
        default = torch.zeros(tokens, dtype=torch.bool, device=read.device)
        default[0 if "cls" in self.layout.prefix else self.layout.patch_slice] = True
        read = torch.where(read.any(1, keepdim=True), read, default).float()
        read = read * self._prefix_and_patch_strengths(read)
        return read / read.sum(1, keepdim=True)

    def _prefix_and_patch_strengths(self, read: Tensor) -> Tensor:
        """Average the gradient norm over the prefix tokens in `read`, and over the patches in it.

        (B, N) -> (B, N). Ones where only one of the two groups is read, or norms are unknown.
        """
        norms = self.last_gradient_norms
        if norms is None or norms.shape != read.shape:
            return torch.ones_like(read)
        prefix = len(self.layout.prefix)
        groups = slice(0, prefix), slice(prefix, None)
        sums = [(read * norms)[:, group].sum(1, keepdim=True) for group in groups]
        means = [
            (total / read[:, group].sum(1, keepdim=True).clamp(min=1)).expand_as(read[:, group])
            for total, group in zip(sums, groups, strict=True)
        ]
        both = torch.cat(sums, 1).all(1, keepdim=True)
        return torch.where(both, torch.cat(means, 1), 1.0)

    @property
    def readout_tokens(self) -> list[int]:
        """The tokens with a readout weight above zero, in any image of the batch."""
        return self.readout_weights.any(0).nonzero().flatten().tolist()

    def mean_over_readout(self, rows: Tensor) -> Tensor:
        """Average rows of the readout tokens by their weights: (B, ..., q, N) -> (B, ..., N)."""
        weights = self.readout_weights[:, self.readout_tokens]
        return torch.einsum("bq,b...qn->b...n", weights, rows)

    def patch_map(self, values: Tensor) -> Tensor:
        """Arrange the patches' values on their grid: (B, N) -> (B, rows, columns)."""
        return values[:, -self.layout.patches :].unflatten(1, self.layout.grid)

    def weights(self, layer: int, queries: Selection = None) -> Tensor:
        """The attention map A of a layer, (B, H, q, N)."""
        return self.records[layer].weights(queries=queries)

    def gradient(self, layer: int, queries: Selection = None) -> Tensor:
        """The gradient ∂y/∂A of a layer's map, (B, H, q, N)."""
        return self.records[layer].map_gradient(self.gradients[layer], queries=queries)

    def fused(self, layer: int, fuse: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Combine A and ∂y/∂A of all heads into one matrix, (B, N, N).

        `fuse` takes both, (B, H, q, N) each, and returns (B, q, N). It gets a chunk of rows at a
        time, so the N x N maps of all heads are never in memory at once.
        """
        parts = parts_of_rows(self.records[layer])
        return torch.cat([fuse(self.weights(layer, p), self.gradient(layer, p)) for p in parts], 1)

    def fused_weights(self, layer: int, fuse: Callable[[Tensor], Tensor]) -> Tensor:
        """Combine A of all heads into one matrix, (B, N, N), as `fused`; `fuse` takes A alone."""
        parts = parts_of_rows(self.records[layer])
        return torch.cat([fuse(self.weights(layer, part)) for part in parts], 1)

    def mean_weights(self, layer: int) -> Tensor:
        """Average A over the readout tokens, head by head: (B, H, N)."""
        return self._mean_over_readout_in_parts(layer, self.weights)

    def mean_gradient(self, layer: int) -> Tensor:
        """Average ∂y/∂A over the readout tokens, head by head: (B, H, N)."""
        return self._mean_over_readout_in_parts(layer, self.gradient)

    def _mean_over_readout_in_parts(
        self, layer: int, rows: Callable[[int, Selection], Tensor]
    ) -> Tensor:
        """Average rows of the readout tokens, a chunk of them at a time."""
        weights, tokens = self.readout_weights, self.readout_tokens
        size = rows_at_once(self.records[layer])
        parts = [tokens[first : first + size] for first in range(0, len(tokens), size)]
        means = [
            torch.einsum("bq,bhqn->bhn", weights[:, part], rows(layer, part)) for part in parts
        ]
        return torch.stack(means).sum(0)


def trace_class(
    net: nn.Module, images: Tensor, layout: TokenLayout, target: int | Sequence[int] | Score
) -> Trace:
    """Run a classifier on images, and backward from the score of a class.

    Images of a batch do not mix: each gets the trace that it would get alone.

    Args:
        net: any net whose attention can be recorded; it is left as it is.
        images: (B, C, H, W), prepared for the net.
        layout: the net's tokens, for example `bundle.tokens`.
        target: a class, a class for each image, or a function from the net's output to one
            number per image.

    Returns:
        The trace, from which `model.attribution.registry.explain` makes a map.

    Raises:
        NothingRecorded: the net has no attention.

    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3, num_classes=5)
    >>> trace = trace_class(net.eval(), torch.rand(1, 3, 32, 32), net.tokens, target=4)
    >>> trace.weights(-1).shape == trace.gradient(-1).shape == (1, 3, 17, 17)
    True
    >>> trace.readout_tokens  # the class token
    [0]
    """
    score = target if callable(target) else class_score(target)
    hooked = copy_sharing_weights(net)
    inputs, last = _keep_inputs(hooked), _keep_last_tokens(hooked, layout.tokens)
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad(), AttentionRecorder(hooked) as recorder:
        output = hooked(images)
    records = [without_single_window(record) for record in recorder.records]
    tokens = inputs[records[-1].name]
    return trace_backward(Trace, net, images, layout, score, output, records, tokens, *last)


def trace_backward(
    kind: type[AnyTrace],
    net: nn.Module,
    images: Tensor,
    layout: TokenLayout,
    score: Score,
    output: Tensor,
    records: list[AttentionRecord],
    tokens: Tensor,
    last: Tensor | None = None,
) -> AnyTrace:
    """Run backward from the score of a recorded output, and return a trace without a graph.

    `last`: the last tokens (B, N, D) that a module returned, if there were any.
    """
    y = score(output).sum()
    known = [] if last is None else [last]
    found = gradients_of(y, [*known, *anchors_of(records), tokens, images])
    norms = found.pop(0).float().norm(dim=2) if known else None
    *gradients, token_gradient, image_gradient = found
    return kind(
        net=net,
        images=images.detach(),
        layout=layout,
        score=score,
        output=output.detach(),
        records=[without_graph(record) for record in records],
        gradients=gradients,
        tokens=tokens.detach(),
        token_gradient=token_gradient,
        image_gradient=image_gradient,
        last_gradient_norms=norms,
    )


def anchors_of(records: Sequence[AttentionRecord]) -> list[Tensor]:
    """The tensors to differentiate by, one per record (see `AttentionRecord.map_gradient`).

    Raises ValueError where a layer ran without gradients.
    """
    anchors = [record.anchor for record in records if record.anchor is not None]
    if len(anchors) < len(records):
        names = ", ".join(record.name for record in records if record.anchor is None)
        raise ValueError(f"No gradient flows through the attention of {names}.")
    return anchors


def gradients_of(y: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Compute ∂y/∂t for each tensor t; zeros where y does not depend on it."""
    if not y.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    return list(torch.autograd.grad(y, tensors, materialize_grads=True))


def without_graph(record: AttentionRecord) -> AttentionRecord:
    """Detach every tensor of a record from the autograd graph."""
    held = {name: getattr(record, name) for name in HELD}
    detached: dict[str, Any] = {n: t.detach() for n, t in held.items() if t is not None}
    return replace(record, **detached)


def _keep_inputs(net: nn.Module) -> dict[str, Tensor]:
    """Collect, while the net runs, the first tensor that each module is called with, by name."""
    inputs: dict[str, Tensor] = {}

    def keep_as(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            if (first := next(tensors, None)) is not None:
                inputs[name] = first

        return hook

    for name, module in net.named_modules():
        module.register_forward_pre_hook(keep_as(name), with_kwargs=True)
    return inputs


def _keep_last_tokens(net: nn.Module, tokens: int) -> list[Tensor]:
    """Keep, while the net runs, the last output (B, `tokens`, D) of any module: one, or none."""
    last: list[Tensor] = []

    def hook(_: nn.Module, __: tuple, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and output.shape[1:-1] == (tokens,):
            last[:] = [output]

    for module in net.modules():
        module.register_forward_hook(hook)
    return last
