"""Inside a head: how does a head compute its map?"""

from typing import Any

import streamlit as st

from viz.pages.inside_head_captioner import show_captioner
from viz.pages.inside_head_export import describe_inside
from viz.pages.inside_head_numbers import layer_of_photo
from viz.pages.inside_head_payload import Looked, own_url_params, show_inside
from viz.pages.inside_head_source import LayerSource
from viz.pages.shared.browser import change_view, shown_view, write_address
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session, begin_page, chosen_layers, session_url_params
from viz.pages.shared.state import InsideHead
from viz.pages.shared.view import go_to_layer

QUESTION = "How does a head compute its map?"
LEAD = (
    "Follow one query through one head, with this model's own numbers. Go from step to step, or "
    "choose a part of the block; click or tap the photo to choose another key."
)
SUBJECTS = {"model": "A classifier", "captioner": "A captioner"}


def page() -> None:
    """Show the whole page, top to bottom."""
    if InsideHead.subject.begin(SUBJECTS) == "captioner":
        show_captioner(QUESTION, LEAD, _show_subjects)
        return
    session = begin_page(QUESTION, LEAD)
    _show_subjects()
    _show_layer(session)


def _show_subjects() -> None:
    st.segmented_control(
        "Look inside",
        list(SUBJECTS),
        key=InsideHead.subject.name,
        required=True,
        format_func=SUBJECTS.__getitem__,
        label_visibility="collapsed",
        persist_state="session",
    )


@st.fragment
def _show_layer(session: Session) -> None:
    """Show one layer; this alone runs again when the browser reports what was chosen."""
    recorded, view = session.recorded, shown_view()
    looked = Looked(
        model=session.bundle.name,
        picture=recorded.key,
        sent=layer_of_photo(session.bundle, session.picture, recorded, view.layer),
        photo=recorded.photo,
        style=view.style,
        layer=view.layer,
        layers=[f"Layer {number + 1}" for number in recorded.numbers],
        chips=[str(number + 1) for number in recorded.numbers],
        tokens=recorded.layers[view.layer].tokens,
        source=LayerSource(
            recorded.key,
            session.bundle.name,
            session.picture.key,
            chosen_layers(session.bundle.name),
            view.layer,
        ),
    )

    def take(message: dict[str, Any]) -> None:
        now = shown_view()
        layer, head, query = message["layer"], message["head"], message["query"]
        if not 0 <= layer < len(recorded.layers):
            return
        head = now.head if head == 0 and not isinstance(now.head, int) else head
        if layer != now.layer:
            query = go_to_layer(now, layer, recorded.layers).query
        if (layer, head, query) != (now.layer, now.head, now.query):
            change_view(layer=layer, head=head, query=query)

    show_inside(looked, view.head if isinstance(view.head, int) else 0, view.query, take)
    show_save(lambda: describe_inside(session, looked))
    write_address(session_url_params(session) | own_url_params())


page()
