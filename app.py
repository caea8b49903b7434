"""Saccade: see where a vision transformer looks. Run with ``streamlit run app.py``."""

import streamlit as st

from viz.server.routes import ROUTES

app = st.App("viz/pages/navigation.py", routes=ROUTES)
