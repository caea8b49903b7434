"""Write the Python that makes a picture's numbers again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LINE = 96  # characters of a comment


@dataclass(frozen=True)
class Code:
    """Lines of Python, and what they import.

    >>> (Code(["x = 1"]) + Code(["y = np.sqrt(x)"], ["import numpy as np"])).lines
    ['x = 1', 'y = np.sqrt(x)']
    """

    lines: Sequence[str]
    imports: Sequence[str] = ()

    def __add__(self, other: Code) -> Code:
        return Code([*self.lines, *other.lines], [*self.imports, *other.imports])


def write_program(title: str, parts: Iterable[Code]) -> str:
    """Write a program.

    Args:
        title: what it makes, for the comment at its top.
        parts: each follows an empty line.

    >>> print(write_program("One number", [Code(["x = np.sqrt(2)"], ["import numpy as np"])]))
    # One number
    import numpy as np
    <BLANKLINE>
    x = np.sqrt(2)
    <BLANKLINE>
    """
    parts = list(parts)
    imports = sorted({line for part in parts for line in part.imports}, key=_order)
    comment = f"# {' '.join(title.split())}"[:LINE]
    blocks = [[comment, *imports], *(part.lines for part in parts)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def code_of_model(name: str, weights: str = "trained", heads: int | None = None) -> Code:
    """Open a model as `zoo.load` does.

    >>> code_of_model("photos", "random").lines
    ["bundle = zoo.load('photos', weights='random')"]
    """
    more = "" if weights == "trained" else f", weights={weights!r}"
    more += "" if heads is None else f", heads={heads}"
    return Code([f"bundle = zoo.load({name!r}{more})"], ["from model import zoo"])


def code_of_sample(name: str) -> Code:
    """Open a sample photo."""
    return Code([f"image = samples.load({name!r})"], ["from model.datasets import samples"])


def code_of_photo(path: str, max_side: int | None = None) -> Code:
    """Open a photo from a file.

    >>> code_of_photo("cat.jpg", 1024).lines
    ["image = open_picture('cat.jpg', max_side=1024).image"]
    """
    side = f", max_side={max_side}" if max_side else ""
    line = f"image = open_picture({path!r}{side}).image"
    return Code([line], ["from model.images import open_picture"])


def _order(line: str) -> tuple[bool, str]:
    """Order imports: libraries first, then the project."""
    module = line.split()[1]
    return module.split(".")[0] in ("model", "viz"), line
