"""A picture through a model as a figure, which becomes one HTML file."""

from __future__ import annotations

from PIL import Image

from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from viz.components.payload import photo_bytes
from viz.files.attention import record
from viz.files.experiment import answer_change, both_logits, change_of
from viz.files.wanted import Wanted
from viz.notebook.layers import check_figure_size, pack_recorded
from viz.standalone import Figure
from viz.standalone.views import Start, caption_figure, explore_figure, what_if_figure


def figure_of(bundle: Bundle, image: Image.Image, wanted: Wanted) -> Figure:
    """Make the figure: a caption of a captioner, or an experiment, or what a model looks at.

    Raises:
        ValueError: with a sentence, for a token or a change that cannot be.
        FigureTooLarge: where a browser would get too much.
    """
    if isinstance(bundle, CaptionBundle):
        return _caption(bundle, image, wanted)
    before = record(bundle, image, wanted)
    check_figure_size(before)
    query = wanted.query_among(before.layers[-1].tokens)
    held = wanted.query is not None
    start = Start(-1, "mean", query, held, wanted.style, wanted.fusion, wanted.discard)
    if not wanted.changes:
        notes = [note for note in (before.not_recorded, before.not_shown) if note]
        packed = pack_recorded(before, bundle.name, wanted.discard)
        return explore_figure(packed, start, f"Where {bundle.name} looks", notes)
    change = change_of(bundle, wanted)
    answer = answer_change(bundle, both_logits(bundle, image, change), wanted)
    with change:
        after = record(bundle, image, wanted)
    sides = pack_recorded(before, bundle.name), pack_recorded(after, bundle.name)
    return what_if_figure(*sides, answer, wanted.hide or (), start, f"What if? {bundle.name}")


def _caption(bundle: CaptionBundle, image: Image.Image, wanted: Wanted) -> Figure:
    if wanted.changes:
        raise ValueError(
            "--without-heads and --hide change a model that classifies; a captioner's words are "
            "tried out in the app, on the page What if."
        )
    caption = bundle.caption(image)
    return caption_figure(
        caption,
        photo_bytes(bundle.frame(image)),
        bundle.tokens.grid,
        f"“{caption.text}”",
        [caption.note] if caption.note else [],
        bundle.tokens.prefix,
        style=wanted.style,
        memory_of_one=bundle.memory_of_one,
    )
