"""Keep what a run computes: the outputs of its heads, and the tokens that its blocks return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import InterventionRefused
from model.intervention import structure
from model.intervention.hooks import ThreadHooks
from model.intervention.mode import AttentionChanger, Changes, OutputChange
from model.intervention.outputs import HeadMeans


@dataclass
class Activations:
    """What a net computed for some images."""

    output: Any
    """What the net returned."""
    heads: dict[str, Tensor] = field(default_factory=dict)
    """By layer, the heads' outputs (B, H, Q, d) before the output projection."""
    tokens: dict[str, Tensor] = field(default_factory=dict)
    """By block, the tokens (B, N, D) that it returns; empty where blocks are no modules."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory of all tensors."""
        held = (*self.heads.values(), *self.tokens.values())
        return sum(tensor.nbytes for tensor in held)


def keep_activations(
    net: nn.Module, images: Tensor, run: Callable[[Tensor], Any] | None = None
) -> Activations:
    """Run a net and keep its activations, to put them into another run.

        >>> from model.intervention import intervene, keep_activations
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=5).eval()
        >>> first, second = torch.randn(2, 1, 3, 32, 32)
        >>> other = keep_activations(net, second)
        >>> with torch.no_grad(), intervene(net, source=other, tokens_from={0: None}):
        ...     torch.allclose(net(first), other.output)  # every token of a layer
        True

    Args:
        net: any net whose attention can be recorded.
        images: (B, C, H, W), prepared.
        run: what to run instead of `net(images)`.

    Raises:
        InterventionRefused: the net does not attend.
    """
    kept = Activations(None)

    def keep_heads(outputs: Tensor, heads: Sequence[int], layer: str) -> Tensor:
        kept.heads[layer] = outputs.detach().clone()
        return outputs[:, heads]

    def keep_tokens(block: str) -> Callable[[Tensor], Tensor]:
        def keep(tokens: Any) -> Any:
            if isinstance(tokens, Tensor) and tokens.ndim == 3:
                kept.tokens[block] = tokens.detach().clone()
            return tokens

        return keep

    hooks = ThreadHooks()
    try:
        for block in _blocks(net):
            hooks.after(net.get_submodule(block), keep_tokens(block))
        changes = Changes(outputs=[OutputChange(None, None, keep_heads)])
        with torch.no_grad(), AttentionChanger(net, changes) as changer:
            kept.output = net(images) if run is None else run(images)
        changer.check()
    finally:
        hooks.remove()
    return kept


def head_means(
    net: nn.Module,
    batches: Iterable[Tensor],
    pictures: str,
    run: Callable[[Tensor], Any] | None = None,
) -> HeadMeans:
    """Average every head's output over pictures and tokens, as what a head may be replaced by.

        >>> from model.intervention import head_means, intervene
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=5).eval()
        >>> means = head_means(net, [torch.randn(4, 3, 32, 32)], "four noises")
        >>> means.means["blocks.0.attention"].shape  # heads, width of a head
        torch.Size([3, 16])
        >>> with intervene(net, heads_off={0: [1]}, replace_by=means):
        ...     logits = net(torch.randn(1, 3, 32, 32))

    Args:
        net: any net whose attention can be recorded.
        batches: prepared images, (B, C, H, W) each.
        pictures: what they are, in words: a page names them beside the result.
        run: what to run instead of `net(images)`.

    Raises:
        InterventionRefused: there are no pictures, or the net does not attend.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for images in batches:
        for layer, outputs in keep_activations(net, images, run).heads.items():
            total = outputs.double().sum((0, 2))
            sums[layer] = sums[layer] + total if layer in sums else total
            counts[layer] = counts.get(layer, 0) + outputs.shape[0] * outputs.shape[2]
    if not sums:
        raise InterventionRefused("There are no pictures to average the heads over.")
    return HeadMeans({layer: sums[layer] / counts[layer] for layer in sums}, pictures)


def _blocks(net: nn.Module) -> list[str]:
    blocks = []
    for name in structure.attention_names(net):
        try:
            blocks.append(structure.block_of(net, name))
        except InterventionRefused:
            continue  # its heads can be kept all the same
    return list(dict.fromkeys(blocks))
