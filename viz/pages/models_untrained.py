"""A model beside its twin with random weights, over the chosen photo."""

import streamlit as st
import torch
from torch import Tensor

from model import zoo
from model.attribution.metrics.agreement import rank_correlation
from model.errors import NothingRecorded, NothingToShow
from model.evaluate.pointing import attention_map
from model.nets import mimetic_init
from model.zoo import catalogue
from viz.components.draw_style import DrawStyle
from viz.components.mounts import row
from viz.components.row_payload import Cell, row_payload
from viz.pages.shared import open_models, picture
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import ShownImage, recorded_image
from viz.pages.shared.session import chosen_layers
from viz.pages.shared.state import Models, Shared
from viz.pages.shared.text import plain
from viz.pictures.lettering import percent
from viz.server.costs import count_weights
from viz.server.results import computed_once

WHAT = (
    "Compare it with the same network whose weights are random. What both maps show comes from the "
    "architecture and the picture, not from learning."
)
LOCAL = (
    "This network attends locally even before training: its first weights are shaped like trained "
    "ones (mimetic initialisation: Trockman and Kolter, 2023)."
)
LARGE = 30_000_000
"""Weights; a larger model is not opened a second time before somebody asks for its twin."""
HINT = "Point at a map or tap it: the same patch is marked in both."
TRAINED, UNTRAINED = "Trained", "Random weights"
WINDOWED = (
    "Layers of this model attend within windows, or on grids of their own, so there is no single "
    "map of the whole picture. Open it untrained and compare single patches on Explore."
)


def show_untrained(bundle: zoo.Bundle) -> None:
    """Show maps and answers of both, side by side; of a large model once somebody asks for them."""
    st.subheader("What did training change?")
    st.markdown(WHAT)
    if not _opens_at_once(bundle) and not st.toggle(
        "Show it beside its untrained twin", key=Models.twin.name, persist_state="session"
    ):
        return
    picture.show_sample_choice(bundle)
    shown = picture.chosen_picture()
    try:
        other = open_models.open_model_named(bundle.name + open_models.RANDOM)
        recorded = [_record(each, shown) for each in (bundle, other)]
    except (zoo.ModelNotFound, zoo.ModelRejected, NothingRecorded, NothingToShow) as problem:
        st.caption(plain(str(problem)))
        return
    _show_maps(bundle, recorded)
    _show_guesses(recorded)


def _opens_at_once(bundle: zoo.Bundle) -> bool:
    """Say whether the twin is small, and needs no hub."""
    from_hub = bundle.name.partition("/")[0] in catalogue.HUBS
    return not from_hub and count_weights(bundle) <= LARGE


def _record(bundle: zoo.Bundle, shown: Picture) -> ShownImage:
    layers = chosen_layers(bundle.name.removesuffix(open_models.RANDOM))
    return recorded_image(bundle, shown.key, shown.image, layers)


def _show_maps(bundle: zoo.Bundle, recorded: list[ShownImage]) -> None:
    if recorded[0].windowed:
        st.info(WINDOWED)
        return
    maps, agreement = _compare_maps(bundle, *recorded)
    notes = [f"The peak holds {percent(float(found.max()))} of the attention." for found in maps]
    cells = [
        Cell(title, title, "", "", [found.numpy()], notes=[note])
        for title, found, note in zip((TRAINED, UNTRAINED), maps, notes, strict=True)
    ]
    view = Shared.view.get()
    style = view.style if view else DrawStyle(opacity=0.85)
    row(
        row_payload(
            cells,
            recorded[0].photo,
            bundle.tokens.grid,
            "",
            style,
            hint=HINT,
            choosable=False,
        ),
        key=Models.twins.name,
    )
    asking = "CLS" if "cls" in bundle.tokens.prefix else "all patches, in the mean"
    st.caption(
        f"Rank correlation of the two maps: {_signed(agreement)}, where 1 is the same order of "
        "patches and 0 nothing in common."
    )
    with st.expander("What is compared"):
        st.caption(
            f"Attention of layer {recorded[0].numbers[-1] + 1}, from {asking}, mean over its "
            f"heads. Spread evenly, each of the {bundle.tokens.tokens} tokens would hold "
            f"{percent(1 / bundle.tokens.tokens)}."
        )
        if mimetic_init.uses_mimetic_init(bundle.net):
            st.caption(LOCAL)


@computed_once(
    "maps of twins",
    key=lambda bundle, trained, untrained: (trained.key, untrained.key),
    size=lambda found: sum(each.nbytes for each in found[0]),
)
def _compare_maps(
    bundle: zoo.Bundle, trained: ShownImage, untrained: ShownImage
) -> tuple[list[Tensor], float]:
    """Compute the last layer's map of both, (rows, columns), and their rank correlation."""
    with torch.inference_mode():
        maps = [attention_map(each.records[-1], bundle.tokens)[0] for each in (trained, untrained)]
    return maps, float(rank_correlation(*maps))


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _show_guesses(recorded: list[ShownImage]) -> None:
    if not recorded[0].guesses:
        return
    st.markdown("**What they answer**")
    answers = [
        [f"{plain(name)} {percent(share)}".replace(" %", "\u00a0%") for name, share in each.guesses]
        for each in recorded
    ]
    lines = [f"| {one} | {other} |" for one, other in zip(*answers, strict=True)]
    st.markdown("\n".join([f"| {TRAINED} | {UNTRAINED} |", "|:--|:--|", *lines]))
