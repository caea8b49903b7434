"""Explore: where does this patch look?"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from model.recording.rollout import FUSIONS
from viz.components import mounts
from viz.components.payload import pack
from viz.pages.explore_export import show_export
from viz.pages.shared.attention_texts import where_keys_lie, why_several_heads, why_signed
from viz.pages.shared.browser import EXPLORE, browser_pass, view_revision, write_address
from viz.pages.shared.explained import Part, show_note, split_at_terms
from viz.pages.shared.photos import grant_photo
from viz.pages.shared.recorded_answers import RecordedSource, fits_in_browser
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.shared.rollout_texts import DISCARD_HELP, FUSION_HELP
from viz.pages.shared.session import Session, begin_page, chosen_layers, session_url_params
from viz.pages.shared.state import Explore, Shared
from viz.pages.shared.text import plain
from viz.pages.without_it import classifier_address, go_without
from viz.pictures.lettering import percent
from viz.standalone.views import ABOUT_ROLLOUT

Header = dict[str, Any]
"""Entries of a payload's header."""

ONLY_THESE = "This model knows only {:,} classes, so it always answers with one of them."


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "Where does this patch look?",
        "Point at a patch of the photo, or tap it: the colours show where it looks, in the head "
        "that you choose. A click holds the patch.",
        paste=True,
        show_help=_show_meaning,
    )
    go_without(Explore.explorer, session)
    header = _view_header(session)
    _show_explorer(session, header)
    _show_size(session)
    sheet_column, rollout_column = st.columns([3, 2], gap="large")
    with sheet_column:
        _show_sheet(session.recorded, header)
    with rollout_column:
        _show_rollout(session.recorded, header)
    show_export(session)
    write_address(session_url_params(session), EXPLORE)


def _view_header(session: Session) -> Header:
    """Describe the view for the components, which share it and draw each change by themselves."""
    recorded, view = session.recorded, session.view
    source = RecordedSource(
        recorded.key, session.bundle.name, session.picture.key, chosen_layers(session.bundle.name)
    )
    return grant_photo(recorded.photo) | {
        "source": source.id,
        "key": browser_pass().grant(source),
        "layers": [[layer.heads, *layer.tokens.grid] for layer in recorded.layers],
        "numbers": [number + 1 for number in recorded.numbers],
        "prefix": recorded.layers[view.layer].tokens.prefix,
        "view": asdict(view),
        "style": view.style.as_header(),
        "revision": view_revision(),
    }


def _show_explorer(session: Session, header: Header) -> None:
    """Mount the explorer."""
    guesses = session.recorded.guesses
    payload = header | {
        "image": session.recorded.key,
        "model": session.bundle.name,
        "upload": Shared.upload.name,
        "whatIf": classifier_address(session),
        "classes": guesses,
        "note": ONLY_THESE.format(len(session.bundle.classes or ())) if guesses else "",
        "whyHeads": _explain_layers(session.recorded),
        "sinks": split_at_terms("Attention sinks"),
    }
    mounts.explorer(pack(payload), key=Explore.explorer.name)


def _explain_layers(recorded: ShownImage) -> list[Sequence[Part]]:
    """Say of each layer why it has several heads, where patches can look, and what weights are."""
    texts = (
        (why_several_heads(record), where_keys_lie(record, layer), why_signed(record))
        for record, layer in zip(recorded.records, recorded.layers, strict=True)
    )
    return [split_at_terms(" ".join(filter(None, each))) for each in texts]


def _show_size(session: Session) -> None:
    """Say how much of the photo the model gets, and into how many patches it is cut."""
    height, width = session.bundle.image_size
    image = session.picture.image
    left, top, right, bottom = session.bundle.frame_box(image)
    kept = (right - left) * (bottom - top) / (image.width * image.height)
    part = f", the middle {percent(kept, 0)} of this photo" if kept < 0.995 else ""
    tokens = session.bundle.tokens
    rows, columns = tokens.grid
    side = f"{width // columns} × {height // rows}"
    beside = ", and CLS" if "cls" in tokens.prefix else ""
    show_note(
        f"The model sees {width} × {height} pixels{part}: {columns} × {rows} = "
        f"{tokens.patches:,} patches, one per {side} pixels{beside}.",
        Shared.note("size").name,
    )


def _show_sheet(recorded: ShownImage, header: Header) -> None:
    st.subheader("Every head of every layer")
    for sentence in (recorded.not_recorded, recorded.not_shown):
        if sentence:
            st.caption(plain(sentence))
    payload = header | {"whole": fits_in_browser(recorded)}
    mounts.sheet(pack(payload), key=Explore.sheet.name)


def _show_rollout(recorded: ShownImage, header: Header) -> None:
    st.subheader("Through all layers: rollout")
    if reason := recorded.no_rollout:
        where = "" if recorded.windowed or recorded.whole else " The Models page has that choice."
        st.info(plain(reason) + where, icon=":material/info:")
        return
    payload = header | {
        "fusions": FUSIONS,
        "aboutRollout": split_at_terms(ABOUT_ROLLOUT),
        "aboutFusion": FUSION_HELP,
        "aboutDiscard": DISCARD_HELP,
    }
    mounts.rollout(pack(payload), key=Explore.rollout.name)


# -- what it means ------------------------------------------------------------------------------


def _show_meaning() -> None:
    with st.popover("What am I seeing?", icon=":material/help:"):
        st.markdown(
            "The photo is cut into **patches**, and each becomes a *token*, a vector of numbers. "
            "The page draws the photo sharper than the model sees it. "
            "In every layer and every **head**, each token asks with its *query* $q_i$. The "
            "better another token's *key* $k_j$ fits, the more the token takes from it:"
        )
        st.latex(r"A_{ij} = \operatorname{softmax}_j\left(q_i \cdot k_j \,/\, \sqrt{d}\right)")
        st.markdown(
            "The colours are row $i$ of this map: how much the chosen patch takes from each "
            "place. A row sums to one. $d$ is how many numbers one head compares. A sum of $d$ "
            "products spreads $\\sqrt{d}$ times as widely as one product; dividing by $\\sqrt{d}$ "
            "takes this back, or the softmax would give almost everything to one patch. Step "
            "through it on **Inside a head**."
        )
        st.markdown(
            "**CLS** is a token without a place on the photo; models that have one read their "
            "answer from it. **Mean**, **max** and **min** make one map of all heads; rows of max "
            "and min do not sum to one."
        )
        st.markdown(
            "**Attention is not an explanation.** It says where a token took information from. "
            "It does not say which information, nor whether the answer needed it: values, "
            "residual connections and later layers decide that (Jain and Wallace, 2019; "
            "Wiegreffe and Pinter, 2019). Try it on **What if**."
        )


page()
