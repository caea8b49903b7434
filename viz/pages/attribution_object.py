"""Where the object is, and whether a map lies on it: the pointing game and the overlap."""

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
from viz.pages.shared import address
from viz.pages.shared.address import Box
from viz.pages.shared.state import Attribution, read_link
from viz.pictures.lettering import percent

WHOLE = (1.0, 1.0)  # boxes are shares of the picture
DEFAULT_BOX: Box = (25, 25, 75, 75)
WHERE_HELP = (
    "As the model sees the photo, in percent of its width and height. The box is drawn into every "
    "map."
)


@dataclass(frozen=True)
class Place:
    """A box (left, top, right, bottom), as shares of what the model sees, over its patches."""

    box: tuple[float, float, float, float]
    grid: tuple[int, int]
    what: str

    @property
    def mask(self) -> torch.Tensor:
        """The patches that the box covers by half or more, (1, rows, columns)."""
        return box_mask(self._boxes, WHOLE, self.grid)

    @property
    def covered(self) -> int:
        """The number of these patches."""
        return int(self.mask.sum())

    @property
    def share(self) -> float:
        """The probability that a point chosen blindly lies inside."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def chance(self) -> float:
        """The IoU that a map has by chance."""
        return chance_iou(self.covered, self.grid[0] * self.grid[1])

    @property
    def _boxes(self) -> torch.Tensor:
        return torch.tensor([self.box], dtype=torch.float64)

    def hit(self, relevance: np.ndarray) -> bool:
        """Play the pointing game: does the highest patch lie in the box?"""
        return bool(peak_inside(torch.from_numpy(relevance)[None], self._boxes, WHOLE))

    def overlap(self, relevance: np.ndarray) -> float | None:
        """Compute the IoU of the box and as many of the highest patches; None for no patch."""
        if not self.covered:
            return None
        return float(iou_at_share(torch.from_numpy(relevance)[None], self.mask))

    def verdict(self, relevance: np.ndarray) -> str:
        """Write hit or miss and the IoU in a few words."""
        overlap = self.overlap(relevance)
        hit = "hit" if self.hit(relevance) else "miss"
        return hit if overlap is None else f"{hit}, IoU {overlap:.2f}"


def locate_object(case: Case, grid: tuple[int, int]) -> Place | None:
    """Find where the object is, if that is known or somebody says so."""
    if case.scene:
        return _locate_drawn(case, grid)
    _begin_box(case)
    if not Attribution.box_on.get():
        return None
    left, top, right, bottom = _marked_box()
    box = left / 100, top / 100, right / 100, bottom / 100
    return Place(box, grid, "your box") if left < right and top < bottom else None


def show_box(case: Case, place: Place | None) -> None:
    """Show the sliders for a photo, and what the scores under the maps mean."""
    if not case.scene:
        with st.expander("Where is the object?"):
            _show_sliders(place)
    if place is not None:
        st.caption(_explain_scores(place))
    elif case.scene:
        st.caption(f"{case.plain_name} names nothing that was drawn, so there is no box to hit.")


def _show_sliders(place: Place | None) -> None:
    on = st.toggle(
        "Mark it, and score every map by it",
        key=Attribution.box_on.name,
        help=WHERE_HELP,
        persist_state="session",
    )
    left, right = st.columns(2, gap="medium")
    for column, label, key in (
        (left, "From left to right", Attribution.box_across),
        (right, "From top to bottom", Attribution.box_down),
    ):
        column.slider(
            label, 0, 100, key=key.name, format="%d %%", disabled=not on, persist_state="session"
        )
    if on and place is None:
        st.caption("This box has no area: move its sides apart.")


def box_url_params(case: Case) -> dict[str, str]:
    """Write the box into the parameters of an address; a drawn scene has its own."""
    on = Attribution.box_on.get() and not case.scene
    return address.BOX.write_changed(_marked_box() if on else None)


def _marked_box() -> Box:
    (left, right), (top, bottom) = Attribution.box_across.get(), Attribution.box_down.get()
    return left, top, right, bottom


def _begin_box(case: Case) -> None:
    """Begin the box from a link, once; another photo begins without."""
    first = not Attribution.box_picture.is_set
    if first or Attribution.box_picture.get() != case.picture.key:
        linked = address.BOX.read(read_link()) if first else None
        left, top, right, bottom = linked or DEFAULT_BOX
        Attribution.box_on.set(linked is not None)
        Attribution.box_across.set((left, right))
        Attribution.box_down.set((top, bottom))
    Attribution.box_picture.set(case.picture.key)


def _locate_drawn(case: Case, grid: tuple[int, int]) -> Place | None:
    if case.drawn is None:
        return None
    return Place(case.drawn.box, grid, f"the {case.drawn.name}, which {case.plain_name} names")


def _explain_scores(place: Place) -> str:
    hit = (
        f"The dashed box is {place.what}. *Hit*: the map's highest patch has its middle inside; a "
        f"place chosen blindly does so in {percent(place.share, 0)} of all cases."
    )
    if not place.covered:
        return f"{hit} The box covers no patch by half, so overlap cannot be measured."
    return (
        f"{hit} *IoU*: overlap of the box's {place.covered} patches with as many of the map's "
        f"highest ones, over both together; blindly drawn ones get {place.chance:.2f}."
    )
