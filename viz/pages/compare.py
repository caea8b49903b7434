"""Compare: what differs between two?"""

import streamlit as st

from viz.components import mounts
from viz.components.compare_payload import compare_payload
from viz.pages import compare_heads, compare_pairs
from viz.pages.compare_export import describe_compared
from viz.pages.compare_panes import Pane, show_a, show_b
from viz.pages.shared.browser import change_view, write_address
from viz.pages.shared.explained import show_note
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session, begin_page, session_url_params
from viz.pages.shared.state import Compare, Shared

IN_THE_ADDRESS = (
    *(Compare.method, Compare.token, Compare.code),
    *(Compare.b_photo, Compare.b_model, Compare.b_epoch, Compare.b_method, Compare.b_layer),
    *(Compare.b_head, Compare.b_token, Compare.b_code, Compare.closest),
)


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "What differs between two?",
        "**A** is the photo and the model that you chose, **B** stands beside it. Begin with one "
        "of the pairs; then point at a patch or tap it, and all three pictures follow.",
        as_b=False,
        show_help=_show_meaning,
    )
    with st.container(horizontal=True, gap="small"):
        choices = st.container(horizontal=True, gap="small", width="content")
        compare_pairs.show_pairs(session)
    below = st.container()
    with choices:
        a, b = show_a(session), show_b(session, below)
    _mount(session, a, b)
    show_note(
        "Each map is divided by its sum first, so A minus B shows where the two look, and not how "
        "strongly.",
        Shared.note("compare").name,
    )
    show_save(lambda: describe_compared(a, b))
    compare_heads.show_closest(a, b)
    url_params = session_url_params(session)
    for setting in IN_THE_ADDRESS:
        url_params |= setting.url_params()
    write_address(url_params)


def _mount(session: Session, a: Pane, b: Pane) -> None:
    same_photo = a.subject.picture.key == b.subject.picture.key
    payload = compare_payload(
        [a.header(same_photo), b.header(same_photo)],
        [a.finished, b.finished],
        session.view.query,
        same_photo,
        session.view.style,
    )
    mounts.compare(payload, on_query=_take_query, key=Compare.component.name)


def _take_query() -> None:
    query = Compare.component.get().get("query")
    if query is not None:
        change_view(query=query)


def _show_meaning() -> None:
    with st.popover("What do the numbers say?", icon=":material/help:"):
        st.markdown(
            "The **Jensen-Shannon divergence** is 0 where two maps are the same and ln 2 = 0.69 "
            "where they share no patch (Lin, 1991). The **rank correlation** compares the order "
            "in which the two maps put the patches (Spearman): 1 is the same order, 0 is no "
            "relation.\n\n"
            "Where the grids differ, the coarser map is repeated on the finer grid. Where one "
            "model sees more of the photo, the part that both see is compared. A small divergence "
            "says nothing about the answers: two models can look alike and answer differently, and "
            "maps that look alike can come from different computations."
        )


page()
