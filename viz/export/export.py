"""What is carried away of one picture, and the files of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from viz.export.account import Account
from viz.export.drawing import Drawing
from viz.export.numbers import Numbers
from viz.export.pixels import write_png
from viz.export.svg import write_svg
from viz.pictures.animation import animate

WIDTHS = (800, 1200, 1600, 2400)
"""Pixels that a picture can be wide."""


@dataclass(frozen=True)
class Frames:
    """An animation: what it goes through, and its pictures."""

    over: str
    """Such as "layers"."""
    draw: Callable[[], Sequence[Image.Image]]
    milliseconds: int = 700

    def write(self, kind: str) -> bytes:
        """Make the file, "webp" or "gif"."""
        return animate(self.draw(), kind, self.milliseconds)


@dataclass(frozen=True)
class Export:
    """One picture with all that can be saved of it, each file made when it is asked for.

    Attributes:
        title: names the picture among those of its page.
        name: of its files, without the ending.
        account: what it shows, in words.
        draw: draws it.
        numbers: gathers the numbers behind it.
        program: the Python that makes these numbers again.
        animations: what moves, if anything does.
    """

    title: str
    name: str
    account: Account
    draw: Callable[[], Drawing]
    numbers: Callable[[], Numbers]
    program: str = ""
    animations: Sequence[Frames] = ()

    def write(self, kind: str, width: int = WIDTHS[1], name: str = "") -> bytes:
        """Make a file.

        Args:
            kind: one of `kinds`, which is also the file's ending.
            width: of a picture, in pixels.
            name: of the picture that a caption refers to, where it is another than `name`.

        Raises:
            KeyError: for any other kind.
        """
        return self._writers(width, name or self.name)[kind]()

    @property
    def kinds(self) -> list[str]:
        """The kinds of file that there are."""
        return list(self._writers(WIDTHS[0], self.name))

    def _writers(self, width: int, name: str) -> dict[str, Callable[[], bytes]]:
        """Return what writes each kind of file."""
        writers: dict[str, Callable[[], bytes]] = {
            "png": lambda: write_png(self.draw(), width),
            "svg": lambda: write_svg(self.draw(), width, self.account.title),
            "npz": lambda: self.numbers().as_npz(),
            "csv": lambda: self.numbers().as_csv(),
            "md": lambda: self.account.as_markdown(f"{name}.svg").encode(),
            "tex": lambda: self.account.as_latex(f"{name}.png").encode(),
        }
        if self.program:
            writers["py"] = lambda: self.program.encode()
        return writers
