"""A chart whose dots are heads, one of which can be clicked."""

import plotly.graph_objects as go

from viz.charts.heatmap import BARE
from viz.pages.shared.figures import show_chart


def show_dots(figure: go.Figure, key: str, alt: str) -> tuple[int, int] | None:
    """Show the chart.

    Args:
        figure: its dots carry layer and head, counted from one, as customdata.

    Returns:
        layer and head of the dot that was clicked, from zero; None if none was.
    """
    event = show_chart(
        figure, key=key, on_select="rerun", selection_mode="points", config=BARE, alt=alt
    )
    points = [point for point in event.selection.points if "customdata" in point]
    if not points:
        return None
    layer, head = points[0]["customdata"][:2]
    return int(layer) - 1, int(head) - 1
