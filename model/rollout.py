"""The published path of `rollout`; the code is in `model.recording.rollout`."""

from model.recording.rollout import rollout

__all__ = ["rollout"]
