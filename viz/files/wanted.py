"""What is asked for on the command line, and how a file is written."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from model.recorded_image import default_query
from model.tokens import TokenLayout
from model.zoo.whole_files import replace_file
from viz.components.draw_style import DrawStyle
from viz.export.export import Export
from viz.export.program import Code, code_of_model, code_of_photo


@dataclass(frozen=True)
class Wanted:
    """What `python -m viz` is asked for; each field is an option of the command.

    >>> Wanted(colors="magma").style.colors
    'magma'
    """

    query: str | None = None
    layers: Sequence[int] | None = None
    colors: str = "viridis"
    opacity: float = 0.75
    fusion: str = "mean"
    discard: float = 0.0
    without_heads: Sequence[tuple[int, int]] | None = None
    hide: Sequence[int] | None = None
    hide_by: str = "mean"
    model: str = ""
    heads: int | None = None
    weights: str = "trained"
    all: bool = False
    width: int = 1200

    @classmethod
    def from_options(cls, options: Namespace) -> Wanted:
        """Take the options that have a field here."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    def opening(self, path: Path) -> Code:
        """Write the Python that opens the model and the picture."""
        return self.opening_model + code_of_photo(str(path))

    @property
    def opening_model(self) -> Code:
        """The Python that opens the model."""
        return code_of_model(self.model, self.weights, self.heads)

    @property
    def style(self) -> DrawStyle:
        """How maps are drawn."""
        return DrawStyle(self.colors, self.opacity, lines=True)

    @property
    def changes(self) -> bool:
        """Whether heads are switched off or patches hidden."""
        return bool(self.without_heads or self.hide)

    @property
    def heads_off(self) -> dict[int, list[int]]:
        """The heads that are switched off, by layer, from zero."""
        off: dict[int, list[int]] = {}
        for layer, head in self.without_heads or ():
            off.setdefault(layer, []).append(head)
        return off

    def query_among(self, tokens: TokenLayout) -> int:
        """Find the token that asks. Raises ValueError where the model has none of this name."""
        text = self.query
        if text is None:
            return default_query(tokens)
        if text in tokens.prefix:
            return tokens.prefix.index(text)
        try:
            row, column = map(int, text.split(","))
            return tokens.index_of(row - 1, column - 1)
        except (ValueError, IndexError):
            names = "".join(f"{name}, or " for name in tokens.prefix)
            rows, columns = tokens.grid
            raise ValueError(
                f"--query {text}: give {names}ROW,COLUMN from 1,1 to {rows},{columns}."
            ) from None


def write_beside(path: Path, data: bytes) -> None:
    """Write a file beside its place, and rename it. Raises CheckpointError as `replace_file`."""
    replace_file(path, lambda unfinished: unfinished.write_bytes(data))


def write_export(export: Export, folder: Path, name: str, width: int, but: Sequence[str]) -> None:
    """Write every file of a picture, named NAME.KIND, but some kinds; and its animations."""
    for kind in export.kinds:
        if kind not in but:
            write_beside(folder / f"{name}.{kind}", export.write(kind, width, name))
    for frames in export.animations:
        for kind in ("webp", "gif"):
            write_beside(folder / f"{name}-{frames.over}.{kind}", frames.write(kind))
