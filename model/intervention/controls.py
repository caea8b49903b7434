"""Switch off as many heads and patches by chance, to see what a change of this size does.

Many small effects look like findings. The spread of random draws beside an effect tells how much
of it is owed to the size of the change alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import InterventionRefused
from model.intervention import structure
from model.intervention.activations import Activations
from model.intervention.context import Intervention, find_layer
from model.intervention.mode import Layer, OutputChange
from model.intervention.outputs import FromRun, HeadMeans, Kept, Rule, zeros
from model.intervention.pictures import fill_of
from model.tokens import TokenLayout

DRAWS = 20


def random_answers(
    net: nn.Module,
    images: Tensor,
    layout: TokenLayout,
    *,
    layers: Mapping[str, int] | None = None,
    heads: int = 0,
    replace_by: HeadMeans | FromRun | None = None,
    patches: int = 0,
    hide: str | Tensor = "mean",
    source: Activations | None = None,
    after: Layer | None = None,
    run: Callable[[Tensor], Any] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Tensor:
    """Run a net with random heads off and random patches hidden, once for each draw.

        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=5).eval()
        >>> layers = {"blocks.0.attention": 3, "blocks.1.attention": 3}
        >>> random_answers(net, torch.randn(1, 3, 32, 32), net.tokens, layers=layers, heads=2).shape
        torch.Size([20, 5])

    Args:
        net: a net whose attention can be recorded.
        images: one prepared image, (1, C, H, W).
        layout: layout of the net's tokens.
        layers: the layers to draw heads from, and how many heads each has.
        heads: how many heads are off in each draw, among all of `layers`.
        replace_by: what a head's output becomes instead of zero, as in `intervene`; `FromRun` for
            its output in another run.
        patches: how many patches are hidden in each draw, in the image.
        hide: "mean", "blur", "remove" or a second prepared image, as in `intervene`.
        source: a second run; with `after`, patches keep their pixels, and their tokens are taken
            from it.
        after: the layer after which they are.
        run: what to run instead of `net(images)`, for a batch of images.
        draws: how many draws.
        seed: the same seed draws the same heads and patches.

    Returns:
        The net's output for each draw, (draws, ...).

    Raises:
        InterventionRefused: the change makes no sense for this net, as in `intervene`.
    """
    chance = random.Random(seed)
    batch = images.expand(draws, -1, -1, -1)
    made = Intervention(net)
    if patches:
        hidden = torch.zeros(draws, layout.patches, dtype=torch.bool, device=images.device)
        for row in hidden:
            row[chance.sample(range(layout.patches), patches)] = True
        if source is not None and after is not None:
            block = structure.block_of(net, find_layer(net, after))
            made.tokens.append((block, _TakenFrom(source.tokens[block], hidden, layout)))
        elif isinstance(hide, str) and hide == "remove":
            made.removed = _TakenOut(hidden, layout)
        else:
            fill = fill_of(images, hide, layout)
            pixels = layout.as_pixels(hidden.unflatten(1, layout.grid).int(), *images.shape[-2:])
            batch = torch.where(pixels.bool()[:, None], fill, images)
    if heads:
        _draw_heads(made, chance, layers or {}, heads, draws, replace_by or zeros)
    with torch.no_grad(), made:
        return (run or net)(batch)


def _draw_heads(
    made: Intervention,
    chance: random.Random,
    layers: Mapping[str, int],
    heads: int,
    draws: int,
    rule: Rule,
) -> None:
    """Switch so many heads off in each draw, others in each."""
    device = next(made.net.parameters()).device
    places = [(name, head) for name, count in layers.items() for head in range(count)]
    keep = {name: torch.ones(draws, n, dtype=torch.bool) for name, n in layers.items()}
    for draw in range(draws):
        for name, head in chance.sample(places, heads):
            keep[name][draw, head] = False
    for name, those in keep.items():
        kept = Kept(those.to(device), rule)
        made.changes.outputs.append(OutputChange(name, tuple(range(those.shape[1])), kept))


class _TakenOut:
    """Take other patches' tokens (B, N, D) out of each sequence, as many of each."""

    def __init__(self, hidden: Tensor, layout: TokenLayout) -> None:
        prefix = hidden.new_zeros(len(hidden), len(layout.prefix))
        kept = ~torch.cat((prefix, hidden), 1)
        self.tokens = layout.tokens
        self.kept = kept.nonzero()[:, 1].reshape(len(kept), -1)
        if not self.kept.shape[1]:
            raise InterventionRefused("Every token would be taken out: leave one patch at least.")

    def __call__(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] != self.tokens:
            raise InterventionRefused(
                f"Patches are taken out of a sequence of {self.tokens} tokens, and this net's "
                f"first block is given {tuple(tokens.shape)}: hide them by 'mean' or 'blur'."
            )
        return tokens[torch.arange(len(tokens), device=tokens.device)[:, None], self.kept]


class _TakenFrom:
    """Take other patches' tokens (B, N, D) of each sequence from another run."""

    def __init__(self, other: Tensor, hidden: Tensor, layout: TokenLayout) -> None:
        prefix = hidden.new_zeros(len(hidden), len(layout.prefix))
        self.other, self.taken = other, torch.cat((prefix, hidden), 1)

    def __call__(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1:] != self.other.shape[1:] or tokens.shape[1] != self.taken.shape[1]:
            raise InterventionRefused(
                f"The other run has tokens {tuple(self.other.shape[1:])}, and this one "
                f"{tuple(tokens.shape[1:])}."
            )
        return torch.where(self.taken[:, :, None], self.other.to(tokens), tokens)
