"""What Inside a head saves: the scores of one query, its attention, and all numbers on the way."""

import numpy as np

from model.intervention import inside_head
from viz.export.account import Account, name_file
from viz.export.attention import patch_box
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.features import paint_span
from viz.export.names import name_head, token_name
from viz.export.numbers import Numbers
from viz.export.painting import paint_map
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.pages.shared import open_models
from viz.pages.shared.browser import shown_view
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pages.shared.view import fit_view


def describe_inside(session: Session) -> Saved:
    """Describe what can be saved of the head and the query that are shown."""
    recorded, bundle = session.recorded, session.bundle
    view = fit_view(shown_view(), recorded.layers)
    number, head = recorded.numbers[view.layer], view.head if isinstance(view.head, int) else 0
    if recorded.records[view.layer].windows:
        return Saved(missing="This layer attends within windows; Explore saves its maps.")
    tokens, query = recorded.layers[view.layer].tokens, view.query
    account = Account(
        f"From scores to attention, in {name_head(head)} of layer {number + 1}",
        {"Model": open_models.model_title(bundle.name), "Photo": photo_title(session.picture)}
        | {"From": token_name(query, tokens)},
        ["The softmax of the scores, divided by the root of the head's width, is the attention."],
    )  # fmt: skip
    given = f"layer={number}, head={head}, query={query}"
    code = Code(
        [
            f"inside = inside_head(bundle.net, bundle.prepare(image), {given})",
            'scaled = inside["scaled"].numpy()',
            'softmax = inside["softmax"].numpy()',
        ],
        ["from model.intervention import inside_head"],
    )
    image = session.picture.image

    def steps() -> dict[str, np.ndarray]:
        found = inside_head(bundle.net, bundle.prepare(image), number, head, query)
        return {step.name: step.value.detach().numpy() for step in found.steps}

    def numbers() -> Numbers:
        names = [token_name(token, tokens) for token in range(tokens.tokens)]
        return Numbers(steps(), "softmax", {"token": names})

    def draw() -> Drawing:
        found, box = steps(), patch_box(query, tokens)
        scores, weights = (
            found[name][tokens.patch_slice].reshape(tokens.grid) for name in ("scaled", "softmax")
        )
        low, high = float(scores.min()), float(scores.max())
        panels: list[Panel | None] = [
            Panel(recorded.frame, paint_span(scores, low, high, view.style), "Scores, scaled",
                  f"{low:.2f} to {high:.2f}".replace("-", "−"), box),
            Panel(recorded.frame, paint_map(weights, view.style), "Attention",
                  f"up to {weights.max():.1%}", box),
        ]  # fmt: skip
        return draw_grid(Grid([panels], caption=account.lines))

    place = token_name(query, tokens)
    name = name_file("inside", bundle.name, f"layer {number + 1}", f"head {head + 1}", place)
    program = write_program(account.title, [opening_of(bundle.name, session.picture), code])
    return Saved([Export("One head", name, account, draw, numbers, program)])
