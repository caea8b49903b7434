"""What a measure over many pictures offers, so that it runs in shards, in processes and on Ray."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from model.survey.fingerprint import Fingerprint


class BlockState(Protocol):
    """What was gathered of some blocks of pictures.

    States merge exactly: whoever measured the blocks, and in whatever order their states were
    merged, the state of the same blocks is the same to the bit.
    """

    fingerprint: Fingerprint
    damaged: int
    """Pictures that could not be opened."""

    @property
    def blocks(self) -> set[int]:
        """The numbers of the blocks in it."""

    @property
    def pictures(self) -> int:
        """How many pictures were measured."""

    def merge(self, other: Self, whose: str = ...) -> None:
        """Add another state. Raises SurveyError where it was made otherwise, or is here already."""

    def save(self, file: Path) -> None:
        """Write it so that a crash leaves the old file or the new one. Raises OSError."""


Block = TypeVar("Block")
Prepared = TypeVar("Prepared")
State = TypeVar("State", bound=BlockState)


class BlockMeasure(ABC, Generic[Block, Prepared, State]):
    """A measure over blocks of pictures, small enough to be sent to a process.

    Its methods `start...` are called once in each process, and return what does the work there.
    """

    fingerprint: Fingerprint
    device: str

    @abstractmethod
    def start_preparing(self) -> Callable[[Block], Prepared]:
        """Return what reads and decodes the pictures of a block."""

    @abstractmethod
    def start_measuring(self) -> Callable[[Prepared], State]:
        """Open the model, and return what measures prepared pictures.

        Raises:
            SurveyError: this process has another version of the model or of the libraries.
        """

    def start(self) -> Callable[[Block], State]:
        """Open the model once, and return what measures a block from its files to its state."""
        measure, prepare = self.start_measuring(), self.start_preparing()
        return lambda block: measure(prepare(block))
