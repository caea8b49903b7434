"""Explore: where does this patch look?"""

from functools import partial

import numpy as np
import streamlit as st

from model import zoo
from model.recording.rollout import FUSIONS
from viz.components import mounts
from viz.components.payload import pack
from viz.pages.attribution_settings import DISCARD_HELP, FUSION_HELP
from viz.pages.explore_export import show_export
from viz.pages.shared.picture import UPLOAD
from viz.pages.shared.recorded_images import ShownImage, layer_payload, rollout_from, sinks_of
from viz.pages.shared.session import Session, begin, change_view, write_address
from viz.pages.shared.text import plain
from viz.pages.shared.view import View, go_to_layer, prefix_name, token_name
from viz.pictures.sheet import quantise

UNSURE = "It knows these classes alone, so it names one of them whatever the photo shows."


def page() -> None:
    """The whole page, top to bottom."""
    session = begin(
        "Where does this patch look?",
        "Move the mouse over the photo: each patch shows what it attends to, in the head you "
        "choose. Click to hold a patch; the arrow keys then go on from it.",
        paste=True,
    )
    look, bundle, view = session.look, session.bundle, session.view
    _show_explorer(look, bundle, view)
    _show_size(session)
    _show_sinks(look, view)
    sheet_column, rollout_column = st.columns(2, gap="large")
    with sheet_column:
        _show_sheet(look, view)
    with rollout_column:
        _show_rollout(look, view)
    with st.container(horizontal=True):
        _show_meaning()
        show_export(session)
    write_address(session)


# -- the photo --------------------------------------------------------------------------------


def _show_explorer(look: ShownImage, bundle: zoo.Bundle, view: View) -> None:
    """Mount the explorer; the browser says what it has, and only the rest is sent."""
    tokens = look.layers[view.layer].tokens
    header = {
        "image": look.key,
        "model": bundle.name,
        "layer": view.layer,
        "layers": [[layer.heads, *layer.tokens.grid] for layer in look.layers],
        "numbers": [number + 1 for number in look.numbers],
        "prefix": tokens.prefix,
        "view": {name: getattr(view, name) for name in ("layer", "head", "query", "held")},
        "style": view.style.as_header(),
        "revision": st.session_state.revision,
        "upload": UPLOAD,
        "classes": look.guesses,
        "note": UNSURE if look.guesses else "",
    }
    has = (st.session_state.get("explorer", {}).get("view") or {}).get("has") or {}
    still = st.session_state.get("explorer_image") == has.get("image") == look.key
    known = has.get("layers", []) if still else None  # it keeps one image, the last
    st.session_state.explorer_image = look.key
    arrays = {"photo": look.photo} if known is None else {}
    if known is None or view.layer not in known:
        parts, layer_arrays = layer_payload(look.records[view.layer])
        header, arrays = header | parts, arrays | layer_arrays
    mounts.explorer(pack(header, **arrays), on_view=_take_view)


def _show_size(session: Session) -> None:
    """What the model is given of the photo, which is less than is drawn."""
    height, width = session.bundle.image_size
    image = session.picture.image
    left, top, right, bottom = session.bundle.frame_box(image)
    kept = (right - left) * (bottom - top) / (image.width * image.height)
    part = f", and of this photo the middle {kept:.0%}" if kept < 0.995 else ""
    st.caption(
        f"The model sees {width} × {height} pixels{part}. Here the photo is as sharp as it came."
    )


def _show_sinks(look: ShownImage, view: View) -> None:
    """Point out the tokens that everybody in this layer looks at."""
    tokens = look.layers[view.layer].tokens
    named = [
        f"{token_name(token, tokens)} draws {share:.0%} of the attention, "
        f"{share * tokens.tokens:.0f} times an even share"
        for token, share in sinks_of(look, view.layer)
    ]
    if named:
        st.caption(
            f"Attention sinks in layer {look.numbers[view.layer] + 1}, all heads and askers "
            f"together: {'; '.join(named)}. Such a token is looked at whoever asks, so its "
            "brightness says little about what the photo shows there."
        )


def _take_view() -> None:
    message = st.session_state.explorer.get("view")
    if not message:
        return
    if message.get("revision") == st.session_state.revision:
        st.session_state.view = View.from_browser(message, st.session_state.view)
    else:  # sent before the browser knew of a change made here: what was clicked counts, no more
        change_view(query=message.get("query"), held=bool(message.get("held")))


# -- every head ---------------------------------------------------------------------------------


def _show_sheet(look: ShownImage, view: View) -> None:
    st.subheader("Every head of every layer")
    place = token_name(view.query, look.layers[view.layer].tokens)
    st.caption(
        f"From {place}. A row is a layer, a column a head; each map is scaled to its own "
        "maximum. Click one to open it above."
    )
    maps = look.maps(view.layer, view.query)
    values, maxima = quantise(maps.reshape(*maps.shape[:2], -1))
    header = {
        "layers": maps.shape[0],
        "heads": look.head_counts,
        "grid": maps.shape[2:],
        "layer": view.layer,
        "head": view.head,
        "style": view.style.as_header(),
        "shares": _prefix_shares(look, view),
        "numbers": [number + 1 for number in look.numbers],
    }
    mounts.sheet(
        pack(header, photo=look.photo, values=values, maxima=maxima),
        on_choose=partial(_take_head, look),
        key="sheet",
    )


def _prefix_shares(look: ShownImage, view: View) -> list[tuple[str, list[float]]]:
    """What each token that is no patch gets from the query, in every head of every layer."""
    prefix = look.layers[view.layer].tokens.prefix
    if not prefix:
        return []
    rows = look.rows(view.query)[..., : len(prefix)].round(5)
    return [
        (prefix_name(name), rows[..., token].ravel().tolist()) for token, name in enumerate(prefix)
    ]


def _take_head(look: ShownImage) -> None:
    choice = st.session_state.sheet.get("choose")
    if not choice:
        return
    layer, head = choice["layer"], choice["head"]
    if layer < len(look.layers) and head < look.layers[layer].heads:  # it may be of another model
        there = go_to_layer(st.session_state.view, layer, look.layers)
        change_view(layer=layer, query=there.query, head=head)


# -- rollout ------------------------------------------------------------------------------------


def _show_rollout(look: ShownImage, view: View) -> None:
    st.subheader("Through all layers: rollout")
    if reason := look.no_rollout:
        where = "" if look.windowed or look.whole else " The Models page has that choice."
        st.info(plain(reason) + where, icon=":material/info:")
        return
    tokens = look.layers[view.layer].tokens
    st.caption(
        f"From {token_name(view.query, tokens)}: attention multiplied down through the layers, "
        "each with its residual connection (Abnar and Zuidema, 2020)."
    )
    place = st.container()
    fusion_column, discard_column = st.columns(2)
    with fusion_column:
        st.session_state.fusion = view.fusion
        st.segmented_control(
            "Heads fused by",
            FUSIONS,
            key="fusion",
            required=True,
            help=FUSION_HELP,
            on_change=_take_rollout,
        )
    with discard_column:
        st.session_state.discard = view.discard
        st.slider(
            "Weakest attention discarded",
            0.0,
            0.95,
            step=0.05,
            key="discard",
            help=DISCARD_HELP,
            on_change=_take_rollout,
        )
    with place:
        weights = rollout_from(look, view.query, view.fusion, view.discard)
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
        mounts.overlay(pack(header, photo=look.photo, values=patches), key="rollout")


def _take_rollout() -> None:
    change_view(**{name: st.session_state[name] for name in ("fusion", "discard")})


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
