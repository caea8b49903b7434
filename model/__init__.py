"""The mathematics of Saccade: layers, recorder, rollout, images and checkpoints.

Nothing heavy is imported until it is asked for, so `import model` costs next to nothing:

    from model import AttentionRecorder, zoo
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["AttentionRecorder", "zoo"]


def __getattr__(name: str) -> Any:
    if name == "AttentionRecorder":
        return import_module("model.recorder").AttentionRecorder
    if name == "zoo":
        return import_module("model.zoo")
    raise AttributeError(f"module 'model' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
