"""What Rotation saves: the angles, how a score falls with distance, and both on the grid."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from model.analysis.rotary_codes import rotary_score
from model.nets.sinusoids import angles
from viz.export.account import Account
from viz.export.export import Export
from viz.export.grids import grid_export
from viz.export.program import Code
from viz.export.tables import lines_export, table_export
from viz.pages.shared import open_models
from viz.pages.shared.opening import model_code
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pictures.colors import cyclic_table

ROTARY, SINUSOIDS = "model.analysis.rotary_codes", "model.nets.sinusoids"


@dataclass(frozen=True)
class ShownRotation:
    """What the tab shows of a rotary code.

    Attributes:
        length: how many positions of a sequence are drawn.
        angle: of every patch of the grid, (patches, pairs).
        own: whether `angle` was found in the model, and `width` and `base` do not count there.
    """

    session: Session
    length: int
    width: int
    base: float
    angle: Tensor
    own: bool

    @property
    def facts(self) -> dict[str, str]:
        """Name the settings of the code."""
        return {"Width of a head": f"{self.width}", "Base": f"{self.base:,.0f}"}

    @property
    def name(self) -> str:
        """Name the settings in a file's name."""
        return f"width {self.width} base {self.base:.0f}"

    @property
    def grid_facts(self) -> dict[str, str]:
        """Name the grid, and the model or the settings that its angles come from."""
        rows, columns = self.session.bundle.tokens.grid
        grid = {"Grid": f"{rows} by {columns} patches"}
        title = open_models.model_title(self.session.bundle.name)
        return grid | {"Angles of": title} if self.own else grid | self.facts

    @property
    def grid_name(self) -> str:
        """Name the grid and its angles in a file's name."""
        rows, columns = self.session.bundle.tokens.grid
        angles_of = self.session.bundle.name if self.own else self.name
        return f"{rows} by {columns} {angles_of}"


def describe_rotation(shown: ShownRotation) -> Saved:
    """Describe what can be saved of a rotary code."""
    return Saved([_angles(shown), _fall(shown), _grid_fall(shown), _grid_angles(shown)])


def _to_degrees(angle: Tensor) -> np.ndarray:
    return np.degrees((angle % (2 * np.pi)).numpy())


_DEGREES = Code(
    ["values = np.degrees((angle % (2 * np.pi)).numpy())  # places, pairs"], ["import numpy as np"]
)


def _sequence(shown: ShownRotation) -> Code:
    line = f"angle = angles({shown.length}, {shown.width}, {shown.base})  # positions, pairs"
    return Code([line], [f"from {SINUSOIDS} import angles"])


def _angles(shown: ShownRotation) -> Export:
    return table_export(
        "Angles",
        Account("The angle of each pair of dimensions at each position", shown.facts),
        _to_degrees(angles(shown.length, shown.width, shown.base)),
        {"position": range(shown.length), "pair": range(shown.width // 2)},
        [_sequence(shown), _DEGREES],
        "degrees",
        name=shown.name,
        colors=cyclic_table(),
        span=(0, 360),
    )


def _fall(shown: ShownRotation) -> Export:
    account = Account(
        "How a score falls with distance",
        shown.facts,
        ["For a query and a key that are alike before the turn."],
    )
    code = Code(
        ["values = rotary_score(angle, 0).numpy()[None]"], [f"from {ROTARY} import rotary_score"]
    )
    return lines_export(
        "Score",
        account,
        {"score": rotary_score(angles(shown.length, shown.width, shown.base), 0).numpy()},
        "Distance in positions",
        "Share of the score left",
        [_sequence(shown), code],
        shown.name,
    )


def _on_grid(shown: ShownRotation) -> list[Code]:
    """Write the Python that makes the angles of the grid, as `angle`."""
    tokens = shown.session.bundle.tokens
    if shown.own:
        return [
            model_code(shown.session.bundle.name),
            Code(
                ["angle = find_position_code(bundle.net, bundle.tokens).angles  # patches, pairs"],
                ["from model.analysis.position_codes import find_position_code"],
            ),
        ]
    made = f"grid_angles({tokens.grid}, {shown.width}, {shown.base}).float()"
    return [Code([f"angle = {made}  # patches, pairs"], [f"from {ROTARY} import grid_angles"])]


def _grid_fall(shown: ShownRotation) -> Export:
    grid = rows, columns = shown.session.bundle.tokens.grid
    row, column = rows // 2, columns // 2
    at = row * columns + column
    code = Code(
        [
            f"score = rotary_score(angle, {at})",
            f"maps = score.reshape({grid}).numpy()[None]  # maps, rows, columns",
        ],
        [f"from {ROTARY} import rotary_score"],
    )
    return grid_export(
        "Score on the grid",
        Account("How much of a score is left, asked from the outlined patch", shown.grid_facts),
        {"score": rotary_score(shown.angle, at).reshape(grid).numpy()},
        "of the score",
        [*_on_grid(shown), code],
        (row, column),
        shown.grid_name,
    )


def _grid_angles(shown: ShownRotation) -> Export:
    patches, pairs = shown.angle.shape
    return table_export(
        "Angles on the grid",
        Account("The angle of each pair at each patch, row by row", shown.grid_facts),
        _to_degrees(shown.angle),
        {"patch": range(patches), "pair": range(pairs)},
        [*_on_grid(shown), _DEGREES],
        "degrees",
        name=shown.grid_name,
        colors=cyclic_table(),
        span=(0, 360),
    )
