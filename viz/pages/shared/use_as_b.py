"""The button that puts what a page shows on the page Compare, as B."""

import streamlit as st

from model.bundle import Bundle
from viz.pages.shared import model_variants
from viz.pages.shared.picture import Picture
from viz.pages.shared.state import Compare, Shared

COMPARE = "compare.py"


def offer_as_b(
    model: str,
    picture: Picture,
    layer: int | None = None,
    head: int | str = "mean",
    method: str = "attention",
) -> None:
    """Show the button; a click opens Compare with this view as B.

    Args:
        model: its name, or that of a moment of its training.
        layer: the model's own number of the layer, from zero; None for the last.
        head: from zero, or how the heads are fused.
        method: one of the methods of Compare.
    """
    clicked = st.button(
        "Use this as B",
        key=Compare.as_b.name,
        icon=":material/compare:",
        type="tertiary",
        help="Opens Compare with this photo, model, layer and head as B. Choose another as A.",
    )
    if not clicked:
        return
    name = model_variants.base_name(model)
    Compare.b_model.set(name)
    Compare.b_photo.set(picture.name_in_link)
    Compare.b_epoch.set(Shared.epoch.get() if model != name else Compare.b_epoch.default)
    Compare.b_method.set(method)
    Compare.b_layer.set(0 if layer is None else layer + 1)
    Compare.b_head.set(head if isinstance(head, str) else str(head + 1))
    Compare.b_token.set(Compare.b_token.default)
    Compare.b_code.set(True)
    st.switch_page(COMPARE)


def offer_captioner_as_b(captioner: Bundle, picture: Picture, drawn: bool) -> None:
    """Show the button for a captioner, whose encoder Compare shows.

    There is none where Compare has no such picture, as of a drawn scene, or no such encoder.
    """
    if not drawn and model_variants.has_encoder(captioner):
        offer_as_b(captioner.name, picture)
