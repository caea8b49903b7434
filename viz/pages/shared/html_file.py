"""The button that saves what a page shows as one HTML file, which opens offline."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from PIL import Image

from model.captioning.caption import Caption, CaptionBundle
from model.recorded_image import record_image
from viz.components.draw_style import DrawStyle
from viz.components.features_payload import FeaturesHeader
from viz.components.payload import photo_bytes
from viz.components.row_payload import Cell
from viz.export.export import Export
from viz.export.readable import pack_picture
from viz.notebook.layers import layer_bytes, pack_recorded, rollout_bytes
from viz.pages.shared import open_models
from viz.pages.shared.captions_written import WORDS
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.shared.session import Session, chosen_layers
from viz.pages.shared.state import Shared
from viz.pages.shared.view import CaptionView
from viz.server import queue
from viz.server.queue import Cost
from viz.standalone import Figure, FigurePart
from viz.standalone.figure import LARGEST
from viz.standalone.file import write_page
from viz.standalone.views import (
    AnswerChange,
    Start,
    attribution_figure,
    caption_figure,
    caption_trial_figure,
    compare_figure,
    explore_figure,
    features_figure,
    what_if_figure,
)

HELP = "It opens in a browser without a network, and follows the mouse as this page does."
TOO_LARGE = "This model's layers are too large for one file. Record fewer on the Models page."


@dataclass(frozen=True)
class HtmlFile:
    """A page that can be saved as one HTML file.

    Attributes:
        make: makes the figure, in a thread that has no session.
        nbytes: bytes of the figure before compression, about.
        name: the file's name, without its ending.
    """

    make: Callable[[], Figure]
    nbytes: int
    name: str

    def write(self) -> bytes:
        """Make the file, in the server's queue."""
        work, cost = partial(_write, self.make), Cost(4 * self.nbytes)
        return queue.run(("HTML file", self.make), work, cost=cost)


def _write(make: Callable[[], Figure]) -> bytes:
    return write_page(make())


def offer_html(file: HtmlFile) -> None:
    """Show the button; the file is made when it is pressed."""
    large = file.nbytes > LARGEST
    st.download_button(
        f"Save as one HTML file (about {max(0.2, file.nbytes * 4 / 3e6):.1f} MB)",
        file.write,
        f"{file.name}.html",
        "text/html",
        on_click="ignore",
        disabled=large,
        help=TOO_LARGE if large else HELP,
        icon=":material/html:",
        key=Shared.html_file.name,
    )


def explored_file(session: Session, name: str) -> HtmlFile:
    """Describe the file of the explorer and the sheet of all heads, as they are seen.

    Args:
        session: with the view that the browser has now.
        name: the file's name, without its ending.
    """
    recorded, view = session.recorded, session.view
    title = open_models.model_title(session.bundle.name)
    start = Start(
        *(view.layer, view.head, view.query, view.held, view.style), view.fusion, view.discard
    )
    notes = [note for note in (recorded.not_recorded, recorded.not_shown) if note]

    def make() -> Figure:
        packed = pack_recorded(recorded, title, view.discard)
        return explore_figure(packed, start, f"Where {title} looks", notes)

    nbytes = sum(map(layer_bytes, recorded.records)) + rollout_bytes(recorded)
    return HtmlFile(make, nbytes, name)


def caption_file(caption: Caption, view: CaptionView, memory_of_one: bool) -> HtmlFile | None:
    """Describe the file of a caption that was written of a photo, or judged."""
    frame, layout = caption.frame, caption.layout
    if frame is None or layout is None or not caption.words:
        return None
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
    return HtmlFile(make, maps, "saccade-caption")


def compared_file(
    a: ShownImage, b: ShownImage, titles: tuple[str, str], query: int, style: DrawStyle
) -> HtmlFile:
    """Describe the file of two recordings beside each other, with all layers that both have.

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
    return HtmlFile(make, layers, "saccade-compared")


def maps_file(
    cells: Sequence[Cell],
    photo: bytes,
    grid: tuple[int, int],
    style: DrawStyle,
    variants: Sequence[str],
) -> HtmlFile:
    """Describe the file of the maps of several methods, as `attribution_figure` takes them."""

    def make() -> Figure:
        return attribution_figure(
            cells, photo, grid, "What several methods find", (), style, variants
        )

    maps = sum(found.nbytes for cell in cells for found in cell.maps)
    return HtmlFile(make, len(photo) + maps, "saccade-attribution")


def alike_file(vectors: np.ndarray, photos: Sequence[bytes], header: FeaturesHeader) -> HtmlFile:
    """Describe the file of patches that are alike.

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

    return HtmlFile(make, 2 * vectors.size + sum(map(len, photos)), "saccade-features")


def experiment_file(
    session: Session,
    change: Callable[[], AbstractContextManager[object]],
    answer: AnswerChange,
    hidden: Sequence[int],
) -> HtmlFile:
    """Describe the file of a finished experiment: the answers, and the maps before and after.

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

    return HtmlFile(make, 2 * sum(map(layer_bytes, before.records)), "saccade-what-if")


def caption_trial_file(
    bundle: CaptionBundle,
    image: Image.Image,
    change: Callable[[], AbstractContextManager[object]],
    answer: AnswerChange,
    grid: tuple[int, int],
    hidden: Sequence[int],
) -> HtmlFile:
    """Describe the file of a finished experiment with a captioner: the answers, and both captions.

    Args:
        image: what the captioner is shown.
        change: makes the intervention.
        answer: both answers.
        grid: rows and columns of the patches that are hidden.
        hidden: which those are.
    """
    title, photo = open_models.model_title(bundle.name), photo_bytes(bundle.frame(image))

    def write(scope: str) -> Figure:
        caption = bundle.caption(image, max_words=WORDS)
        figure = caption_figure(
            caption,
            photo,
            bundle.tokens.grid,
            f"“{caption.text}”",
            prefix=bundle.tokens.prefix,
            memory_of_one=bundle.memory_of_one,
            scope=scope,
        )
        return figure if caption.words else Figure(figure.title, ())

    def make() -> Figure:
        before = write("before")
        with change():
            after = write("after")
        return caption_trial_figure(before, after, photo, grid, answer, hidden, f"What if? {title}")

    heads = 4 * bundle.tokens.tokens * WORDS * 12
    return HtmlFile(make, 2 * (len(photo) + heads), "saccade-what-if")


def part_file(kind: str, payload: bytes, title: str, name: str) -> HtmlFile:
    """Describe the file of one component that asks the app for nothing.

    Args:
        kind: its name.
        payload: all that it draws.
        title: the figure's title.
        name: the file's name, without its ending.
    """
    figure = Figure(title, (FigurePart(kind, payload),))
    return HtmlFile(lambda: figure, figure.nbytes, name)


def pictures_file(exports: Sequence[Export]) -> HtmlFile:
    """Describe the file of saved pictures, one below the other, whose numbers can be read.

    Args:
        exports: the pictures; they are drawn now, so that the file's size is known.
    """

    def draw() -> Figure:
        title, one = exports[0].account.title, len(exports) == 1
        headings = ["" if one else each.title for each in exports]
        parts = [
            FigurePart("picture", pack_picture(each), heading)
            for each, heading in zip(exports, headings, strict=True)
        ]
        return Figure(title, parts)

    figure = queue.run(("pictures", draw), draw, cost=Cost(10**8))
    return HtmlFile(lambda: figure, figure.nbytes, exports[0].name)
