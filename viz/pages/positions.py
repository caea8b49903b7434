"""Positions: how does a transformer know where a patch is?"""

import streamlit as st

from viz.pages import positions_model, positions_order, positions_rotary, positions_waves
from viz.pages.shared.browser import write_address
from viz.pages.shared.session import begin_page, session_url_params
from viz.pages.shared.state import Positions, read_link

TABS = {
    "Does order matter?": positions_order.show_order,
    "This model's code": positions_model.show_model_code,
    "Waves": positions_waves.show_waves,
    "Rotation": positions_rotary.show_rotation,
}


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "How does a transformer know where a patch is?",
        "Attention alone cannot tell the first patch from the last, so each token gets a "
        "*position code*. Take it away, or shuffle the patches, and see what the model loses.",
        plain_net=True,
    )
    if not Positions.tab.is_set and (before := Positions.tab_before.get()):
        Positions.tab.set(before)  # forgotten when the page is left
    Positions.tab.begin(TABS, default=_first_tab())
    tabs = st.tabs(list(TABS), key=Positions.tab.name, on_change="rerun")
    for tab, show in zip(tabs, TABS.values(), strict=True):
        if tab.open:
            with tab:
                show(session)
    Positions.tab_before.set(Positions.tab.get())
    write_address(
        session_url_params(session)
        | Positions.tab.url_params()
        | positions_waves.wave_url_params()
        | Positions.likeness.url_params()
        | Positions.turned_width.url_params()
        | Positions.turned_base.url_params()
        | Positions.way.url_params()
        | Positions.seed.url_params()
    )


def _first_tab() -> str:
    """Choose the tab for an address without one: older links to the waves name only settings."""
    return "Waves" if positions_waves.SETTINGS & read_link().keys() else Positions.tab.default


page()
