"""Positions: how does a transformer know where a patch is?"""

import streamlit as st

from viz.pages import positions_model, positions_order, positions_rotary, positions_waves
from viz.pages.shared.session import begin, write_address
from viz.pages.shared.url_params import set_url_params, url_param

TABS = {
    "Waves": positions_waves.show,
    "This model's code": positions_model.show,
    "Rotation": positions_rotary.show,
    "Does order matter?": positions_order.show,
}


def page() -> None:
    """The whole page, top to bottom."""
    session = begin(
        "How does a transformer know where a patch is?",
        "Attention sees a set, not a sequence: by itself it cannot tell the first patch from "
        "the last. So each token is given a *position code*, numbers that differ from place to "
        "place. Begin with the waves, then look at what this model uses.",
    )
    usual = next(iter(TABS))
    if "tab" not in st.session_state and "tab_before" in st.session_state:
        st.session_state.tab = st.session_state.tab_before  # forgotten when the page is left
    url_param("tab", usual, list(TABS))
    for tab, show in zip(
        st.tabs(list(TABS), key="tab", on_change="rerun"), TABS.values(), strict=True
    ):
        if tab.open:
            with tab:
                show(session)
    st.session_state.tab_before = st.session_state.tab
    write_address(session)
    set_url_params(tab=(st.session_state.tab, usual))
    for part in (positions_waves, positions_model, positions_rotary, positions_order):
        set_url_params(**part.words())


page()
