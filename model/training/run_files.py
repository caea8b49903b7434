"""The files that a training run writes, held for one run at a time."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from model.errors import TrainingError


@dataclass(frozen=True)
class RunFiles:
    """The files of a run: the checkpoint `out`, and three beside it."""

    out: Path

    @property
    def state(self) -> Path:
        """The unfinished run, from which `--resume` goes on."""
        return self.out.with_suffix(".state.pt")

    @property
    def log(self) -> Path:
        """The curve, as JSON lines."""
        return self.out.with_suffix(".log.jsonl")

    @property
    def lock(self) -> Path:
        """A file that the running process holds, and that the system lets go with it."""
        return self.out.with_name(f".{self.out.name}.lock")

    @contextmanager
    def held(self, resume: bool) -> Iterator[None]:
        """Hold the files for one run, from the first look at them to its end.

        Raises:
            TrainingError: Another run holds them, nothing may be written there, or an unfinished
                run would be lost.
        """
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise TrainingError(
                f"Nothing can be written to {self.out.parent} ({error.strerror}). Give --out in "
                "another folder."
            ) from error
        try:
            _take(handle, self.out)
            try:
                self._check(resume)
                yield
            finally:
                with suppress(OSError):  # as on Windows, where an open file stays
                    self.lock.unlink()
        finally:
            os.close(handle)

    def _check(self, resume: bool) -> None:
        if self.state.exists() and not resume:
            raise TrainingError(
                f"{self.state} is an unfinished run. Add --resume to go on with it, or delete it."
            )
        if resume and not self.state.exists():
            print(f"There is no {self.state} to go on with: it begins anew.", file=sys.stderr)
        if self.out.exists():
            print(f"{self.out} is there already: the end of this run replaces it.", file=sys.stderr)


def _take(handle: int, out: Path) -> None:
    """Lock an open file for this process; TrainingError where another one has it."""
    try:
        if os.name == "nt":
            windows = importlib.import_module("msvcrt")
            windows.locking(handle, windows.LK_NBLCK, 1)
        else:
            posix = importlib.import_module("fcntl")
            posix.flock(handle, posix.LOCK_EX | posix.LOCK_NB)
    except OSError as error:
        raise TrainingError(
            f"Another run is writing {out} now. Wait until it ends, or give another --out."
        ) from error
