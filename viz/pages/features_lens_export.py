"""What Lens saves: every patch's class at every layer, and probabilities through the layers."""

import numpy as np

from viz.components.lens_payload import LensView
from viz.export.account import Account, name_file
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import PaintedMap
from viz.export.panels import Grid, Panel, draw_grid, wrap
from viz.export.program import Code, write_program
from viz.export.tables import lines_export
from viz.pages.shared import open_models
from viz.pages.shared.html_file import part_file
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pictures.feature_paint import GROUP_COLORS

COLUMNS = 4
OTHER = 140  # grey, as in lens.js, like the opacities below
READ = {
    "CLS": "read.tokens[:, 0, bundle.tokens.prefix.index('cls')]",
    "the model's answer": "read.answer[:, 0]",
    "the mean of the patches": "read.mean[:, 0]",
}
"""The logits (layers, classes) of each curve."""


def describe_lens(session: Session, view: LensView, payload: bytes) -> Saved:
    """Describe what can be saved of a lens, whose `payload` has its photo."""
    curves = [_curve(session, view, number) for number in range(len(view.curve_names))]
    every = _every_layer(session, view)
    html = part_file("lens", payload, every.account.title, every.name)
    return Saved([every, *curves], html)


def _facts(session: Session) -> dict[str, str]:
    model = open_models.model_title(session.bundle.name)
    return {"Model": model, "Photo": photo_title(session.picture)}


def _reading(session: Session) -> list[Code]:
    lines = ["read = read_layers(bundle.net, bundle.prepare(image), layout=bundle.tokens)"]
    code = Code(lines, ["from model.features.class_lens import read_layers"])
    return [opening_of(session.bundle.name, session.picture), code]


# -- the class of every patch ---------------------------------------------------------------------


def _every_layer(session: Session, view: LensView) -> Export:
    account = Account(
        "The class that each patch would answer with after each layer",
        _facts(session) | {"Read by": "the model's last norm and classifier"},
        [
            f"Colours: {_legend(view)}. A patch is stronger where its class is surer.",
            "The classifier was trained for the last layer, so an early answer is a hint.",
        ],
    )
    code = Code(
        [
            "patches = read.tokens[:, 0].softmax(-1)[:, bundle.tokens.patch_slice]",
            "found = patches.max(-1)",
            "shape = (-1, *bundle.tokens.grid)  # layers, rows, columns",
            "best = found.indices.reshape(shape).numpy()  # indices of bundle.classes",
            "shares = found.values.reshape(shape).half().numpy()",
        ]
    )
    name = name_file("lens", photo_title(session.picture), session.bundle.name)
    program = write_program(account.title, [*_reading(session), code])
    return Export(
        "Every layer",
        name,
        account,
        lambda: _draw(session, view, account.lines),
        lambda: _numbers(session, view),
        program,
    )


def _legend(view: LensView) -> str:
    """Name the colours of the legend."""
    colors = zip(COLOR_NAMES, view.classes, strict=False)
    return ", ".join([*(f"{color} for {name}" for color, name in colors), "grey for any other"])


COLOR_NAMES = ("blue", "orange", "green", "pink", "light blue", "vermilion", "yellow")
"""The first of `GROUP_COLORS`, in words."""


def _draw(session: Session, view: LensView, caption: list[str]) -> Drawing:
    """Draw every layer over the photo, coloured as the page does."""
    grid, frame = session.bundle.tokens.grid, session.recorded.frame
    legend = len(view.classes)
    palette = np.concatenate([GROUP_COLORS[:legend], [[OTHER] * 3]]).astype(np.uint8)
    panels = [
        Panel(
            frame,
            PaintedMap(
                palette[np.minimum(best, legend)].reshape(*grid, 3),
                ((70 + 170 * np.sqrt(shares.astype(np.float32))) / 255).reshape(grid),
            ),
            f"Layer {layer}",
        )
        for layer, (best, shares) in enumerate(
            zip(view.best, view.best_share, strict=True), start=1
        )
    ]
    return draw_grid(Grid(wrap(panels, COLUMNS), caption=caption))


def _numbers(session: Session, view: LensView) -> Numbers:
    shape = (len(view.best), *session.bundle.tokens.grid)
    names = np.array([*view.classes, *view.others], str)
    arrays = {
        "classes": names[view.best].reshape(shape),
        "best": np.array(view.labels)[view.best].reshape(shape),
        "shares": view.best_share.reshape(shape),
    }
    axes = dict(zip(("layer", "row", "column"), map(count_from_one, shape), strict=True))
    return Numbers(arrays, "classes", axes)


# -- through the layers ---------------------------------------------------------------------------


def _curve(session: Session, view: LensView, number: int) -> Export:
    """Describe the probability of each class of the legend, read from one place."""
    name = view.curve_names[number]
    labels = list(view.labels[: len(view.classes)])
    title = f"{name[0].upper()}{name[1:]}"
    code = Code([f"values = {READ[name]}.softmax(-1)[:, {labels}].T.numpy()  # classes, layers"])
    return lines_export(
        title,
        Account(f"Probability through the layers, read from {name}", _facts(session)),
        {each: view.curves[at, number] for at, each in enumerate(view.classes)},
        "Layer",
        "Probability",
        [*_reading(session), code],
        f"lens {photo_title(session.picture)} {session.bundle.name}",
        first=1,
    )
