"""The routes that stand beside Streamlit's own, each a small question that a browser asks."""

from starlette.routing import BaseRoute

ROUTES: list[BaseRoute] = []
"""What ``app.py`` serves besides the pages. No path begins with ``_stcore``, ``media``,
``component`` or ``static``, which are Streamlit's."""
