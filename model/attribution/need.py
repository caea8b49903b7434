"""Estimate what attribution needs before it runs: bytes of memory, and seconds on one core.

The estimates follow from the numbers that a cost grows with: N tokens, H heads, P parameters. For
a transformer of L layers of width D, P is about 12 L D², so the width of all layers together, L D,
is about the root of P where L is 12. They are right within a factor of two or three, which is
enough to refuse what would take a machine's whole memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from model.attribution.gradients import TOKENS
from model.attribution.trace import CHUNK, Trace

OPERATIONS = 2e10
"""Operations a second of one core, multiplications and additions counted apart."""
KEPT_BY_AUTOGRAD = 24
"""Numbers that a backward pass keeps for each token and each channel of a layer."""


@dataclass(frozen=True)
class Need:
    """Bytes of memory at once, and seconds on one core."""

    bytes: int
    seconds: float

    def __mul__(self, times: float) -> Need:
        """Do the same several times, one after another."""
        return Need(self.bytes, times * self.seconds)


def forward_need(net: nn.Module, tokens: int) -> Need:
    """Estimate one forward pass whose queries and keys are kept.

    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3, num_classes=5)
    >>> forward_need(net, 17).bytes < forward_need(net, 1025).bytes
    True
    """
    parameters = learned_numbers(net)
    operations = 2 * parameters * tokens + 4 * tokens**2 * parameters**0.5
    return Need(round(4 * 4 * tokens * parameters**0.5), operations / OPERATIONS)


def trace_need(net: nn.Module, tokens: int) -> Need:
    """Estimate one pass forward and one backward, as `trace_class` and `trace_word` make them."""
    kept = 4 * KEPT_BY_AUTOGRAD * tokens * learned_numbers(net) ** 0.5
    return Need(round(kept), 3 * forward_need(net, tokens).seconds)


def method_need(trace: Trace, method: str, **settings: Any) -> Need:
    """Estimate one method on a trace that is there; names and settings as of `registry.explain`.

    >>> import torch
    >>> from model.attribution.trace import trace_class
    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3, num_classes=5)
    >>> trace = trace_class(net.eval(), torch.rand(1, 3, 32, 32), net.tokens, target=4)
    >>> ten, hundred = (method_need(trace, "integrated_gradients", steps=n) for n in (10, 100))
    >>> round(hundred.seconds / ten.seconds)
    10
    """
    tokens = max((record.shape[-1] for record in trace.records), default=trace.layout.tokens)
    one = trace_need(trace.net, tokens)
    if method == "integrated_gradients":
        together = max(1, TOKENS // tokens)
        return Need(together * one.bytes, settings.get("steps", 10) * one.seconds)
    if method in ("token_gradcam", "input_gradient", "random_map"):
        return Need(0, 0.0)
    chunks = 4 * 4 * CHUNK
    maps = [record.shape[1] * record.shape[2] * record.shape[3] for record in trace.records]
    width = max(record.shape[1] for record in trace.records)
    seconds = sum(maps) * 4 * _head_width(trace) / OPERATIONS
    if method == "legrad":
        return Need(one.bytes + chunks, one.seconds + seconds)
    if settings.get("compat"):
        copies = 2 if method == "gradient_rollout" else 1
        return Need(4 * copies * sum(maps) + chunks, seconds + 2 * tokens**3 / OPERATIONS)
    fused = 2 * 4 * max(maps) // width
    return Need(fused + chunks, seconds)


def learned_numbers(net: nn.Module) -> int:
    """Count the numbers that a net has learned, or would learn."""
    return sum(parameter.numel() for parameter in net.parameters())


def _head_width(trace: Trace) -> int:
    widths = [record.query.shape[-1] for record in trace.records if record.query is not None]
    return max(widths, default=1)
