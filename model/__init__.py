"""Vision transformers, and what they attend to: record, compare, caption, train, measure.

Nothing heavy is imported until it is asked for, so `import model` costs next to nothing:

    from model import AttentionRecorder, samples, zoo
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
