"""What a session shows, as an export describes it."""

from viz.export.attention import Chosen, Seen
from viz.pages.shared import open_models
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.session import Session, chosen_layers
from viz.pages.shared.view import View


def seen_of(session: Session) -> Seen:
    """Describe the photo and the model of a session."""
    name = session.bundle.name
    return Seen(
        session.recorded,
        open_models.model_title(name),
        photo_title(session.picture),
        opening_of(name, session.picture),
        chosen_layers(name),
        name,
    )


def chosen_of(view: View) -> Chosen:
    """Describe what a view looks at."""
    return Chosen(view.layer, view.query, view.head, view.style, view.fusion, view.discard)
