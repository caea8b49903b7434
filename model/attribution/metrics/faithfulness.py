"""Test whether the model needs the patches that a map marks: remove them, or show only them.

- Deletion and insertion: Petsiuk, Das & Saenko 2018, "RISE: Randomized Input Sampling for
  Explanation of Black-box Models". Patches go (or come) from the most relevant to the least, and
  the class's probability is drawn against their share. A faithful map has a small area under
  the deletion curve and a large area under the insertion curve.
- Perturbation: Chefer, Gur & Wolf 2021, "Transformer Interpretability Beyond Attention
  Visualization". Is the class still the model's answer when 10 % ... 90 % of the patches are
  zeroed, the most relevant first (positive), or the least relevant first (negative)?

The model was never trained on pictures with holes, so part of every drop comes from their
strangeness; hence two baselines, and a random map to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.attribution.baselines import make_baseline
from model.tokens import TokenLayout

BATCH = 32  # pictures at a time

Net = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) -> logits (B, classes), or logits of words (`captioning.words.NextWord`)."""


@dataclass(frozen=True)
class Curve:
    """The probability of a class while patches go or come, for B images in S steps."""

    shares: Tensor
    """(S + 1,), the share of the patches that are hidden (deletion) or shown (insertion)."""
    logprob: Tensor
    """(B, S + 1), the natural logarithm of the class's probability."""
    answered: Tensor
    """bool (B, S + 1), whether the class is the model's answer."""

    @property
    def probability(self) -> Tensor:
        """The class's probability, (B, S + 1)."""
        return self.logprob.exp()

    @property
    def area(self) -> Tensor:
        """The area under the probability curve, (B,), from 0 to 1."""
        return area_under(self.probability, self.shares)


def deletion(
    net: Net,
    images: Tensor,
    maps: Tensor,
    classes: int | Sequence[int],
    layout: TokenLayout,
    kind: str = "blurred",
    steps: int = 10,
) -> Curve:
    """Replace patches by the baseline, most relevant first.

    Petsiuk, Das & Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models".

    Args:
        net: images (B, C, H, W) -> logits (B, classes).
        images: (B, C, H, W), prepared for the net.
        maps: (B, rows, columns), the relevance of each patch.
        classes: a class, or one for each image.
        layout: the net's tokens.
        kind: a baseline of `model.attribution.baselines`.
        steps: the number of equal parts in which the patches go.

    Returns:
        The curve, from the whole picture to the baseline alone.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    >>> images, maps = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 2)
    >>> curve = deletion(net, images, maps, 0, TokenLayout(grid=(2, 2)), steps=4)
    >>> curve.shares.tolist(), curve.probability.shape
    ([0.0, 0.25, 0.5, 0.75, 1.0], torch.Size([1, 5]))
    """
    return _curve(net, images, maps, classes, layout, kind, steps, keep=False)


def insertion(
    net: Net,
    images: Tensor,
    maps: Tensor,
    classes: int | Sequence[int],
    layout: TokenLayout,
    kind: str = "blurred",
    steps: int = 10,
) -> Curve:
    """Put patches onto the baseline, most relevant first. It takes the arguments of `deletion`.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    >>> images, maps = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 2)
    >>> curve = insertion(net, images, maps, 0, TokenLayout(grid=(2, 2)), steps=4)
    >>> torch.allclose(curve.logprob[:, -1], net(images).log_softmax(-1)[:, 0])  # all patches
    True
    """
    return _curve(net, images, maps, classes, layout, kind, steps, keep=True)


def perturbation(deleted: Curve, inserted: Curve) -> tuple[Tensor, Tensor]:
    """Compute Chefer's positive and negative test, each (B,): the mean accuracy.

    Both curves have ten steps on the zeroed baseline. Removing the least relevant 30 % shows the
    most relevant 70 %, so the insertion curve serves the negative test. Positive is better when
    small, negative when large.
    """
    inner = slice(1, -1)
    shares = deleted.shares[inner]
    span = shares[-1] - shares[0]
    positive = area_under(deleted.answered[:, inner].float(), shares) / span
    negative = area_under(inserted.answered[:, inner].flip(1).float(), shares) / span
    return positive, negative


def area_under(values: Tensor, places: Tensor) -> Tensor:
    """Integrate (..., S) values over (S,) places by the trapezium rule."""
    return torch.trapezoid(values, places.to(values), dim=-1)


def rank_patches(maps: Tensor, seed: int = 0) -> Tensor:
    """List patches from the most relevant to the least: (B, rows, columns) -> int64 (B, N).

    Patches of equal relevance (many methods give zeros) come in a random order, the same for
    every map. Row by row would favour the upper half of the photo.
    """
    flat = maps.flatten(1)
    order = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = order.to(maps.device)
    return order[flat[:, order].argsort(dim=1, descending=True, stable=True)]


def patch_ranks(maps: Tensor) -> Tensor:
    """Give each patch its place in the ranking, from 0: (B, rows, columns) -> int64 (B, N)."""
    order = rank_patches(maps)
    numbers = torch.arange(order.shape[1], device=order.device)
    return torch.empty_like(order).scatter_(1, order, numbers.expand_as(order))


def most_relevant(maps: Tensor, shares: Tensor) -> Tensor:
    """Mask the most relevant patches, for each of S shares: bool (B, S, rows, columns)."""
    place = patch_ranks(maps)
    counts = (shares.to(maps.device) * place.shape[1]).round()
    return (place[:, None] < counts[None, :, None]).unflatten(2, maps.shape[1:])


@torch.inference_mode()
def _curve(
    net: Net,
    images: Tensor,
    maps: Tensor,
    classes: int | Sequence[int],
    layout: TokenLayout,
    kind: str,
    steps: int,
    keep: bool,
) -> Curve:
    shares = torch.linspace(0, 1, steps + 1)
    masks = most_relevant(maps, shares)
    masks = layout.as_pixels(masks, *images.shape[-2:])[:, :, None]
    plain = make_baseline(images, kind, layout)
    shown, hidden = (images, plain) if keep else (plain, images)
    pictures = torch.where(masks, shown[:, None], hidden[:, None]).flatten(0, 1)
    logits = torch.cat([net(part) for part in pictures.split(BATCH)])
    logits = logits.float().unflatten(0, (len(images), steps + 1))
    index = torch.as_tensor(classes, device=logits.device).expand(len(images))
    logprob = logits.log_softmax(-1).gather(2, index[:, None, None].expand(-1, steps + 1, 1))
    return Curve(shares, logprob[..., 0], logits.argmax(-1) == index[:, None])
