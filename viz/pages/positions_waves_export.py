"""What Waves saves: the code, two of its dimensions, its dot products, and both codes of a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from viz.export.account import Account
from viz.export.export import Export
from viz.export.grids import grid_export
from viz.export.program import Code
from viz.export.tables import lines_export, table_export
from viz.pages.shared.saving import Saved

SINUSOIDS = "model.nets.sinusoids"
OF_GRID = {
    "One sequence": ("wave_code({places}, {width}, {base})", "wave_code"),
    "Rows and columns apart": ("wave_code_2d({grid}, {width}, {base})", "wave_code_2d"),
}
"""The two codes of a grid: the call that makes each, and the function's name."""


@dataclass(frozen=True)
class ShownWaves:
    """What the tab shows of a code (positions, dimensions).

    Attributes:
        lines: the values of the chosen dimensions, by their titles.
        dimensions: which those are.
        position: the one that is compared with all others; `dots`: its dot products.
        alike: the likeness of the middle patch's code with all others, of each code that a grid
            of this size can have.
    """

    code: np.ndarray
    base: float
    lines: Mapping[str, np.ndarray]
    dimensions: Sequence[int]
    position: int
    dots: np.ndarray
    grid: tuple[int, int]
    alike: Mapping[str, np.ndarray]

    @property
    def facts(self) -> dict[str, str]:
        """Name the settings of the code."""
        length, width = self.code.shape
        return {"Positions": f"{length}", "Dimensions": f"{width}", "Base": f"{self.base:,.0f}"}

    @property
    def name(self) -> str:
        """Name the settings in a file's name."""
        length, width = self.code.shape
        return f"{length} by {width} base {self.base:.0f}"


def describe_waves(shown: ShownWaves) -> Saved:
    """Describe what can be saved of a sinusoidal code."""
    alike = [_alike(shown)] if shown.alike else []
    return Saved([_whole(shown), _dimensions(shown), _dots(shown), *alike])


def _made(shown: ShownWaves) -> Code:
    length, width = shown.code.shape
    line = f"code = wave_code({length}, {width}, {shown.base}).numpy()  # positions, dimensions"
    return Code([line], [f"from {SINUSOIDS} import wave_code"])


def _whole(shown: ShownWaves) -> Export:
    length, width = shown.code.shape
    account = Account("A sinusoidal position code", shown.facts, ["Each row is a position."])
    return table_export(
        "Waves",
        account,
        shown.code,
        {"position": range(length), "dimension": range(width)},
        [_made(shown), Code(["values = code"])],
        name=shown.name,
        span=(-1, 1),
    )


def _dimensions(shown: ShownWaves) -> Export:
    return lines_export(
        "Two dimensions",
        Account("Dimensions of a sinusoidal position code", shown.facts),
        shown.lines,
        "Position",
        "Value",
        [_made(shown), Code([f"values = code[:, {list(shown.dimensions)}].T"])],
        f"{shown.name} dimensions {' '.join(map(str, shown.dimensions))}",
    )


def _dots(shown: ShownWaves) -> Export:
    return lines_export(
        "Dot products",
        Account(
            f"The code of position {shown.position} against all others",
            shown.facts,
            ["The dot product of two codes depends on their distance alone."],
        ),
        {f"dot product with position {shown.position}": shown.dots},
        "Position",
        "Dot product",
        [_made(shown), Code([f"values = (code @ code[{shown.position}])[None]"])],
        f"{shown.name} position {shown.position}",
    )


def _alike(shown: ShownWaves) -> Export:
    """Describe the likeness on a grid of every code that there is."""
    (rows, columns), width = shown.grid, shown.code.shape[1]
    row, column = rows // 2, columns // 2
    facts = {"Grid": f"{rows} by {columns} patches", "Dimensions": f"{width}"}
    facts["Base"] = f"{shown.base:,.0f}"
    given = {"places": rows * columns, "grid": shown.grid, "width": width, "base": shown.base}
    calls = [OF_GRID[title][0].format(**given) for title in shown.alike]
    names = ", ".join(OF_GRID[title][1] for title in shown.alike)
    at = row * columns + column
    code = Code(
        [
            f"codes = [{', '.join(calls)}]",
            f"alike = [code_similarity(code[{at}:{at + 1}], code) for code in codes]",
            f"maps = np.stack([each.reshape({shown.grid}).numpy() for each in alike])",
        ],
        [
            "import numpy as np",
            "from model.analysis.position_codes import code_similarity",
            f"from {SINUSOIDS} import {names}",
        ],
    )
    return grid_export(
        "On a grid",
        Account(
            "How like the code of the outlined patch is to all others",
            facts,
            ["The cosine of two codes, where patches are numbered row by row and otherwise."],
        ),
        shown.alike,
        "cosine",
        [code],
        (row, column),
        f"waves {rows} by {columns} width {width} base {shown.base:.0f}",
    )
