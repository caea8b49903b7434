"""Rotary codes: queries and keys turned by their place."""

import math

import numpy as np
import streamlit as st
from torch import Tensor

from model.analysis.position_codes import find_position_code
from model.analysis.rotary_codes import grid_angles, rotary_score
from model.nets.sinusoids import angles, frequencies
from viz.charts.curves import curves
from viz.charts.heatmap import BARE, heatmap
from viz.pages.positions_rotary_export import ShownRotation, describe_rotation
from viz.pages.shared.explained import show_note
from viz.pages.shared.figures import draw_once, show_chart
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Positions, Shared

BASES = [10.0, 100.0, 1000.0, 10000.0]
WIDTHS = [8, 16, 32, 64, 128]
LENGTH = 64
CYCLIC = "Twilight"  # 0 and 360 degrees have one colour
TURN = 2 * math.pi


def show_rotation(session: Session) -> None:
    """Show the tab."""
    show_note(
        "A *rotary code* turns queries and keys by an angle that grows with the place. Their score "
        "then tells how far apart they are.",
        Shared.note("rotary").name,
    )
    Positions.turned_width.begin(WIDTHS)
    Positions.turned_base.begin(BASES)
    controls = st.columns([1, 1, 2], gap="large")
    with controls[0]:
        width = st.select_slider(
            "Width of a head", WIDTHS, key=Positions.turned_width.name, persist_state="session"
        )
    with controls[1]:
        base = st.select_slider(
            "Base",
            BASES,
            key=Positions.turned_base.name,
            format_func=lambda b: f"{b:,.0f}",
            persist_state="session",
        )
    left, right = st.columns(2, gap="large")
    with left:
        _show_angles(width, base)
    with right:
        _show_fall(width, base)
    angle, own = _show_grid(session, width, base)
    shown = ShownRotation(session, LENGTH, width, base, angle, own)
    show_save(lambda: describe_rotation(shown))


TURNED = (
    "Two dimensions are a *pair* and are turned together. Nothing is added to a token. In the dot "
    "product of a query and a key only the difference of their angles is left (Su et al., 2021)."
)
FALL = (
    "The mean of cos(distance × frequency) over the pairs. Real queries and keys weigh the pairs "
    "differently."
)


def _show_angles(width: int, base: float) -> None:
    st.subheader("Angle of each pair at each position", help=TURNED)
    angle = angles(LENGTH, width, base)
    turns = TURN / frequencies(width, base)
    details = np.broadcast_to(turns.numpy()[:, None], (*angle.shape, 1))
    figure = draw_once(
        heatmap,
        np.degrees((angle % TURN).numpy()),
        "Pair of dimensions",
        "Position",
        "Position %{y}, pair %{x}<br>turned by %{z:.1f}°<br>once around in "
        "%{customdata[0]:,.1f} positions",
        details,
        (0, 360),
        CYCLIC,
        scale_title="degrees",
    )
    show_chart(figure, key="angles", config=BARE, alt="Angle by position and pair")


def _show_fall(width: int, base: float) -> None:
    st.subheader("How a score falls with distance", help=FALL)
    score = rotary_score(angles(LENGTH, width, base), 0).numpy()
    show_chart(
        draw_once(
            curves, {"score": score}, "Distance in positions", "Share of the score left", 330
        ),
        key="fall",
        config=BARE,
        alt="Score by distance",
    )
    st.caption(
        "For a query and a key that are alike before they are turned. Real ones differ, so a head "
        "can look near or far."
    )


def _show_grid(session: Session, width: int, base: float) -> tuple[Tensor, bool]:
    """Show the angles on the grid; return them, and whether they are the model's own."""
    tokens = session.bundle.tokens
    code = find_position_code(session.bundle.net, tokens)
    rotary = code.kind == "rotary" or "rotary" in code.other_kinds
    own = code.angles if rotary else None
    angle = grid_angles(tokens.grid, width, base).float() if own is None else own
    st.subheader("On a grid of patches" if own is None else "On the grid of this model")
    if own is not None:
        st.caption("The angles are this model's own; width and base above do not change them.")
    elif rotary:
        st.caption(
            "This page cannot read this model's angles. In the usual code, shown here, half of the "
            "pairs turn with the row, half with the column."
        )
    else:
        st.caption(
            "This model has no rotary code. On its grid one would turn half of the pairs with the "
            "row, half with the column."
        )
    rows, columns = tokens.grid
    row, column = rows // 2, columns // 2
    left, right = st.columns(2, gap="large")
    with left:
        score = rotary_score(angle, row * columns + column).reshape(tokens.grid).numpy()
        figure = draw_once(
            heatmap,
            score,
            "Column",
            "Row",
            "Row %{y}, column %{x}<br>share of the score left %{z:.3f}",
            square=True,
            first=1,
            height=360,
            marked=(row + 1, column + 1),
        )
        st.markdown("**How much of a score is left, asked from the marked patch**")
        show_chart(figure, key="grid_fall", width=450, config=BARE)
    with right:
        st.markdown("**Angle of each pair at each patch, row by row**")
        figure = draw_once(
            heatmap,
            np.degrees((angle % TURN).numpy()),
            "Pair of dimensions",
            "Patch, row by row",
            "Patch %{y}, pair %{x}<br>turned by %{z:.1f}°",
            span=(0, 360),
            color_map=CYCLIC,
            height=360,
            scale_title="degrees",
        )
        show_chart(figure, key="grid_angles", config=BARE)
    return angle, own is not None
