"""Explore: where does this patch look?"""

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from model.bundle import Bundle
from model.recording.rollout import FUSIONS
from viz.components import mounts
from viz.components.payload import pack
from viz.pages.explore_export import show_export
from viz.pages.shared.address import write_address
from viz.pages.shared.recorded_images import ShownImage, layer_payload, rollout_from, sinks_of
from viz.pages.shared.rollout_texts import DISCARD_HELP, FUSION_HELP
from viz.pages.shared.session import (
    Session,
    begin_page,
    change_view,
    session_url_params,
    shown_view,
)
from viz.pages.shared.state import Explore, Shared
from viz.pages.shared.text import plain
from viz.pages.shared.view import View, go_to_layer, prefix_name, token_name
from viz.pictures.sheet import quantise

UNSURE = "It knows these classes alone, so it names one of them whatever the photo shows."


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "Where does this patch look?",
        "Move the mouse over the photo: each patch shows what it attends to, in the head you "
        "choose. Click to hold a patch; the arrow keys then go on from it.",
        paste=True,
    )
    recorded, view = session.recorded, session.view
    _show_explorer(recorded, session.bundle, view)
    _show_size(session)
    _show_sinks(recorded, view)
    sheet_column, rollout_column = st.columns(2, gap="large")
    with sheet_column:
        _show_sheet(recorded, view)
    with rollout_column:
        _show_rollout(recorded, view)
    with st.container(horizontal=True):
        _show_meaning()
        show_export(session)
    write_address(session_url_params(session))


# -- the photo --------------------------------------------------------------------------------


def _show_explorer(recorded: ShownImage, bundle: Bundle, view: View) -> None:
    """Mount the explorer, and send only what the browser lacks."""
    tokens = recorded.layers[view.layer].tokens
    exchange = Shared.exchange.get()
    header: dict[str, Any] = {
        "image": recorded.key,
        "model": bundle.name,
        "layer": view.layer,
        "layers": [[layer.heads, *layer.tokens.grid] for layer in recorded.layers],
        "numbers": [number + 1 for number in recorded.numbers],
        "prefix": tokens.prefix,
        "view": {name: getattr(view, name) for name in ("layer", "head", "query", "held")},
        "style": view.style.as_header(),
        "revision": exchange.revision,
        "upload": Shared.upload.name,
        "classes": recorded.guesses,
        "note": UNSURE if recorded.guesses else "",
    }
    kept = exchange.layers_kept(recorded.key, Explore.explorer.get().get("view") or {})
    Shared.exchange.set(exchange.with_image(recorded.key))
    arrays: dict[str, Any] = {"photo": recorded.photo} if kept is None else {}
    if kept is None or view.layer not in kept:
        parts, layer_arrays = layer_payload(recorded.records[view.layer])
        header, arrays = header | parts, arrays | layer_arrays
    mounts.explorer(pack(header, **arrays), on_view=_take_view, key=Explore.explorer.name)


def _show_size(session: Session) -> None:
    """Say how much of the photo the model gets, which is less than the page draws."""
    height, width = session.bundle.image_size
    image = session.picture.image
    left, top, right, bottom = session.bundle.frame_box(image)
    kept = (right - left) * (bottom - top) / (image.width * image.height)
    part = f", and of this photo the middle {kept:.0%}" if kept < 0.995 else ""
    st.caption(
        f"The model sees {width} × {height} pixels{part}. Here the photo is as sharp as it came."
    )


def _show_sinks(recorded: ShownImage, view: View) -> None:
    """Name the attention sinks of this layer."""
    tokens = recorded.layers[view.layer].tokens
    named = [
        f"{token_name(token, tokens)} draws {share:.0%} of the attention, "
        f"{share * tokens.tokens:.0f} times an even share"
        for token, share in sinks_of(recorded, view.layer)
    ]
    if named:
        st.caption(
            f"Attention sinks in layer {recorded.numbers[view.layer] + 1}, all heads and askers "
            f"together: {'; '.join(named)}. Such a token is looked at whoever asks, so its "
            "brightness says little about what the photo shows there."
        )


def _take_view() -> None:
    message = Explore.explorer.get().get("view")
    if not message:
        return
    if Shared.exchange.get().is_current(message):
        Shared.view.set(View.from_browser(message, shown_view()))
    else:  # sent before the browser knew of a change made here: what was clicked counts, no more
        query = message.get("query", shown_view().query)
        change_view(query=query, held=bool(message.get("held")))


# -- every head ---------------------------------------------------------------------------------


def _show_sheet(recorded: ShownImage, view: View) -> None:
    st.subheader("Every head of every layer")
    place = token_name(view.query, recorded.layers[view.layer].tokens)
    st.caption(
        f"From {place}. A row is a layer, a column a head; each map is scaled to its own "
        "maximum. Click one to open it above."
    )
    for sentence in (recorded.not_recorded, recorded.not_shown):
        if sentence:
            st.caption(plain(sentence))
    maps = recorded.maps(view.layer, view.query)
    values, maxima = quantise(maps.reshape(*maps.shape[:2], -1))
    header = {
        "layers": maps.shape[0],
        "heads": recorded.head_counts,
        "grid": maps.shape[2:],
        "layer": view.layer,
        "head": view.head,
        "style": view.style.as_header(),
        "shares": _prefix_shares(recorded, view),
        "numbers": [number + 1 for number in recorded.numbers],
    }
    mounts.sheet(
        pack(header, photo=recorded.photo, values=values, maxima=maxima),
        on_choose=partial(_take_head, recorded),
        key=Explore.sheet.name,
    )


def _prefix_shares(recorded: ShownImage, view: View) -> list[tuple[str, list[float]]]:
    """List the attention from the query to each prefix token, in every head of every layer."""
    prefix = recorded.layers[view.layer].tokens.prefix
    if not prefix:
        return []
    shares = recorded.prefix_shares(view.layer, view.query).round(5)
    return [
        (prefix_name(name), shares[..., token].ravel().tolist())
        for token, name in enumerate(prefix)
    ]


def _take_head(recorded: ShownImage) -> None:
    choice = Explore.sheet.get().get("choose")
    if not choice:
        return
    layer, head = choice["layer"], choice["head"]
    # It may be of another model.
    if layer < len(recorded.layers) and head < recorded.layers[layer].heads:
        there = go_to_layer(shown_view(), layer, recorded.layers)
        change_view(layer=layer, query=there.query, head=head)


# -- rollout ------------------------------------------------------------------------------------


def _show_rollout(recorded: ShownImage, view: View) -> None:
    st.subheader("Through all layers: rollout")
    if reason := recorded.no_rollout:
        where = "" if recorded.windowed or recorded.whole else " The Models page has that choice."
        st.info(plain(reason) + where, icon=":material/info:")
        return
    tokens = recorded.layers[view.layer].tokens
    st.caption(
        f"From {token_name(view.query, tokens)}: attention multiplied down through the layers, "
        "each with its residual connection (Abnar and Zuidema, 2020)."
    )
    place = st.container()
    fusion_column, discard_column = st.columns(2)
    with fusion_column:
        Explore.fusion.set(view.fusion)
        st.segmented_control(
            "Heads fused by",
            FUSIONS,
            key=Explore.fusion.name,
            required=True,
            help=FUSION_HELP,
            on_change=_take_rollout,
        )
    with discard_column:
        Explore.discard.set(view.discard)
        st.slider(
            "Weakest attention discarded",
            0.0,
            0.95,
            step=0.05,
            key=Explore.discard.name,
            help=DISCARD_HELP,
            on_change=_take_rollout,
        )
    with place:
        weights = rollout_from(recorded, view.query, view.fusion, view.discard)
        patches = weights[tokens.patch_slice].astype(np.float32)
        kept = "".join(
            f", {prefix_name(name)} {weights[token]:.0%}"
            for token, name in enumerate(tokens.prefix)
        )
        header = {
            "grid": tokens.grid,
            "style": view.style.as_header(),
            "unit": "of the relevance",
            "caption": f"All patches together {patches.sum():.0%}{kept}.",
            "alt": f"Attention rollout from {token_name(view.query, tokens)}",
        }
        mounts.overlay(pack(header, photo=recorded.photo, values=patches), key=Explore.rollout.name)


def _take_rollout() -> None:
    change_view(fusion=Explore.fusion.get(), discard=Explore.discard.get())


# -- what it means ------------------------------------------------------------------------------


def _show_meaning() -> None:
    with st.popover("What am I seeing?", icon=":material/help:"):
        st.markdown(
            "The photo is cut into **patches**, and each becomes a *token*, a vector. In every "
            "layer and every **head**, each token asks all others a question (its *query* "
            "$q_i$), and the better another token's *key* $k_j$ fits, the more it takes from it:"
        )
        st.latex(r"A_{ij} = \operatorname{softmax}_j\left(q_i \cdot k_j \,/\, \sqrt{d}\right)")
        st.markdown(
            "The colours are row $i$ of this map: what the patch under your mouse takes, and "
            "from where. A row sums to one. **CLS** is a token without a place on the photo; "
            "models that have one read their answer from it."
        )
        st.markdown(
            "**What it is not.** Attention says where information was taken from, not what it "
            "was, nor whether it mattered: values, residual connections and the layers after "
            "can undo it. It is not an explanation of the answer (Jain and Wallace, 2019; "
            "Wiegreffe and Pinter, 2019). Mean, max and min fuse the heads; max and min rows "
            "do not sum to one."
        )


page()
