"""A figure: the components that draw it, and the answers that they would ask the app for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LARGEST = 64 * 2**20
"""Bytes of a figure before compression; a browser keeps all that it draws in memory."""


class FigureTooLarge(ValueError):
    """A figure with more bytes than a file should have; the message says how to choose layers."""


@dataclass(frozen=True)
class FigurePart:
    """One component of a figure: its name, as of a folder of `viz/components`, and its payload.

    Attributes:
        heading: above it, like `note`.
        side: "left" or "right", for two parts that share the width of a large screen.
    """

    kind: str
    payload: bytes
    heading: str = ""
    note: str = ""
    side: str = ""


@dataclass(frozen=True)
class Figure:
    """What is shown, without the model that made it: bytes that a browser draws alone.

    Attributes:
        title: the figure's title, as plain text.
        parts: the components, from top to bottom.
        answers: bytes by name, ``SOURCE/QUESTION``, as the app's routes would answer.
        about: lines of plain text that say what is shown: model, photo, settings.
    """

    title: str
    parts: Sequence[FigurePart]
    answers: Mapping[str, bytes] = field(default_factory=dict)
    about: Sequence[str] = ()

    @property
    def nbytes(self) -> int:
        """Bytes before compression."""
        return sum(len(part.payload) for part in self.parts) + sum(map(len, self.answers.values()))

    def check_size(self) -> None:
        """Raise FigureTooLarge where a browser would get more than `LARGEST` bytes."""
        if self.nbytes <= LARGEST:
            return
        size, largest = (round(count / 1e6) for count in (self.nbytes, LARGEST))
        raise FigureTooLarge(
            f"This figure has {size} MB of queries, keys and maps; a file takes {largest}. Choose "
            "layers, counted from zero: layers=[0, 5, 11] in Python, --layers 0,5,11 on the "
            "command line, or the Models page of the app."
        )
