"""What is left of a file once all is gone that its pixels do not need."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

from model.errors import ImageRejected
from model.images.limits import MAX_SECONDS
from model.images.sentences import too_slow


@dataclass(frozen=True)
class Pared:
    """A file of the same format and picture without metadata, for a decoder.

    Args:
        data: the file.
        orientation: EXIF's number for how to turn the picture, 1 for upright.
        significant_bits: bits of each sample that the file says are used, or 0.
    """

    data: bytes
    orientation: int = 1
    significant_bits: int = 0


class Watch:
    """Processor time of this thread for one file; `check` raises once it is spent."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.end = time.thread_time() + MAX_SECONDS

    def check(self) -> None:
        """Raise ImageRejected if the time is over."""
        if time.thread_time() > self.end:
            raise ImageRejected(too_slow(self.kind))


class WatchedFile(io.BytesIO):
    """A file in memory that looks at the watch whenever a decoder reads from it."""

    def __init__(self, data: bytes, watch: Watch) -> None:
        super().__init__(data)
        self.watch = watch

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as BytesIO does."""
        self.watch.check()
        return super().read(size)
