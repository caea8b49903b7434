"""Saccade: see where a vision transformer looks. Run with ``streamlit run app.py``."""

from pathlib import Path

import streamlit as st

import viz
from viz.server.metrics import METRICS
from viz.server.routes import ROUTES
from viz.server.running import MIDDLEWARE, explain_error, running

app = st.App(
    Path(viz.__file__).with_name("pages") / "navigation.py",
    routes=[*ROUTES, METRICS],
    middleware=MIDDLEWARE,
    lifespan=running,
    on_script_error=explain_error,
)
