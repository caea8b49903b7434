"""The Heads page over a survey: the scatter with its spread, a map of the heads, and one head."""

import numpy as np
import streamlit as st
import torch

from model.analysis.head_measures import chance_measures, dominant_kind, score_kinds
from model.survey.picture_measures import OBJECT
from model.survey.results import RESULTS
from model.tokens import TokenLayout
from viz.charts.head_map import head_map, place_heads
from viz.charts.scatter import head_scatter
from viz.pages import heads_surveys
from viz.pages.heads_dots import show_dots
from viz.pages.heads_measures import KIND_NAMES, MEASURES
from viz.pages.heads_survey_export import describe_survey
from viz.pages.heads_survey_head import show_head
from viz.pages.heads_surveys import MEGABYTES, OpenSurvey
from viz.pages.shared.explained import show_note
from viz.pages.shared.figures import draw_once
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Heads
from viz.pages.shared.text import plain
from viz.pictures.lettering import percent

NOT_MEASURED = dict.fromkeys(
    OBJECT, "This survey's pictures have no boxes around objects, which this measure needs."
)
COMMAND = "python -m model.survey {} --data SOURCE --out DIR"


def choose_survey(session: Session) -> OpenSurvey | None:
    """Show which survey is shown; None where there is none of this model."""
    bundle = session.bundle
    there = heads_surveys.surveys_of(bundle)
    uploaded = _show_upload(bool(there))
    if isinstance(uploaded, OpenSurvey):
        if problem := heads_surveys.explain_misfit(uploaded, bundle):
            st.info(problem, icon=":material/info:")
            return None
        return uploaded
    if uploaded:
        st.error(plain(uploaded), icon=":material/error:")
    if not there:
        st.caption("There is no survey of this model here. This makes one, for upload above:")
        st.code(COMMAND.format(bundle.name), language="sh")
        return None
    Heads.survey.begin([*there])
    if len(there) > 1:
        st.selectbox("Survey", [*there], key=Heads.survey.name)
    name = Heads.survey.get()
    return there[name if name in there else next(iter(there))]


def _show_upload(folded: bool) -> OpenSurvey | str | None:
    place = st.expander("Open a survey of your own") if folded else st.container()
    with place:
        one, many = st.columns(2)
        file = one.file_uploader(
            "A survey.json", type="json", key=Heads.survey_file.name, max_upload_size=MEGABYTES
        )
        folder = many.file_uploader(
            "Or the folder with it",
            type="json",
            accept_multiple_files="directory",
            key=Heads.survey_folder.name,
            max_upload_size=MEGABYTES,
        )
    named = [each for each in folder if each.name.rpartition("/")[2] == RESULTS]
    if folder and not named:
        return f"There is no {RESULTS} in this folder. Upload the folder given with --out."
    uploads = [file] if file else named
    return heads_surveys.uploaded_survey(uploads[0]) if uploads else None


def show_survey(session: Session, survey: OpenSurvey, measure: str) -> None:
    """Show a survey: every head, how alike they are, and the head that is chosen."""
    results = survey.results
    damaged = f"; {results.damaged:,} more could not be opened" if results.damaged else ""
    missing = f"; {results.missing:,} blocks of pictures are missing" if results.missing else ""
    st.caption(
        f"Every head over {results.pictures:,} pictures{damaged}{missing}. A bar is one standard "
        "deviation over the pictures to each side. Click or tap a head for its page below."
    )
    if any(results.windows):
        st.caption(
            "Layers of this model attend within windows: there no head looks further than its "
            "window, and each window is measured as a picture of its own."
        )
    place = _chosen_place(survey)
    _show_scatter(session, survey, measure, place)
    _show_map(survey, place)
    show_head(session, survey, place, measure)
    show_save(lambda: describe_survey(session, survey, place, measure))


def survey_kinds(survey: OpenSurvey) -> list[list[str | None]]:
    """Name what each head does most, by the means over all pictures."""
    results = survey.results
    measures = {name: torch.from_numpy(mean).float() for name, mean in results.mean.items()}
    prefix = ("cls",) if np.nan_to_num(results.mean["cls"]).max() > 0 else ()
    attended = (size or grid for grid, size in zip(results.grids, results.windows, strict=True))
    layouts = [TokenLayout(size, prefix) for size in attended]
    return dominant_kind(score_kinds(measures, layouts))


def _chosen_place(survey: OpenSurvey) -> tuple[int, int]:
    """The head whose page is shown, by its layer's place and its number."""
    names = {head_name(survey, place): place for place in survey.results.places}
    Heads.surveyed.begin(names, default=next(iter(names)))
    return names[Heads.surveyed.get()]


def head_name(survey: OpenSurvey, place: tuple[int, int]) -> str:
    """Name a head as an address does: layer and head, from one."""
    return f"{survey.results.numbers[place[0]] + 1}.{place[1] + 1}"


def _take_click(survey: OpenSurvey, clicked: tuple[int, int] | None) -> None:
    """Show the page of the head that was clicked."""
    if clicked:
        Heads.clicks.set(Heads.clicks.get() + 1)
        Heads.surveyed.set(head_name(survey, clicked))
        st.rerun()


def _show_scatter(
    session: Session, survey: OpenSurvey, measure: str, place: tuple[int, int]
) -> None:
    results = survey.results
    _, title, unit, sentence = MEASURES[measure]
    if not np.isfinite(results.mean[measure]).any():
        st.info(NOT_MEASURED.get(measure, "This survey has not measured this."))
        return
    chance = {} if session.recorded.windowed else chance_measures(session.bundle.tokens)
    figure = draw_once(
        head_scatter,
        results.mean[measure],
        survey_kinds(survey),
        KIND_NAMES,
        title,
        unit,
        chance.get(measure),
        place,
        numbers=[number + 1 for number in results.numbers],
        spread=results.deviation[measure],
    )
    clicked = show_dots(figure, Heads.dots(Heads.clicks.get()), title)
    show_note(sentence, Heads.note.name)
    _take_click(survey, clicked)


def _show_map(survey: OpenSurvey, place: tuple[int, int]) -> None:
    results = survey.results
    places, share = place_heads(results.similarity)
    if not share:
        return
    st.subheader("Which heads attend alike")
    kinds, heads = survey_kinds(survey), results.places
    figure = draw_once(
        head_map,
        places,
        heads,
        [kinds[layer][head] for layer, head in heads],
        KIND_NAMES,
        [number + 1 for number in results.numbers],
        heads.index(place),
    )
    alt = "Heads by how alike their maps are"
    clicked = show_dots(figure, Heads.map_dots(Heads.clicks.get()), alt)
    apart = (
        " Layers with grids of other sizes are not compared; their heads lie as far apart as heads "
        "that share no patch."
        if len(set(results.grids)) > 1
        else ""
    )
    st.caption(
        "The closer two heads lie, the more alike are their maps of the same picture; the number "
        f"is the layer. The plane shows {percent(share, 0)} of how they differ.{apart}"
    )
    _take_click(survey, clicked)
