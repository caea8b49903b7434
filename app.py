"""Saccade: see where a vision transformer looks. Run with ``streamlit run app.py``."""

import streamlit as st

from viz.pictures.icon import eye

st.set_page_config(page_title="Saccade", page_icon=eye(), layout="wide")

st.navigation(
    [
        st.Page(
            "viz/pages/explore.py", title="Explore", icon=":material/visibility:", default=True
        ),
        st.Page("viz/pages/attribution.py", title="Attribution", icon=":material/target:"),
        st.Page("viz/pages/captions.py", title="Captions", icon=":material/subtitles:"),
        st.Page("viz/pages/positions.py", title="Positions", icon=":material/grid_on:"),
        st.Page("viz/pages/heads.py", title="Heads", icon=":material/scatter_plot:"),
        st.Page("viz/pages/patches.py", title="Patches", icon=":material/view_comfy:"),
        st.Page("viz/pages/cost.py", title="Cost", icon=":material/timer:"),
        st.Page("viz/pages/models.py", title="Models", icon=":material/deployed_code:"),
    ],
    position="top",
).run()
