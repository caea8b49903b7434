"""Does the model need what a map points at? Take it away, or show nothing else, and ask.

- Deletion and insertion: Petsiuk, Das & Saenko 2018, "RISE: Randomized Input Sampling for
  Explanation of Black-box Models". Patches go (or come) from the most relevant to the least, and
  the class's probability is drawn against their share. A faithful map has a small area under
  the curve of deletion and a large one under that of insertion.
- Perturbation: Chefer, Gur & Wolf 2021, "Transformer Interpretability Beyond Attention
  Visualization". Is the class still the model's answer when 10 % ... 90 % of the patches are
  zeroed, the most relevant first (positive), or the least relevant first (negative)?

A picture with holes is like none that the model was trained on, so part of every drop is
surprise; hence two baselines, and a random map to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.attribution.baselines import baseline
from model.tokens import TokenLayout

BATCH = 32  # pictures at a time

Net = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) -> logits (B, classes), or logits of words (`captioning.words.NextWord`)."""


@dataclass(frozen=True)
class Curve:
    """What becomes of a class while patches go or come; B images, S + 1 points each."""

    shares: Tensor  # (S + 1,), of the patches that are gone (deletion) or shown (insertion)
    logprob: Tensor  # natural logarithm of the class's probability, (B, S + 1)
    answered: Tensor  # bool (B, S + 1): the class is the model's answer

    @property
    def probability(self) -> Tensor:
        """Of the class, (B, S + 1)."""
        return self.logprob.exp()

    @property
    def area(self) -> Tensor:
        """Under the curve of the probability, (B,), from 0 to 1."""
        return area(self.probability, self.shares)


def deletion(
    net: Net,
    images: Tensor,
    maps: Tensor,
    classes: int | Sequence[int],
    layout: TokenLayout,
    kind: str = "blurred",
    steps: int = 10,
) -> Curve:
    """Replace patches by the baseline, most relevant first (see `model.attribution.baselines`).

    `maps` (B, rows, columns); `classes` a class, or one for each image; `steps` equal parts of
    the patches.
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
    """Patches are put onto the baseline, most relevant first. Arguments as of `deletion`."""
    return _curve(net, images, maps, classes, layout, kind, steps, keep=True)


def perturbation(deleted: Curve, inserted: Curve) -> tuple[Tensor, Tensor]:
    """Chefer's positive and negative test, each (B,): the mean of right answers.

    From the curves of ten steps on the zeroed baseline: taking away the least relevant 30 %
    shows the most relevant 70 %. Positive is better when small, negative when large.
    """
    inner = slice(1, -1)
    shares = deleted.shares[inner]
    span = shares[-1] - shares[0]
    positive = area(deleted.answered[:, inner].float(), shares) / span
    negative = area(inserted.answered[:, inner].flip(1).float(), shares) / span
    return positive, negative


def area(values: Tensor, places: Tensor) -> Tensor:
    """Under (..., S) values at (S,) places, by the trapezium rule."""
    return torch.trapezoid(values, places.to(values), dim=-1)


def ranking(maps: Tensor, seed: int = 0) -> Tensor:
    """Patches from the most relevant to the least: (B, rows, columns) -> int64 (B, N).

    Equal ones (many methods give zeros) come in a random order, the same for every map, and not
    row by row: half of all photos have their object in the upper half.
    """
    flat = maps.flatten(1)
    order = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = order.to(maps.device)
    return order[flat[:, order].argsort(dim=1, descending=True, stable=True)]


def places(maps: Tensor) -> Tensor:
    """Each patch's place in the ranking, from 0: (B, rows, columns) -> int64 (B, N)."""
    order = ranking(maps)
    numbers = torch.arange(order.shape[1], device=order.device)
    return torch.empty_like(order).scatter_(1, order, numbers.expand_as(order))


def most_relevant(maps: Tensor, shares: Tensor) -> Tensor:
    """Masks of the most relevant patches: bool (B, S, rows, columns), a share of them each."""
    place = places(maps)
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
    plain = baseline(images, kind, layout)
    shown, hidden = (images, plain) if keep else (plain, images)
    pictures = torch.where(masks, shown[:, None], hidden[:, None]).flatten(0, 1)
    logits = torch.cat([net(part) for part in pictures.split(BATCH)])
    logits = logits.float().unflatten(0, (len(images), steps + 1))
    index = torch.as_tensor(classes, device=logits.device).expand(len(images))
    logprob = logits.log_softmax(-1).gather(2, index[:, None, None].expand(-1, steps + 1, 1))
    return Curve(shares, logprob[..., 0], logits.argmax(-1) == index[:, None])
