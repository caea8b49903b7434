"""A bundle around a net that another library has built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn

from model.bundle import Bundle
from model.card import Card, Normalisation
from model.errors import ModelRejected
from model.preprocessing import Resize, check_normalisation
from model.tokens import MAX_SIDE, TokenLayout

MAX_PARAMETERS = 700_000_000  # 2.8 GB in float32; ViT-H/14 has 632 million

Made = TypeVar("Made", bound=Bundle)


def check_size(name: str, make: Callable[[], nn.Module]) -> None:
    """Refuse a model that is too large, before any memory is taken for it.

    Args:
        name: The model's name, for messages.
        make: Builds the model.

    Raises:
        ModelRejected: The model is too large.
    """
    with torch.device("meta"):
        sketch = make()  # shapes without values
    count = sum(p.numel() for p in sketch.parameters())
    if count > MAX_PARAMETERS:
        raise ModelRejected(
            f"{name} is too large: {count / 1e6:,.0f} million parameters, where "
            f"{MAX_PARAMETERS // 10**6} million are the limit. Choose a smaller one."
        )


def check_picture_size(name: str, size: tuple[int, int]) -> None:
    """Refuse pictures too large to be computed, before a model is built for them."""
    if max(size) > MAX_SIDE:
        raise ModelRejected(
            f"Pictures for {name} have at most {MAX_SIDE:,} pixels a side, not {max(size):,}. "
            "Choose a smaller size."
        )


def size_not_taken(name: str, size: tuple[int, int], error: Exception) -> ModelRejected:
    """Say that a model cannot be built for pictures of a size."""
    reason = " ".join(str(error).split())[:120]
    return ModelRejected(
        f"{name} does not take pictures of {size[0]} x {size[1]} pixels "
        f"({reason or type(error).__name__}). Choose another size."
    )


def make_bundle(
    kind: Callable[..., Made],
    name: str,
    net: nn.Module,
    trained: bool,
    *,
    tokens: TokenLayout,
    resize: Resize,
    mean: Iterable[float],
    std: Iterable[float],
    classes: Iterable[str] | None = None,
    task: str = "classify",
    licence: str | None = None,
) -> Made:
    """Make a bundle, with a card, by `kind`: `Bundle` or a class made from it."""
    hub, _, short = name.partition("/")
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    check_normalisation(mean, std, channels=len(mean))
    return kind(
        name=name if trained else f"{name} (random weights)",
        net=net.eval(),
        tokens=tokens,
        mean=mean,
        std=std,
        resize=resize,
        classes=None if classes is None else list(classes),
        card=Card(
            name=name,
            title=f"{short} ({hub})",
            task=task,
            parameters=sum(p.numel() for p in net.parameters()),
            normalisation=Normalisation(mean=list(mean), std=list(std)),
            licence=licence or None,
        ),
    )


def token_layout(
    size: tuple[int, int], patch: tuple[int, int], prefix: tuple[str, ...]
) -> TokenLayout:
    """Lay out the tokens of an image of `size`, height and width, cut into patches."""
    return TokenLayout((size[0] // patch[0], size[1] // patch[1]), prefix, patch)


def register_names(count: int) -> tuple[str, ...]:
    """Name so many register tokens."""
    return tuple(f"reg{i}" for i in range(count))


def short_class_names(labels: Iterable[str]) -> list[str]:
    """Take ImageNet's names without their synonyms, "tench, Tinca tinca" -> "tench".

    Each stays different from the others: where two begin alike ("maillot", "crane"), with the
    synonyms, or else with the class's number.
    """
    labels = list(labels)
    words = [label.split(",")[0] for label in labels]
    shared = Counter(words), Counter(labels)

    def name(number: int) -> str:
        word, label = words[number], labels[number]
        if shared[0][word] == 1:
            return word
        return label if shared[1][label] == 1 else f"{word} ({number})"

    return [name(number) for number in range(len(labels))]
