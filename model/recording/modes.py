"""Order the function modes of a thread: what records a call stands below what changes it.

torch calls the modes of a thread from the last one entered to the first. A recorder sees a call as
it runs only if every mode that changes calls comes before it, whichever was entered first.
"""

from __future__ import annotations

from typing import Self

from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode, _push_mode

from model.recording import kernels


class ChangingMode(TorchFunctionMode):
    """A mode that changes calls or what they return."""

    def __enter__(self) -> Self:
        for watcher in kernels.watchers():  # they see what this makes of each call, as a mode does
            watcher.see_everything()
        super().__enter__()
        return self


class RecordingMode(TorchFunctionMode):
    """A mode that changes nothing, and sees each call after every `ChangingMode` of its thread."""

    def __enter__(self) -> RecordingMode:
        above = []
        while isinstance(mode := _get_current_function_mode(), ChangingMode):
            above.append(mode)
            _pop_mode()
        _push_mode(self)
        for mode in reversed(above):
            _push_mode(mode)
        return self

    def __exit__(self, *error: object) -> None:
        above = []
        while (mode := _pop_mode()) is not self:
            above.append(mode)
        for mode in reversed(above):
            _push_mode(mode)
