"""Saccade: see where a vision transformer looks. Run with ``streamlit run app.py``."""

import streamlit as st

from viz.server.metrics import METRICS
from viz.server.routes import ROUTES
from viz.server.running import MIDDLEWARE, explain_error, running

app = st.App(
    "viz/pages/navigation.py",
    routes=[*ROUTES, METRICS],
    middleware=MIDDLEWARE,
    lifespan=running,
    on_script_error=explain_error,
)
