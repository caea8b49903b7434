"""The published path of `AttentionRecorder`; the code is in `model.recording.recorder`."""

from model.recording.recorder import AttentionRecorder

__all__ = ["AttentionRecorder"]
