"""Explore: where does this patch look?"""

import io
from dataclasses import asdict, replace

import numpy as np
import streamlit as st

from model import zoo
from viz import explorer
from viz.overlay import overlay
from viz.pages.look import Look, rollout_from, rows_from
from viz.pages.session import begin, change_view, write_address
from viz.pages.view import FUSIONS, View, prefix_name, token_name
from viz.payload import pack
from viz.sheet import quantise, sheet

UNSURE = "It knows these classes alone, so it names one of them whatever the photo shows."


def page() -> None:
    """The whole page, top to bottom."""
    session = begin(
        "Where does this patch look?",
        "Move the mouse over the photo: each patch shows what it attends to, in the head you "
        "choose. Click to hold a patch.",
    )
    look, bundle, view = session.look, session.bundle, session.view
    _show_explorer(look, bundle, view)
    sheet_column, rollout_column = st.columns(2, gap="large")
    with sheet_column:
        _show_sheet(look, bundle, view)
    with rollout_column:
        view = _show_rollout(look, bundle, view)
    with st.container(horizontal=True):
        _show_meaning()
        _show_export(look, bundle, view)
    write_address(session)


# -- the photo --------------------------------------------------------------------------------


def _show_explorer(look: Look, bundle: zoo.Bundle, view: View) -> None:
    record = look.records[view.layer]
    header = {
        "image": look.key,
        "model": bundle.name,
        "layer": view.layer,
        "layers": len(look.records),
        "heads": record.shape[1],
        "tokens": record.shape[-1],
        "scale": record.scale,
        "grid": bundle.tokens.grid,
        "prefix": bundle.tokens.prefix,
        "view": asdict(view),
        "revision": st.session_state.revision,
        "classes": look.guesses,
        "note": UNSURE if look.guesses else "",
    }
    query, key = (part[0].half().numpy() for part in (record.query, record.key))
    header["dim"] = query.shape[-1]
    explorer.explorer(
        pack(header, photo=look.photo, query=query, key=key), on_view=_take_view, key="explorer"
    )


def _take_view() -> None:
    message = st.session_state.explorer.get("view")
    if message:
        st.session_state.view = View.from_browser(message, st.session_state.view)


# -- every head ---------------------------------------------------------------------------------


def _show_sheet(look: Look, bundle: zoo.Bundle, view: View) -> None:
    st.subheader("Every head of every layer")
    st.caption(
        f"From {token_name(view.query, bundle.tokens)}. A row is a layer, a column a head; each "
        "map is scaled to its own maximum. Click one to open it above."
    )
    rows = rows_from(look, view.query)
    first = len(bundle.tokens.prefix)
    values, maxima = quantise(rows[..., first:])
    header = {
        "layers": rows.shape[0],
        "heads": rows.shape[1],
        "grid": bundle.tokens.grid,
        "layer": view.layer,
        "head": view.head,
        "colors": view.colors,
        "opacity": view.opacity,
        "shares": [
            [prefix_name(name), np.round(rows[..., token].ravel(), 5).tolist()]
            for token, name in enumerate(bundle.tokens.prefix)
        ],
    }
    explorer.sheet(
        pack(header, photo=look.photo, values=values, maxima=maxima),
        on_choose=_take_head,
        key="sheet",
    )


def _take_head() -> None:
    choice = st.session_state.sheet.get("choose")
    if choice:
        change_view(layer=choice["layer"], head=choice["head"])


# -- rollout ------------------------------------------------------------------------------------


def _show_rollout(look: Look, bundle: zoo.Bundle, view: View) -> View:
    st.subheader("Through all layers: rollout")
    st.caption(
        f"From {token_name(view.query, bundle.tokens)}: attention multiplied down through the "
        "layers, each with its residual connection (Abnar and Zuidema, 2020)."
    )
    place = st.container()
    fusion_column, discard_column = st.columns(2)
    with fusion_column:
        st.session_state.setdefault("fusion", view.fusion)
        fusion = st.segmented_control(
            "Heads fused by", FUSIONS, key="fusion", required=True, help=FUSION_HELP
        )
    with discard_column:
        st.session_state.setdefault("discard", view.discard)
        discard = st.slider(
            "Weakest attention discarded", 0.0, 0.95, step=0.05, key="discard", help=DISCARD_HELP
        )
    view = replace(view, fusion=fusion, discard=discard)
    st.session_state.view = view
    with place:
        weights = rollout_from(look, view.query, fusion, discard)
        patches = weights[len(bundle.tokens.prefix) :].astype(np.float32)
        kept = "".join(
            f", {prefix_name(name)} {weights[token]:.0%}"
            for token, name in enumerate(bundle.tokens.prefix)
        )
        header = {
            "grid": bundle.tokens.grid,
            "colors": view.colors,
            "opacity": view.opacity,
            "smooth": view.smooth,
            "unit": "of the relevance",
            "caption": f"All patches together {patches.sum():.0%}{kept}.",
            "alt": f"Attention rollout from {token_name(view.query, bundle.tokens)}",
        }
        explorer.overlay(pack(header, photo=look.photo, values=patches), key="rollout")
    return view


FUSION_HELP = (
    "Rollout needs one map a layer. The mean is the paper's choice; max keeps what any head "
    "looks at, min only what all heads look at."
)
DISCARD_HELP = (
    "Sets the smallest weights of each row to zero before multiplying. It sharpens the picture "
    "and throws information away: compare before you believe it."
)


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


# -- export -------------------------------------------------------------------------------------


def _show_export(look: Look, bundle: zoo.Bundle, view: View) -> None:
    with st.popover("Export", icon=":material/download:"):
        st.download_button(
            "This map over the photo (PNG)",
            lambda: _png(_map_picture(look, bundle, view)),
            "saccade-map.png",
            "image/png",
            on_click="ignore",
        )
        st.download_button(
            "Every head of every layer (PNG)",
            lambda: _png(_sheet_picture(look, bundle, view)),
            "saccade-heads.png",
            "image/png",
            on_click="ignore",
        )
        st.download_button(
            "The numbers (NPZ)",
            lambda: _numbers(look, bundle, view),
            "saccade-attention.npz",
            "application/octet-stream",
            on_click="ignore",
            help="weights: layers x heads x tokens from this token; rollout: tokens.",
        )


def _png(image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _map_picture(look: Look, bundle: zoo.Bundle, view: View):
    rows = rows_from(look, view.query)[view.layer, :, len(bundle.tokens.prefix) :]
    row = rows[view.head] if isinstance(view.head, int) else getattr(rows, view.head)(axis=0)
    top = float(rows.max()) if view.scaling == "layer" else None
    grid = row.reshape(bundle.tokens.grid)
    return overlay(look.frame, grid, view.colors, view.opacity, top, view.smooth)


def _sheet_picture(look: Look, bundle: zoo.Bundle, view: View):
    patches = rows_from(look, view.query)[..., len(bundle.tokens.prefix) :]
    return sheet(
        look.frame, patches, bundle.tokens.grid, color_map=view.colors, opacity=view.opacity
    )


def _numbers(look: Look, bundle: zoo.Bundle, view: View) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        weights=rows_from(look, view.query),
        rollout=rollout_from(look, view.query, view.fusion, view.discard),
        query=view.query,
        grid=bundle.tokens.grid,
        prefix=np.array(bundle.tokens.prefix, dtype=str),
    )
    return buffer.getvalue()


page()
