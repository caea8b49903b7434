"""Run a net from one of its blocks on, from tokens that were computed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import InterventionRefused
from model.intervention import structure
from model.nets.shared_weights import copy_sharing_weights


class BlockChain:
    """A net whose blocks run one after another, each on the tokens of the one before.

        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=3, heads=3, num_classes=5).eval()
        >>> chain = BlockChain(net, torch.randn(1, 3, 32, 32))
        >>> torch.allclose(chain.run_from(2, chain.tokens[2]), chain.output, atol=1e-6)
        True

    The net itself is left as it is: a copy that shares its weights runs.

    Args:
        net: the net.
        images: one prepared image, (1, C, H, W).

    Raises:
        InterventionRefused: the net is no such chain.
    """

    tokens: list[Tensor]
    """Tokens (1, N, D) before each block, and after the last one."""
    output: Tensor
    """What the net returns for the image."""

    def __init__(self, net: nn.Module, images: Tensor) -> None:
        self.net = copy_sharing_weights(net)
        names = structure.attention_names(net)
        self.block_of = {name: structure.block_of(net, name) for name in names}
        self.blocks = list(dict.fromkeys(self.block_of.values()))
        self.images = images
        self._start: int | None = None
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._given = images  # tokens to start from
        self._in_tuple = False
        for place, name in enumerate(self.blocks):
            block = self.net.get_submodule(name)
            block.forward = self._wrap(place, block.forward)
        self.tokens, self.output = self.keep(images)
        twice = self.run_from(len(self.blocks) - 1, self.tokens[-2].expand(2, -1, -1))
        if twice.shape[1:] != self.output.shape[1:] or not torch.allclose(
            twice, self.output.expand_as(twice), rtol=1e-3, atol=1e-4
        ):
            raise InterventionRefused(_NO_CHAIN)

    @torch.no_grad()
    def keep(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Run the whole net on images; return the tokens before and after the blocks, and output.

        Raises InterventionRefused where the blocks do not run one after another.
        """
        self._start = None
        self._seen = []
        output = self.net(images)
        given, returned = zip(*self._seen, strict=True) if self._seen else ((), ())
        chained = all(a is b for a, b in zip(given[1:], returned[:-1], strict=True))
        one_each = len(self._seen) == len(self.blocks)
        if not (one_each and chained and isinstance(output, Tensor)):
            raise InterventionRefused(_NO_CHAIN)
        return [*given, returned[-1]], output

    @torch.no_grad()
    def run_from(self, block: int, tokens: Tensor) -> Tensor:
        """Run the net from a block on, as if `tokens` (B, N, D) had come to it.

        `block` counts from 0; the number of blocks itself stands for what follows the last one.
        """
        self._start, self._given = block, tokens
        return self.net(self.images)

    def _wrap(self, place: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(given: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._start is None:
                result = forward(given, *args, **kwargs)
                self._in_tuple = isinstance(result, tuple)
                self._seen.append((given, result[0] if self._in_tuple else result))
                return result
            if place < self._start:
                last = place == len(self.blocks) - 1
                skipped = self._given if last else given
                return (skipped,) if self._in_tuple else skipped
            return forward(self._given if place == self._start else given, *args, **kwargs)

        return run


_NO_CHAIN = "The blocks of this net do not run one after another, each on the tokens before it."
