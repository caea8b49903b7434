"""Maps and scores of one photo, computed when asked for and shared by everybody who asks.

A class of students looks at the same few photos, so traces, maps and curves live in caches for
the whole server, bounded in bytes or in number. A session holds keys only.
"""

import threading
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache, cached
from PIL import Image

from model import faithfulness, zoo
from model.relevance import MethodUnsuitable, explain
from model.trace import Trace, trace_class

CACHE_BYTES = 512 * 2**20
SHARES = np.linspace(0, 1, 21)
"""Of the patches, at which curves are measured."""

Settings = tuple[tuple[str, Any], ...]
"""A method's settings, sorted, so that they can be part of a key."""


def _key(bundle: zoo.Bundle, key: str, image: Image.Image, *rest: Any) -> tuple:
    return bundle.name, key, *rest


_answers = LRUCache(4096)
_traces = LRUCache(CACHE_BYTES, getsizeof=lambda trace: trace.nbytes)
_maps = LRUCache(16384)
_curves = LRUCache(4096)


@cached(_answers, key=_key, condition=threading.Condition())
def probabilities(bundle: zoo.Bundle, key: str, image: Image.Image) -> np.ndarray:
    """Of every class, (classes,) float32.

    Args:
        key: what tells this picture from others, such as the sha256 of its file.
    """
    with torch.inference_mode():
        return bundle.net(bundle.prepare(image))[0].float().softmax(-1).numpy()


@cached(_traces, key=_key, condition=threading.Condition())
def trace_of(bundle: zoo.Bundle, key: str, image: Image.Image, target: int) -> Trace:
    """One pass forward and back from the score of a class."""
    return trace_class(bundle.net, bundle.prepare(image), bundle.tokens, target)


@cached(_maps, key=_key, condition=threading.Condition())
def map_of(
    bundle: zoo.Bundle, key: str, image: Image.Image, target: int, method: str, settings: Settings
) -> np.ndarray | str:
    """A method's map (rows, columns), or a sentence why it makes no sense on this model."""
    trace = trace_of(bundle, key, image, target)
    try:
        return explain(trace, method, **dict(settings))[0].numpy()
    except MethodUnsuitable as reason:
        return str(reason)


@cached(_curves, key=_key, condition=threading.Condition())
def curves_of(
    bundle: zoo.Bundle,
    key: str,
    image: Image.Image,
    target: int,
    method: str,
    settings: Settings,
    kind: str,
) -> dict[str, tuple[np.ndarray, float]]:
    """Deletion and insertion by a method's map: name -> (probabilities, area).

    Raises MethodUnsuitable where there is no map.
    """
    relevance = map_of(bundle, key, image, target, method, settings)
    if isinstance(relevance, str):
        raise MethodUnsuitable(relevance)
    images, maps = bundle.prepare(image), torch.from_numpy(relevance)[None]
    found = {}
    for name, measure in (
        ("deletion", faithfulness.deletion),
        ("insertion", faithfulness.insertion),
    ):
        curve = measure(bundle.net, images, maps, target, bundle.tokens, kind, len(SHARES) - 1)
        found[name] = curve.probability[0].numpy(), float(curve.area)
    return found
