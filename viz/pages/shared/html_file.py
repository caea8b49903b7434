"""The button that saves what a page shows as one HTML file, which opens offline."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import streamlit as st

from model.captioning.caption import Caption
from model.recorded_image import record_image
from viz.components.draw_style import DrawStyle
from viz.components.features_payload import FeaturesHeader
from viz.components.payload import photo_bytes
from viz.components.row_payload import Cell
from viz.notebook.layers import layer_bytes, pack_recorded
from viz.pages.shared import open_models
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.shared.session import Session, chosen_layers
from viz.pages.shared.state import Shared
from viz.pages.shared.view import CaptionView
from viz.server import queue
from viz.server.queue import Cost
from viz.standalone import Figure
from viz.standalone.figure import LARGEST
from viz.standalone.file import write_page
from viz.standalone.views import (
    AnswerChange,
    Start,
    attribution_figure,
    caption_figure,
    compare_figure,
    explore_figure,
    features_figure,
    what_if_figure,
)

HELP = "It opens in a browser without a network, and follows the mouse as this page does."
TOO_LARGE = "This model's layers are too large for one file. Record fewer on the Models page."


def offer_html(make: Callable[[], Figure], nbytes: int, name: str) -> None:
    """Show the button; the file is made when it is pressed, in the server's queue.

    Args:
        make: makes the figure, in a thread that has no session.
        nbytes: bytes of the figure before compression, about.
        name: the file's name, without its ending.
    """
    large = nbytes > LARGEST
    st.download_button(
        f"Save as one HTML file (about {max(0.2, nbytes * 4 / 3e6):.1f} MB)",
        lambda: queue.run(("HTML file", make), lambda: write_page(make()), cost=Cost(4 * nbytes)),
        f"{name}.html",
        "text/html",
        on_click="ignore",
        disabled=large,
        help=TOO_LARGE if large else HELP,
        icon=":material/html:",
        key=Shared.html_file.name,
    )


def offer_explored(session: Session, name: str) -> None:
    """Show the button for the explorer and the sheet of all heads, as they are seen.

    Args:
        session: with the view that the browser has now.
        name: the file's name, without its ending.
    """
    recorded, view = session.recorded, session.view
    title = open_models.model_title(session.bundle.name)
    start = Start(view.layer, view.head, view.query, view.held, view.style)
    notes = [note for note in (recorded.not_recorded, recorded.not_shown) if note]

    def make() -> Figure:
        packed = pack_recorded(recorded, title)
        return explore_figure(packed, start, f"Where {title} looks", notes)

    offer_html(make, sum(map(layer_bytes, recorded.records)), name)


def offer_caption(caption: Caption, view: CaptionView, memory_of_one: bool) -> None:
    """Show the button for a caption that was written of a photo, or judged."""
    frame, layout = caption.frame, caption.layout
    if frame is None or layout is None or not caption.words:
        return
    begin = {"layer": view.layer, "head": view.head, "word": view.word}

    def make() -> Figure:
        return caption_figure(
            caption,
            photo_bytes(frame),
            layout.grid,
            f"“{caption.text}”",
            [caption.note] if caption.note else [],
            layout.prefix,
            begin,
            view.style,
            memory_of_one=memory_of_one,
        )

    maps = sum(np.asarray(layer).nbytes for layer in (*caption.cross, *caption.self_))
    offer_html(make, maps, "saccade-caption")


def offer_compared(
    a: ShownImage, b: ShownImage, titles: tuple[str, str], query: int, style: DrawStyle
) -> None:
    """Show the button for two recordings beside each other, with all layers that both have.

    Args:
        a: what the left side shows.
        b: what the right side shows.
        titles: of both sides.
        query: the token that is held.
        style: how maps are drawn.
    """
    start = Start(query=query, style=style)
    same = a.photo == b.photo

    def make() -> Figure:
        left, right = pack_recorded(a, titles[0]), pack_recorded(b, titles[1])
        return compare_figure(left, right, start, " and ".join(titles), (), titles, same)

    layers = sum(layer_bytes(record) for side in (a, b) for record in side.records)
    offer_html(make, layers, "saccade-compared")


def offer_maps(
    cells: Sequence[Cell],
    photo: bytes,
    grid: tuple[int, int],
    style: DrawStyle,
    variants: Sequence[str],
) -> None:
    """Show the button for the maps of several methods, as `attribution_figure` takes them."""

    def make() -> Figure:
        return attribution_figure(
            cells, photo, grid, "What several methods find", (), style, variants
        )

    maps = sum(found.nbytes for cell in cells for found in cell.maps)
    offer_html(make, len(photo) + maps, "saccade-attribution")


def offer_alike(vectors: np.ndarray, photos: Sequence[bytes], header: FeaturesHeader) -> None:
    """Show the button for patches that are alike.

    Args:
        vectors: (photos, N, D) of all tokens.
        photos: JPEG of what the model saw.
        header: what the page shows of them.
    """

    def make() -> Figure:
        return features_figure(
            list(vectors),
            photos,
            header.titles,
            header.grid,
            "Patches that are alike",
            (),
            header.prefix,
            header.query,
            header.style,
        )

    offer_html(make, 2 * vectors.size + sum(map(len, photos)), "saccade-features")


def offer_experiment(
    session: Session,
    change: Callable[[], AbstractContextManager[object]],
    answer: AnswerChange,
    hidden: Sequence[int],
) -> None:
    """Show the button for a finished experiment: the answers, and the maps before and after.

    Args:
        session: the page's.
        change: makes the intervention.
        answer: both answers.
        hidden: the patches that are hidden.
    """
    bundle, before, view = session.bundle, session.recorded, session.view
    layers = chosen_layers(bundle.name)
    title, image = open_models.model_title(bundle.name), session.picture.image
    start = Start(view.layer, view.head, view.query, True, view.style)

    def make() -> Figure:
        with change():
            after = record_image(bundle, image, layers)
        sides = pack_recorded(before, title), pack_recorded(after, title)
        return what_if_figure(*sides, answer, hidden, start, f"What if? {title}")

    offer_html(make, 2 * sum(map(layer_bytes, before.records)), "saccade-what-if")
