"""Maps and scores of one picture, computed on demand and shared by everybody who asks.

A class of students looks at the same few photos, so the whole server shares traces, maps and
curves, within its budget. A session holds keys only.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from model.attribution.metrics import faithfulness
from model.attribution.metrics.faithfulness import Curve
from model.attribution.registry import explain
from model.attribution.trace import Trace, trace_class
from model.attribution.word_trace import trace_word
from model.bundle import Bundle
from model.captioning.words import NextWord, Word
from model.errors import MethodUnsuitable
from viz.server.costs import curves_cost, map_cost, trace_cost
from viz.server.results import computed_once

SHARES = np.linspace(0, 1, 21)
"""Of the patches, at which curves are measured."""

Target = int | Word
"""What is explained: a class, or a word of a caption."""

Settings = tuple[tuple[str, Any], ...]
"""A method's settings, sorted, so that they can be part of a key."""


Key = tuple[object, ...]


def _key(bundle: Bundle, key: str, image: Image.Image, *rest: object) -> Key:
    return bundle.name, key, *rest


@computed_once("answer", key=_key, size=lambda answer: answer.nbytes)
def probabilities(bundle: Bundle, key: str, image: Image.Image) -> np.ndarray:
    """Compute the probability of every class, (classes,) float32.

    Args:
        key: tells this picture from others, for example the sha256 of its file.
    """
    with torch.no_grad():  # some nets keep tensors of their first pass, which must serve any later
        return bundle.net(bundle.prepare(image))[0].float().softmax(-1).numpy()


def trace_of(bundle: Bundle, key: str, image: Image.Image, target: Target) -> Trace:
    """Trace the score of a class or a word: one pass forward, and one back."""
    net = NextWord(bundle.net, target.before) if isinstance(target, Word) else bundle.net
    return replace(_trace_without_net(bundle, key, image, target), net=net)


@computed_once(
    "trace",
    key=_key,
    size=lambda trace: trace.nbytes,
    cost=lambda bundle, key, image, target: trace_cost(bundle),
)
def _trace_without_net(bundle: Bundle, key: str, image: Image.Image, target: Target) -> Trace:
    """Trace without keeping the net, which `open_models` may have closed long before."""
    images = bundle.prepare(image)
    trace: Trace
    if isinstance(target, Word):
        trace = trace_word(bundle.net, images, bundle.net.patch_layout, target)
    else:
        trace = trace_class(bundle.net, images, bundle.tokens, target)
    return replace(trace, net=nn.Identity())


@computed_once(
    "map",
    key=_key,
    size=lambda found: getattr(found, "nbytes", 1024),
    cost=lambda bundle, key, image, target, method, settings: map_cost(
        trace_of(bundle, key, image, target), method, dict(settings)
    ),
)
def map_of(
    bundle: Bundle,
    key: str,
    image: Image.Image,
    target: Target,
    method: str,
    settings: Settings,
) -> np.ndarray | str:
    """Compute a method's map (rows, columns); a sentence where it makes no sense on this model."""
    trace = trace_of(bundle, key, image, target)
    try:
        return explain(trace, method, **dict(settings))[0].numpy()
    except MethodUnsuitable as reason:
        return str(reason)


@dataclass(frozen=True)
class Measured:
    """How the score of a target falls and rises along a map: log-probabilities at ``SHARES``.

    ``positive`` and ``negative`` are Chefer's perturbation test, where the background is zeroed.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    positive: float
    negative: float


@computed_once(
    "curves",
    key=_key,
    size=lambda measured: measured.deletion.nbytes + measured.insertion.nbytes,
    cost=lambda bundle, *rest: curves_cost(bundle, 2 * len(SHARES)),
)
def curves_of(
    bundle: Bundle,
    key: str,
    image: Image.Image,
    target: Target,
    method: str,
    settings: Settings,
    kind: str,
) -> Measured:
    """Measure deletion and insertion along a map. Raises MethodUnsuitable where there is none."""
    relevance = map_of(bundle, key, image, target, method, settings)
    if isinstance(relevance, str):
        raise MethodUnsuitable(relevance)
    trace, maps = trace_of(bundle, key, image, target), torch.from_numpy(relevance)[None]
    number = target.number if isinstance(target, Word) else target
    gone, shown = (
        measure(trace.net, trace.images, maps, number, trace.layout, kind, len(SHARES) - 1)
        for measure in (faithfulness.deletion, faithfulness.insertion)
    )
    positive, negative = faithfulness.perturbation(*map(_tenths, (gone, shown)))
    return Measured(
        gone.logprob[0].numpy(), shown.logprob[0].numpy(), float(positive), float(negative)
    )


def _tenths(curve: Curve) -> Curve:
    """Keep every tenth, as Chefer's test does."""
    step = (len(SHARES) - 1) // 10
    return Curve(curve.shares[::step], curve.logprob[:, ::step], curve.answered[:, ::step])
