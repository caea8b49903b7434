"""Features: which patches does the model take for alike, and what would each of them answer?"""

import streamlit as st

from viz.pages import features_alike, features_lens
from viz.pages.shared.browser import write_address
from viz.pages.shared.session import begin_page, session_url_params
from viz.pages.shared.state import Features

TABS = {
    "Alike": features_alike.show_alike,
    "Lens": features_lens.show_lens,
}


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "Which patches are alike?",
        "Each layer describes every patch by a vector, its *features*. Point at a patch or tap it "
        "to see which others have similar ones.",
    )
    Features.tab.begin(TABS)
    tabs = st.tabs(list(TABS), key=Features.tab.name, on_change="rerun")
    for tab, show in zip(tabs, TABS.values(), strict=True):
        if tab.open:
            with tab:
                show(session)
    write_address(
        session_url_params(session)
        | Features.tab.url_params()
        | features_alike.alike_url_params()
        | features_lens.lens_url_params()
    )


page()
