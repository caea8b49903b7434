"""What the pages' work costs, estimated before it runs, for the queue to plan or refuse."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from model.attribution.need import Need, forward_need, learned_numbers, method_need, trace_need
from model.attribution.trace import Trace
from model.bundle import Bundle
from viz.server.queue import Cost

SMALLER = "Choose a smaller model, or one that cuts the photo into fewer patches."
OTHER_METHOD = "Choose another method, or a model that cuts the photo into fewer patches."


def forward_cost(bundle: Bundle, times: int = 1) -> Cost:
    """Estimate recording a photo, or passes like it, one after another."""
    tokens = bundle.tokens.tokens
    return _cost(forward_need(bundle.net, tokens) * times, f"Recording {tokens:,} tokens", SMALLER)


def caption_cost(bundle: Bundle, beams: int, words: int) -> Cost:
    """Estimate a caption: the picture once, and each word of each beam."""
    picture = forward_need(bundle.net, bundle.tokens.tokens)
    per_word = forward_need(bundle.net, 1).seconds
    need = Need(picture.bytes, picture.seconds + words * beams * per_word)
    return _cost(need, f"A caption with {beams} beams", "Ask for fewer beams.")


def trace_cost(bundle: Bundle) -> Cost:
    """Estimate a pass forward and back."""
    tokens = bundle.tokens.tokens
    need = trace_need(bundle.net, tokens)
    return _cost(need, f"A pass forward and back over {tokens:,} tokens", SMALLER)


def map_cost(trace: Trace, method: str, settings: Mapping[str, Any]) -> Cost:
    """Estimate the map of an attribution method."""
    queries, heads = trace.records[-1].shape[2], trace.records[-1].shape[1]
    what = f"The method {method.replace('_', ' ')} on {queries:,} tokens and {heads} heads"
    return _cost(method_need(trace, method, **settings), what, OTHER_METHOD)


def curves_cost(bundle: Bundle, pictures: int) -> Cost:
    """Estimate deletion and insertion, which show the net so many changed pictures."""
    tokens = bundle.tokens.tokens
    need = forward_need(bundle.net, tokens) * pictures
    return _cost(need, f"Showing the model {pictures} changed pictures", SMALLER)


def opening_cost(name: str, count: int) -> Cost:
    """Estimate opening a file of so many bytes: read, checked, and copied into a net."""
    cure = "Open a smaller model, or run Saccade where it has more memory."
    return Cost(3 * count, count / 2e8, f"Opening {name}", cure)


def model_bytes(bundle: Bundle) -> int:
    """Count the bytes of a model that is open."""
    return 4 * learned_numbers(bundle.net)


_counted: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def count_weights(bundle: Bundle) -> int:
    """Count the weights of a model that is open, once: a page asks at each run."""
    if bundle.net not in _counted:
        _counted[bundle.net] = learned_numbers(bundle.net)
    return _counted[bundle.net]


def _cost(need: Need, what: str, cure: str) -> Cost:
    return Cost(need.bytes, need.seconds, what, cure)
