"""Switch off as many heads and patches by chance, to see what a change of this size does.

Many small effects look like findings. The spread of random draws beside an effect tells how much
of it is owed to the size of the change alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.intervention.mode import AttentionChanger, Changes, OutputChange
from model.intervention.outputs import Kept
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
    patches: int = 0,
    hide: str | Tensor = "mean",
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
        patches: how many patches are hidden in each draw, in the image.
        hide: "mean", "blur" or a second prepared image, as in `intervene`.
        draws: how many draws.
        seed: the same seed draws the same heads and patches.

    Returns:
        The net's output for each draw, (draws, ...).
    """
    chance = random.Random(seed)
    batch = images.expand(draws, -1, -1, -1)
    if patches:
        hidden = torch.zeros(draws, layout.patches, dtype=torch.int)
        for row in hidden:
            row[chance.sample(range(layout.patches), patches)] = 1
        pixels = layout.as_pixels(hidden.unflatten(1, layout.grid), *images.shape[-2:])
        hides = pixels.bool()[:, None].to(images.device)
        batch = torch.where(hides, fill_of(images, hide, layout), images)
    changes = Changes()
    if heads:
        places = [(name, head) for name, count in (layers or {}).items() for head in range(count)]
        keep = {name: torch.ones(draws, n, dtype=torch.bool) for name, n in (layers or {}).items()}
        for draw in range(draws):
            for name, head in chance.sample(places, heads):
                keep[name][draw, head] = False
        for name, kept in keep.items():
            changes.outputs.append(
                OutputChange(name, tuple(range(kept.shape[1])), Kept(kept.to(images.device)))
            )
    with torch.no_grad(), AttentionChanger(net, changes):
        return net(batch)
