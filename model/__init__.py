"""Record, compare and measure what vision transformers attend to; caption and train with them.

    >>> from model import AttentionRecorder, samples, zoo
    >>> from model.rollout import rollout
    >>> bundle = zoo.load("cs231n-cifar10")
    >>> images = bundle.prepare(samples.load("chelsea"))  # (1, 3, 32, 32)
    >>> with AttentionRecorder(bundle.net) as recorder:
    ...     logits = bundle.net(images)
    >>> len(recorder.records)  # a record for each of the six layers
    6
    >>> recorder.records[-1].weights(queries=5).shape  # the attention of one patch, in each head
    torch.Size([1, 4, 1, 16])
    >>> rollout(recorder.records, query=5).shape  # the share of every patch in that patch's output
    torch.Size([1, 16])

`import model` alone imports neither torch nor anything else that is large: each of these names
is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["AttentionRecorder", "samples", "zoo"]

_HOMES = {
    "AttentionRecorder": "model.recording.recorder",
    "samples": "model.datasets",
    "zoo": "model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    if name == "AttentionRecorder":
        return import_module(_HOMES[name]).AttentionRecorder
    return import_module(f"{_HOMES[name]}.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
