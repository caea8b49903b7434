"""One pass forward and one back, kept for every attribution method to read its map from.

trace = trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281)
weights, gradient = trace.weights(-1), trace.gradient(-1)     # A and ∂y/∂A of the last layer
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from model.recording.record import Selection, storage_bytes
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.tokens import TokenLayout

Score = Callable[[Tensor], Tensor]
"""What is to be explained: the net's output (B, ...) -> one number y an image, (B,)."""

Traced = TypeVar("Traced", bound="Trace")

CHUNK = 1 << 22  # attention values in memory at a time


def class_score(classes: int | Sequence[int]) -> Score:
    """The logit of a class, the same for every image or one for each: (B, classes) -> (B,)."""

    def score(logits: Tensor) -> Tensor:
        index = torch.as_tensor(classes, device=logits.device).expand(len(logits))
        return logits.gather(1, index[:, None])[:, 0]

    return score


@dataclass(eq=False)
class Trace:
    """What a net did with a batch of images, and what score y depends on. It holds no graph."""

    net: nn.Module
    images: Tensor  # (B, C, H, W)
    layout: TokenLayout
    score: Score
    output: Tensor  # (B, classes)
    records: list[AttentionRecord]
    gradients: list[Tensor]  # ∂y/∂anchor of each record, see AttentionRecord.map_gradient
    tokens: Tensor  # (B, N, D), what goes into the last attention layer
    token_gradient: Tensor  # ∂y/∂tokens
    image_gradient: Tensor  # ∂y/∂images
    reading: Tensor  # (B, N), length of ∂y/∂t of the last tokens t that a module made; or empty

    @property
    def depth(self) -> int:
        return len(self.records)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this keeps alive, the net apart."""
        held = (self.images, self.output, self.tokens, self.token_gradient, self.image_gradient)
        of_records = (tensor for record in self.records for tensor in record.tensors())
        return storage_bytes((*held, *self.gradients, *of_records))

    @property
    def readout_weights(self) -> Tensor:
        """Which tokens the score is read from: float32 (B, N), rows sum to one.

        Found by asking: those tokens of the last layer on whose attention y depends at all.
        That is the class token where it is pooled, and every patch where their mean is. A head
        that takes both, as DINOv2's, weighs the class token against the mean as y does. Where y
        depends on nothing, the class token stands in, or else the patches.
        """
        tokens = self.records[-1].shape[2]
        read = (self.records[-1].arranged(self.gradients[-1]) != 0).any(3).any(1)
        usual = torch.zeros(tokens, dtype=torch.bool, device=read.device)
        usual[0 if "cls" in self.layout.prefix else self.layout.patch_slice] = True
        read = torch.where(read.any(1, keepdim=True), read, usual).float()
        read = read * self._strengths(read)
        return read / read.sum(1, keepdim=True)

    def _strengths(self, read: Tensor) -> Tensor:
        """What y takes from a token without a place, and from a patch: (B, N), the mean over those
        in `read`. Ones where only one kind is read, or nothing is known."""
        if self.reading.shape != read.shape:
            return torch.ones_like(read)
        prefix = len(self.layout.prefix)
        kinds = slice(0, prefix), slice(prefix, None)
        sums = [(read * self.reading)[:, kind].sum(1, keepdim=True) for kind in kinds]
        means = [
            (total / read[:, kind].sum(1, keepdim=True).clamp(min=1)).expand_as(read[:, kind])
            for total, kind in zip(sums, kinds, strict=True)
        ]
        both = torch.cat(sums, 1).all(1, keepdim=True)
        return torch.where(both, torch.cat(means, 1), 1.0)

    @property
    def readout_tokens(self) -> list[int]:
        """The tokens that the score of some image is read from."""
        return self.readout_weights.any(0).nonzero().flatten().tolist()

    def weights(self, layer: int, queries: Selection = None) -> Tensor:
        """A of a layer, (B, H, q, N)."""
        return self.records[layer].weights(queries=queries)

    def gradient(self, layer: int, queries: Selection = None) -> Tensor:
        """∂y/∂A of a layer, (B, H, q, N)."""
        return self.records[layer].map_gradient(self.gradients[layer], queries=queries)

    def fused(self, layer: int, fuse: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`fuse(A, ∂y/∂A)` of a layer, (B, H, q, N) twice -> (B, q, N), for all rows: (B, N, N).

        The heads' own N x N maps are never whole: a chunk of rows is fused at a time.
        """
        batch, heads, tokens, keys = self.records[layer].shape
        size = max(1, CHUNK // (batch * heads * keys))
        parts = (slice(first, min(first + size, tokens)) for first in range(0, tokens, size))
        return torch.cat([fuse(self.weights(layer, p), self.gradient(layer, p)) for p in parts], 1)


def trace_class(
    net: nn.Module, images: Tensor, layout: TokenLayout, target: int | Sequence[int] | Score
) -> Trace:
    """Run `net` on images (B, C, H, W), and back from the score of `target`.

    `target` is a class, a class for each image, or any function from the net's output to one
    number an image. Images do not mix, so a batch gives what its images give one by one.
    Raises NothingRecorded where the net does not attend.
    """
    score = target if callable(target) else class_score(target)
    double = twin(net)
    inputs, made = _remember_inputs(double), _remember_last(double, layout.tokens)
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad(), AttentionRecorder(double) as recorder:
        output = double(images)
    tokens = inputs[recorder.records[-1].name]
    return finish(Trace, net, images, layout, score, output, recorder.records, tokens, *made)


def finish(
    kind: type[Traced],
    net: nn.Module,
    images: Tensor,
    layout: TokenLayout,
    score: Score,
    output: Tensor,
    records: list[AttentionRecord],
    tokens: Tensor,
    last: Tensor | None = None,
) -> Traced:
    """The way back, from the score of an output that was recorded: a trace without a graph.

    `last`: the last tokens (B, N, D) that a module made, where they are known.
    """
    anchors, y = [record.anchor for record in records], score(output).sum()
    known = [] if last is None else [last]
    asked = [*known, *anchors, tokens, images]
    *gradients, token_gradient, image_gradient = gradients_of(y, asked)
    reading = gradients.pop(0).float().norm(dim=2) if known else torch.zeros(0)
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
        reading=reading,
    )


def twin(net: nn.Module) -> nn.Module:
    """The same net with the same parameters in modules of its own.

    Hooks on the twin are seen by nobody else who runs the net at the same moment.
    """
    shared = (*net.parameters(), *net.buffers())
    return copy.deepcopy(net, {id(tensor): tensor for tensor in shared})


def gradients_of(y: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """∂y/∂t of each tensor; zeros where y does not depend on it."""
    if not y.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    return list(torch.autograd.grad(y, tensors, materialize_grads=True))


def without_graph(record: AttentionRecord) -> AttentionRecord:
    """The same record, its tensors cut from the graph that made them."""
    held = {field.name: getattr(record, field.name) for field in fields(record)}
    return replace(record, **{k: v.detach() for k, v in held.items() if isinstance(v, Tensor)})


def _remember_inputs(net: nn.Module) -> dict[str, Tensor]:
    """Filled while the net runs: name of a module -> the first tensor that it was given."""
    inputs: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            given = (*args, *kwargs.values())
            inputs[name] = next((value for value in given if isinstance(value, Tensor)), None)

        return hook

    for name, module in net.named_modules():
        module.register_forward_pre_hook(remember(name), with_kwargs=True)
    return inputs


def _remember_last(net: nn.Module, tokens: int) -> list[Tensor]:
    """Filled while the net runs: the last output (B, `tokens`, D) of a module, or nothing."""
    last: list[Tensor] = []

    def remember(_: nn.Module, __: tuple, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and output.shape[1:-1] == (tokens,):
            last[:] = [output]

    for module in net.modules():
        module.register_forward_hook(remember)
    return last
