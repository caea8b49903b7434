"""What Patches saves: the photo cut into patches, and the numbers that the model takes."""

import numpy as np

from viz.export.account import Account, name_file
from viz.export.attention import patch_box
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import PaintedMap
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.pages.patches_cut import CutPhoto, cut_photo
from viz.pages.shared import open_models
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session


def describe_patches(session: Session, patch: int) -> Saved:
    """Describe what can be saved of a photo cut into patches, one of them chosen."""
    bundle, tokens = session.bundle, session.bundle.tokens
    cut = cut_photo(bundle, session.picture)
    rows, columns = tokens.grid
    account = Account(
        "A photo, cut into patches",
        {"Model": open_models.model_title(bundle.name), "Photo": photo_title(session.picture)}
        | {"Grid": f"{rows} by {columns} patches of {tokens.patch[0]} by {tokens.patch[1]} pixels"},
        [f"Patch {patch + 1} of the sequence is outlined."],
    )  # fmt: skip
    code = Code(
        [
            "covered = bundle.tokens.covered(bundle.prepare(image))",
            "pixels = patchify(covered, bundle.tokens.patch)[0].numpy()  # patches, numbers",
        ],
        ["from model.tokens import patchify"],
    )

    def draw() -> Drawing:
        clear = PaintedMap(np.zeros((*tokens.grid, 3), np.uint8), np.zeros(tokens.grid))
        box = patch_box(len(tokens.prefix) + patch, tokens)
        panel = Panel(session.recorded.frame, clear, asking=box, lines=True)
        return draw_grid(Grid([[panel]], caption=account.lines))

    return Saved(
        [
            Export(
                "Patches",
                name_file("patches", photo_title(session.picture), bundle.name),
                account,
                draw,
                lambda: _numbers(cut),
                write_program(account.title, [opening_of(bundle.name, session.picture), code]),
            )
        ]
    )


def _numbers(cut: CutPhoto) -> Numbers:
    pixels = cut.pixels.numpy()
    arrays = {"pixels": pixels}
    if cut.vectors is not None:
        arrays["vectors"] = cut.vectors.numpy()
    count, numbers = pixels.shape
    axes = {"patch": count_from_one(count), "number": count_from_one(numbers)}
    return Numbers(arrays, "pixels", axes)
