"""Where the object is, and whether a map lies on it."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch

from model.attribution.metrics.localisation import (
    box_mask,
    chance_iou,
    iou_at_share,
    peak_inside,
)
from viz.pages.attribution_target import Case

WHOLE = (1.0, 1.0)  # boxes are shares of the picture
USUAL = (25, 25, 75, 75)  # left, top, right, bottom in percent
WHERE_HELP = (
    "As the model sees the photo, in percent of its width and height. The box is drawn into every "
    "map."
)
KEEP = {"persist_state": "session"}


@dataclass(frozen=True)
class Place:
    """A box (left, top, right, bottom), as shares of what the model sees, over its patches."""

    box: tuple[float, float, float, float]
    grid: tuple[int, int]
    what: str

    @property
    def mask(self) -> torch.Tensor:
        """Patches of which the box covers half or more, (1, rows, columns)."""
        return box_mask(self._boxes, WHOLE, self.grid)

    @property
    def covered(self) -> int:
        """How many patches those are."""
        return int(self.mask.sum())

    @property
    def share(self) -> float:
        """How often a point chosen blindly lies inside."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def chance(self) -> float:
        """The overlap that a map has by chance."""
        return chance_iou(self.covered, self.grid[0] * self.grid[1])

    @property
    def _boxes(self) -> torch.Tensor:
        return torch.tensor([self.box], dtype=torch.float64)

    def hit(self, relevance: np.ndarray) -> bool:
        """The pointing game."""
        return bool(peak_inside(torch.from_numpy(relevance)[None], self._boxes, WHOLE))

    def overlap(self, relevance: np.ndarray) -> float | None:
        """IoU with as many of the highest patches; None where the box covers no patch."""
        if not self.covered:
            return None
        return float(iou_at_share(torch.from_numpy(relevance)[None], self.mask))

    def told(self, relevance: np.ndarray) -> str:
        """Both in a few words."""
        overlap = self.overlap(relevance)
        hit = "hit" if self.hit(relevance) else "miss"
        return hit if overlap is None else f"{hit}, IoU {overlap:.2f}"


def choose(case: Case, grid: tuple[int, int]) -> Place | None:
    """Where the object is, if that is known or somebody says so."""
    if case.scene:
        return _drawn(case, grid)
    if not _begin(case):
        return None
    (left, right), (top, bottom) = st.session_state.box_across, st.session_state.box_down
    box = left / 100, top / 100, right / 100, bottom / 100
    return Place(box, grid, "your box") if left < right and top < bottom else None


def show_choice(case: Case, place: Place | None) -> None:
    """The sliders for a photo, and what the scores under the maps mean."""
    if not case.scene:
        with st.expander("Where is the object?"):
            st.toggle("Mark it, and score every map by it", key="box_on", help=WHERE_HELP, **KEEP)
            left, right = st.columns(2, gap="medium")
            off = not st.session_state.box_on
            for column, label, key in (
                (left, "From left to right", "box_across"),
                (right, "From top to bottom", "box_down"),
            ):
                column.slider(label, 0, 100, key=key, format="%d %%", disabled=off, **KEEP)
            if not off and place is None:
                st.caption("This box has no area: move its sides apart.")
    if place is not None:
        st.caption(_meaning(place))
    elif case.scene:
        st.caption(f"{case.said} names nothing that was drawn, so there is no box to hit.")


def address() -> str | None:
    """The box as a link has it: left, top, right, bottom in percent."""
    if not st.session_state.get("box_on"):
        return None
    (left, right), (top, bottom) = st.session_state.box_across, st.session_state.box_down
    return f"{left}-{top}-{right}-{bottom}"


def _begin(case: Case) -> bool:
    """Begin the box from a link, once; another photo begins without."""
    state = st.session_state
    first = "box_of" not in state
    asked = _read(st.query_params.get("box", "")) if first else None
    if first or state.box_of != case.picture.key:
        state.box_on = asked is not None
        left, top, right, bottom = asked or USUAL
        state.box_across, state.box_down = (left, right), (top, bottom)
    state.box_of = case.picture.key
    return state.box_on


def _read(text: str) -> tuple[int, ...] | None:
    parts = text.split("-")
    if len(parts) != 4 or not all(p.isascii() and p.isdigit() and len(p) < 4 for p in parts):
        return None
    left, top, right, bottom = map(int, parts)
    good = left < right <= 100 and top < bottom <= 100
    return (left, top, right, bottom) if good else None


def _drawn(case: Case, grid: tuple[int, int]) -> Place | None:
    if case.drawn is None:
        return None
    return Place(case.drawn.box, grid, f"the {case.drawn.name}, which {case.said} names")


def _meaning(place: Place) -> str:
    said = (
        f"The dashed box is {place.what}. *Hit*: the map's highest patch has its middle inside; a "
        f"place chosen blindly does so in {place.share:.0%} of all cases."
    )
    if not place.covered:
        return f"{said} The box covers no patch by half, so overlap cannot be measured."
    return (
        f"{said} *IoU*: overlap of the box's {place.covered} patches with as many of the map's "
        f"highest ones, over both together; blindly drawn ones get {place.chance:.2f}."
    )
