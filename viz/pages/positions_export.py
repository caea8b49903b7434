"""What Positions saves of the code that a model adds: which places are alike."""

import numpy as np
from torch import Tensor

from model.analysis.position_codes import code_similarity
from viz.components.draw_style import DrawStyle
from viz.components.tiles_payload import shown_tiles
from viz.export.account import Account, name_file
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.features import paint_span
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import scale_of
from viz.export.panels import Grid, Panel, draw_grid, wrap
from viz.export.program import Code, write_program
from viz.pages.shared import open_models
from viz.pages.shared.html_file import part_file
from viz.pages.shared.opening import model_code
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session


def describe_positions(session: Session, patches: Tensor, cosine: bool, tiles: bytes) -> Saved:
    """Describe what can be saved of a position code (N, D), whose `tiles` the page shows."""
    name, grid = session.bundle.name, session.bundle.tokens.grid
    likeness = "cosine" if cosine else "dot product"
    account = Account(
        "Which places are alike, by their position codes",
        {"Model": open_models.model_title(name), "Likeness": likeness},
        ["Each tile belongs to one patch, and shows how like its code is to that of every patch."],
    )
    code = Code(
        [
            "code = find_position_code(bundle.net, bundle.tokens)",
            f"values = code_similarity(code.patches, cosine={cosine}).detach().numpy()",
        ],
        ["from model.analysis.position_codes import code_similarity, find_position_code"],
    )

    def values() -> np.ndarray:
        return code_similarity(patches, cosine=cosine).numpy()

    def numbers() -> Numbers:
        found = values()
        places = count_from_one(len(found))
        return Numbers({"values": found}, "values", {"patch": places, "compared_with": places})

    return Saved(
        [
            Export(
                "Position codes",
                name_file("positions", name, likeness),
                account,
                lambda: _draw(values(), grid, account.lines, likeness),
                numbers,
                write_program(account.title, [model_code(name), code]),
            )
        ],
        part_file("tiles", tiles, account.title, name_file("positions", name, likeness)),
    )


def _draw(values: np.ndarray, grid: tuple[int, int], caption: list[str], unit: str) -> Drawing:
    """Draw a tile for each patch, or for every second, third and so on where there are many."""
    chosen, (_, columns) = shown_tiles(grid)
    low, high, style = float(values.min()), float(values.max()), DrawStyle(opacity=1.0, gamma=0.0)
    tiles = [
        Panel(None, paint_span(values[patch].reshape(grid), low, high, style)) for patch in chosen
    ]
    scale = scale_of(style, f"{high:.2f} {unit}", f"{low:.2f}".replace("-", "−"))
    return draw_grid(Grid(wrap(tiles, columns), caption=caption, scale=scale))
