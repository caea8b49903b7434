"""One head over a survey: its measures, its classes, what happens without it, its top pictures."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st
from PIL import Image

from model.bundle import Bundle
from model.recorded_image import layer_maps, record_image
from model.survey.survey_results import TopPicture
from viz.pages import heads_surveys
from viz.pages.heads_measures import KIND_NAMES, MEASURES
from viz.pages.heads_packed import MEGABYTES, PACKED
from viz.pages.heads_surveys import OpenSurvey
from viz.pages.shared import picture
from viz.pages.shared.browser import change_view
from viz.pages.shared.screen import is_projected
from viz.pages.shared.session import Session
from viz.pages.shared.state import Heads
from viz.pictures.lettering import percent
from viz.pictures.overlay import frame, overlay
from viz.server.costs import forward_cost
from viz.server.results import computed_once

RANKING_NAMES = {
    "narrow": ("Narrowest", "entropy"),
    "wide": ("Widest", "entropy"),
    "local": ("Nearest", "distance"),
    "far": ("Farthest", "distance"),
    "peak": ("Sharpest peak", "peak"),
}
UNITS: dict[str, Callable[[float], str]] = {
    "entropy": "{:.2f} nats".format,
    "distance": "{:.1f} px".format,
    "peak": lambda share: f"{percent(share, 0)} on one patch",
}
TILE = 148
"""Pixels of a top picture's side."""
CLASSES = 5


def show_head(session: Session, survey: OpenSurvey, place: tuple[int, int], measure: str) -> None:
    """Show everything that a survey knows of one head."""
    layer, head = place
    st.subheader(f"Layer {survey.results.numbers[layer] + 1}, head {head + 1}", anchor="head")
    facts, classes = st.columns(2, gap="large")
    with facts:
        _show_measures(survey, place)
        _show_alike(survey, place)
    with classes:
        _show_without(survey, place)
        _show_classes(survey, place, measure)
    _show_top(session, survey, place)


def _show_measures(survey: OpenSurvey, place: tuple[int, int]) -> None:
    results = survey.results
    rows = [
        (texts[0], float(results.mean[name][place]), float(results.deviation[name][place]))
        for name, texts in MEASURES.items()
        if np.isfinite(results.mean[name][place])
        and results.mean[name].any()  # no model here has registers where all is zero
    ]
    _show_table(("Measure", "Mean", "Deviation"), rows)
    counts = {kind: int(results.kinds[kind][place]) for kind in KIND_NAMES}
    first = sorted(counts, key=lambda kind: -counts[kind])[:2]
    done = [
        f"*{KIND_NAMES[kind]}* on {percent(counts[kind] / max(1, results.pictures), 0)}"
        for kind in first
        if counts[kind]
    ]
    st.caption(f"What it does most, of {results.pictures:,} pictures: {', '.join(done)}.")


def _show_alike(survey: OpenSurvey, place: tuple[int, int]) -> None:
    results = survey.results
    row = results.similarity[results.places.index(place)].copy()
    row[results.places.index(place)] = np.nan
    order = [int(n) for n in np.argsort(-np.nan_to_num(row, nan=-1)) if np.isfinite(row[n])][:3]
    if order:
        found = [
            f"layer {results.numbers[layer] + 1}, head {head + 1} ({row[n]:.2f})"
            for n in order
            for layer, head in [results.places[n]]
        ]
        st.caption(f"The heads most like it (1 for equal maps): {'; '.join(found)}.")


def _show_without(survey: OpenSurvey, place: tuple[int, int]) -> None:
    results = survey.results
    mean, deviation = (table[place] for table in results.effects["log_odds"])
    share = results.effects["probability"][0][place]
    if not np.isfinite(mean):
        st.caption("In this survey no head was switched off.")
        return
    st.metric(
        "Log-odds of the answer without this head",
        f"{mean:+.2f}",
        help="The log-odds of the model's answer against its runner-up, with this head switched "
        "off, less the log-odds with it.",
    )
    st.caption(
        f"Mean over {results.effect_pictures} pictures, with a standard deviation of "
        f"{deviation:.2f}; the answer's probability changes by {100 * share:+.1f} points."
    )


def _show_classes(survey: OpenSurvey, place: tuple[int, int], measure: str) -> None:
    results = survey.results
    found = [
        (name, float(means[measure][place]), results.class_pictures[name])
        for name, means in results.classes.items()
        if measure in means and np.isfinite(means[measure][place])
    ]
    if len(found) < 2:
        st.caption("This survey knows no classes, or not this measure of them.")
        return
    found.sort(key=lambda row: -row[1])
    shown = found if len(found) <= 2 * CLASSES else [*found[:CLASSES], *found[-CLASSES:]]
    _show_table(("Class", MEASURES[measure][0], "Pictures"), shown)
    st.caption(f"The classes with the most and the least of it, of {len(found)}.")


def _show_table(columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    table = dict(zip(columns, zip(*rows, strict=True), strict=True))
    if is_projected():  # letters of a data frame stay small
        st.table({name: [_in_short(value) for value in values] for name, values in table.items()})
        return
    number = st.column_config.NumberColumn(format="%.3g")
    numbers = {name: number for name, values in table.items() if isinstance(values[0], float)}
    st.dataframe(table, hide_index=True, column_config=numbers, height="content")


def _in_short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# -- top pictures ---------------------------------------------------------------------------------


def _show_top(session: Session, survey: OpenSurvey, place: tuple[int, int]) -> None:
    ranking = chosen_ranking()
    st.pills(
        "Its pictures, of all in the survey",
        list(RANKING_NAMES),
        key=Heads.ranking.name,
        required=True,
        wrap=True,
        format_func=lambda name: RANKING_NAMES[name][0],
    )
    top = survey.results.top[ranking][survey.results.places.index(place)]
    if not top:
        st.caption("This survey has no top pictures of this layer.")
        return
    photos = heads_surveys.open_pictures(
        survey, [each.name for each in top], Heads.survey_photos.get() or ()
    )
    with st.container(horizontal=True, gap="small"):
        for number, each in enumerate(top):
            if each.name in photos:
                _show_tile(session, survey, place, ranking, number, each, photos[each.name])
    if len(photos) < len(top):
        _show_missing(top, len(photos))


def chosen_ranking() -> str:
    """Return by which measure the pictures of a head are ranked."""
    return Heads.ranking.begin(RANKING_NAMES)


def _show_tile(
    session: Session,
    survey: OpenSurvey,
    place: tuple[int, int],
    ranking: str,
    number: int,
    top: TopPicture,
    photo: Image.Image,
) -> None:
    layer = survey.results.numbers[place[0]]
    key = picture.key_of(photo)
    with st.container(width=TILE, gap="xsmall"):
        st.image(_draw(session.bundle, key, photo, layer, place[1], top.query), width=TILE)
        st.caption(UNITS[RANKING_NAMES[ranking][1]](top.value))
        if st.button("Explore", key=Heads.top_picture(ranking, number), width="stretch"):
            _open_in_explore(session, layer, place[1], top.query, photo)


@computed_once(
    "top pictures",
    key=lambda bundle, key, photo, layer, head, query: (bundle.name, key, layer, head, query),
    size=lambda drawn: 3 * drawn.width * drawn.height,
    cost=lambda bundle, *rest: forward_cost(bundle),
)
def _draw(
    bundle: Bundle, key: str, photo: Image.Image, layer: int, head: int, query: int
) -> Image.Image:
    """Draw a head's map over a photo, with the patch that attends framed."""
    recorded = record_image(bundle, photo, [layer])
    tokens = recorded.layers[0].tokens
    shown = recorded.frame.resize((2 * TILE, 2 * TILE), Image.Resampling.BICUBIC)
    drawn = overlay(shown, layer_maps(recorded.records[0], tokens, query)[head])
    if (asking := tokens.position_of(query)) is not None:
        (row, column), (rows, columns) = asking, tokens.grid
        box = column / columns, row / rows, (column + 1) / columns, (row + 1) / rows
        frame(drawn, box)
    return drawn


def _show_missing(top: list[TopPicture], here: int) -> None:
    st.caption(
        "Upload these pictures, or the file that they are packed in, to see them: "
        f"{len(top) - here} of {len(top)} are missing."
    )
    st.text(", ".join(each.name for each in top))
    st.file_uploader(
        "Pictures of the survey, by their files' names, or packed as .npz",
        type=[*picture.TYPES, PACKED],
        accept_multiple_files=True,
        key=Heads.survey_photos.name,
        max_upload_size=MEGABYTES,
        help="A survey keeps only the names of its pictures. A server that was started with "
        "`--survey-data` and the data set's path finds them by itself.",
    )


def _open_in_explore(
    session: Session, layer: int, head: int, query: int, photo: Image.Image
) -> None:
    picture.show_as_own(photo)
    if layer in session.recorded.numbers:
        change_view(layer=session.recorded.numbers.index(layer), head=head, query=query, held=True)
    st.switch_page("explore.py")
