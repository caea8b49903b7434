"""What Explore saves: a map, every head, rollout; through the layers, and through the training."""

from dataclasses import replace
from functools import partial

from PIL import Image

from model.recorded_image import find_same_place
from viz.export.attention import Chosen, Seen, attention_exports, draw_map
from viz.export.export import Export, Frames
from viz.export.pixels import FRAME, paint
from viz.pages.shared import course
from viz.pages.shared.browser import shown_view
from viz.pages.shared.html_file import explored_file
from viz.pages.shared.recorded_images import recorded_image
from viz.pages.shared.saving import Saved, show_save
from viz.pages.shared.seen import chosen_of, seen_of
from viz.pages.shared.session import Session, chosen_layers
from viz.pages.shared.view import fit_view


def show_export(session: Session) -> None:
    """Show the button that offers the files, of what is seen when it is opened."""
    show_save(partial(describe_explored, session))


def describe_explored(session: Session) -> Saved:
    """Describe what can be saved of the view that the browser has now."""
    session = replace(session, view=fit_view(shown_view(), session.recorded.layers))
    seen, chosen = seen_of(session), chosen_of(session.view)
    this, *others = attention_exports(seen, chosen)
    if moments := course.moments_of(session.bundle.name):
        this = _with_training(this, session, seen, chosen, moments)
    sheet = others[0]
    return Saved([this, *others], explored_file(session, sheet.name))


def _with_training(
    export: Export, session: Session, seen: Seen, chosen: Chosen, moments: tuple[float, ...]
) -> Export:
    """Add the animation of the map through the training."""
    layers = chosen_layers(session.bundle.name)

    def draw() -> list[Image.Image]:
        return [_frame_at(session, seen, chosen, moment, layers) for moment in moments]

    return replace(export, animations=[*export.animations, Frames("training", draw)])


def _frame_at(
    session: Session,
    seen: Seen,
    chosen: Chosen,
    moment: float,
    layers: tuple[int, ...] | None,
) -> Image.Image:
    """Draw the map as it was after so many epochs."""
    picture = session.picture
    bundle = course.model_at(session.bundle, moment)
    recorded = recorded_image(bundle, picture.key, picture.image, layers)
    tokens = recorded.layers[chosen.layer].tokens
    query = find_same_place(chosen.query, seen.recorded.layers[chosen.layer].tokens, tokens)
    then = replace(seen, recorded=recorded)
    title = course.moment_title(moment)
    return paint(draw_map(then, replace(chosen, query=query), title=title), FRAME)
