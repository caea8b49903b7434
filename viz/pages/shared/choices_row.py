"""The row of choices above a picture: one line where there is room, few on a phone."""

from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

MODEL_WIDTH = 300  # pixels
UPLOAD_WIDTH = 200


class ChoicesRow(NamedTuple):
    """The places of a row, in their order; one that stays empty takes no room."""

    subject: DeltaGenerator
    """What is looked at: a drawn scene or a photo."""
    photo: DeltaGenerator
    model: DeltaGenerator
    upload: DeltaGenerator
    end: DeltaGenerator
    """What one does with all of these."""


def begin_row() -> ChoicesRow:
    """Begin a row of choices. Its fields say what they are, so they bear no labels above them."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        return ChoicesRow(
            subject=st.container(width="content", gap=None),
            photo=st.container(width="content", gap=None),
            model=st.container(width=MODEL_WIDTH, gap=None),
            upload=st.container(width=UPLOAD_WIDTH, gap=None),
            end=st.container(width="content", gap=None),
        )
