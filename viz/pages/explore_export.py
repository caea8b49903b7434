"""The files that Explore exports: a map and a sheet for a slide, and the numbers."""

import io
import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from model.datasets import samples
from model.tokens import TokenLayout
from viz.pages.shared import open_models
from viz.pages.shared.browser import shown_view, take_reports
from viz.pages.shared.html_file import offer_explored
from viz.pages.shared.recorded_images import ShownImage, rollout_from
from viz.pages.shared.session import Session
from viz.pages.shared.state import Explore
from viz.pages.shared.view import View, fit_view, prefix_name, token_name, view_url_params
from viz.pictures.lettering import percent
from viz.pictures.overlay import Box, figure
from viz.pictures.sheet import margins, sheet

SHEET_WIDTH = 1200  # pixels, about
SMALLEST_CELL, LARGEST_CELL = 96, 200
LONGEST = 40  # characters of a model in a file's name
EVEN = 1.25
"""A map whose maximum is below this many times its mean is called even, as in common.js."""


@st.fragment
def show_export(session: Session) -> None:
    """Show the button that offers the files, of what is seen when it is pressed."""
    popover = st.popover(
        "Export", icon=":material/download:", key=Explore.export.name, on_change="rerun"
    )
    if not popover.open:
        return
    take_reports()  # the browser may have gone on since the page ran
    session = replace(session, view=fit_view(shown_view(), session.recorded.layers))
    # A file is made when it is asked for, by a thread that has no session: all goes along.
    shown = session.recorded, session.view, open_models.model_title(session.bundle.name)
    with popover:
        st.download_button(
            "This map over the photo (PNG)",
            lambda: _as_png(map_picture(*shown)),
            file_name(session, "map", "png"),
            "image/png",
            on_click="ignore",
        )
        st.download_button(
            "Every head of every layer (PNG)",
            lambda: _as_png(sheet_picture(*shown)),
            file_name(session, "heads", "png"),
            "image/png",
            on_click="ignore",
        )
        st.download_button(
            "The numbers (NPZ)",
            partial(numbers, session.recorded, session.view),
            file_name(session, "attention", "npz"),
            "application/octet-stream",
            on_click="ignore",
            help="maps: layers x heads x rows x columns from this token; weights and rollout: "
            "the same token by token, with CLS and registers.",
        )
        offer_explored(session, file_name(session, "attention", "html").removesuffix(".html"))


def file_name(session: Session, kind: str, suffix: str) -> str:
    """Name a file by its content, such as saccade-cat-photos-layer7-head3-r7c5.png.

    Args:
        kind: "map", which has one layer and head, or a word for all of them.
    """
    recorded, view, photo = session.recorded, session.view, session.picture.sample
    url_params = view_url_params(view, recorded.layers, recorded.numbers)
    head = f"head{url_params['head']}" if isinstance(view.head, int) else url_params["head"]
    parts = ["saccade", samples.title(photo) if photo else "photo", session.bundle.name]
    parts += [f"layer{url_params['layer']}", head] if kind == "map" else [kind]
    return "-".join(filter(None, map(_safe, [*parts, url_params["from"]]))) + f".{suffix}"


def _safe(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower())[:LONGEST].strip("-")


def map_picture(recorded: ShownImage, view: View, title: str) -> Image.Image:
    """Draw the open map with its caption, for a slide."""
    record, tokens = recorded.records[view.layer], recorded.layers[view.layer].tokens
    if record.windows:
        rows = recorded.layer_maps(view.layer, view.query).reshape(record.shape[1], -1)
    else:
        rows = record.weights(queries=[view.query])[0, :, 0].numpy()
    row = rows[view.head] if isinstance(view.head, int) else getattr(rows, view.head)(axis=0)
    chosen = row[tokens.patch_slice].reshape(tokens.grid)
    return figure(
        recorded.frame,
        chosen,
        caption=[f"{title} · {_where(recorded, view)}", *_describe_row(row, view, tokens)],
        color_map=view.colors,
        opacity=view.opacity,
        top=float(rows[:, tokens.patch_slice].max()) if view.scaling == "layer" else None,
        smooth=view.smooth,
        asking=_patch_box(view.query, tokens),
        lines=view.lines,
    )


def _where(recorded: ShownImage, view: View) -> str:
    head = f"head {view.head + 1}" if isinstance(view.head, int) else f"{view.head} of the heads"
    return f"layer {recorded.numbers[view.layer] + 1}, {head}"


def _describe_row(row: np.ndarray, view: View, tokens: TokenLayout) -> list[str]:
    """Describe a row as the page does: its token, the strongest patch, and the prefix tokens."""
    patches = row[tokens.patch_slice]
    best = len(tokens.prefix) + int(patches.argmax())
    even = ", spread almost evenly" if 0 < patches.max() < EVEN * patches.mean() else ""
    most = "most goes" if row.argmax() >= len(tokens.prefix) else "of the patches, most goes"
    lines = [
        f"From {token_name(view.query, tokens)}{even} · {most} to {token_name(best, tokens)}: "
        f"{percent(row[best])}, {row[best] / row.mean():.1f} times the average"
    ]
    if tokens.prefix:
        named = zip(tokens.prefix, row, strict=False)
        shares = [f"{prefix_name(name)} gets {percent(share)}" for name, share in named]
        if view.head not in ("max", "min"):  # whose rows do not sum to one
            shares.append(f"all patches together {percent(patches.sum())}")
        lines.append(", ".join(shares))
    return lines


def _patch_box(query: int, tokens: TokenLayout) -> Box | None:
    """Return the box of the asking patch as shares of the photo; None for a prefix token."""
    place = tokens.position_of(query)
    if place is None:
        return None
    (row, column), (rows, columns) = place, tokens.grid
    return column / columns, row / rows, (column + 1) / columns, (row + 1) / rows


def sheet_picture(recorded: ShownImage, view: View, title: str) -> Image.Image:
    """Draw every head of every layer with a caption, for a slide."""
    maps, tokens = recorded.maps(view.layer, view.query), recorded.layers[view.layer].tokens
    room = (SHEET_WIDTH - margins(SMALLEST_CELL)[0]) // recorded.heads
    return sheet(
        recorded.frame,
        maps.reshape(*maps.shape[:2], -1),
        maps.shape[2:],
        recorded.head_counts,
        cell=min(LARGEST_CELL, max(SMALLEST_CELL, room)),
        color_map=view.colors,
        opacity=view.opacity,
        numbers=[number + 1 for number in recorded.numbers],
        asking=_patch_box(view.query, tokens),
        caption=[
            f"{title} · from {token_name(view.query, tokens)} · each map up to its own maximum"
        ],
    )


def numbers(recorded: ShownImage, view: View) -> bytes:
    """Save every map from the asking token, and its rollout, as NPZ."""
    tokens = recorded.layers[view.layer].tokens
    arrays: dict[str, Any] = {"maps": recorded.maps(view.layer, view.query)}
    arrays["layers"] = np.array(recorded.numbers) + 1
    if not recorded.windowed:
        arrays["weights"] = recorded.rows(view.query)
    if not recorded.no_rollout:
        arrays["rollout"] = rollout_from(recorded, view.query, view.fusion, view.discard)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, query=view.query, grid=tokens.grid, prefix=np.array(tokens.prefix, str), **arrays
    )
    return buffer.getvalue()


def _as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
