"""Attribution: which patches does the answer rest on?"""

import numpy as np
import streamlit as st
import torch

from model import zoo
from model.attribution.metrics.agreement import agreement, rank_correlation
from model.attribution.registry import METHODS as NAMES
from model.attribution.registry import why_unsuitable
from model.attribution.trace import Trace
from model.bundle import Bundle
from model.captioning.words import Word
from viz.charts.faithfulness import agreement_table
from viz.charts.heatmap import BARE
from viz.components import mounts
from viz.components.mounts import row
from viz.components.payload import pack
from viz.components.row_payload import Cell, row_payload
from viz.export.attribution import (
    VARIANTS,
    ExplainedAnswer,
    attribution_exports,
    trace_class_code,
    trace_word_code,
)
from viz.export.export import Export
from viz.pages import attribution_object, attribution_scores
from viz.pages import attribution_settings as settings
from viz.pages.attribution_maps import map_of, trace_of
from viz.pages.attribution_object import Place
from viz.pages.attribution_settings import Size, method_texts
from viz.pages.attribution_target import Case, case_url_params, choose_case
from viz.pages.attribution_texts import CAN_TELL, SAME_FOR_EVERY_CLASS
from viz.pages.shared import open_models, scene
from viz.pages.shared.browser import write_address
from viz.pages.shared.figures import draw_once, show_chart
from viz.pages.shared.html_file import maps_file
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.photos import grant_photo
from viz.pages.shared.saving import Saved, show_save
from viz.pages.shared.session import offer_session_as_b
from viz.pages.shared.state import Attribution
from viz.pages.shared.text import plain
from viz.pages.shared.use_as_b import offer_captioner_as_b

SAME = "same for every class"
HINT = (
    "Move the mouse over a map: the same patch is marked in all. Click a map for its formula and "
    "its settings."
)


def page() -> None:
    """Show the whole page, top to bottom."""
    case = choose_case()
    trace = trace_of(case.bundle, case.picture.key, case.picture.image, case.target)
    fitting = _first_that_suits(trace)
    method = _choose_method(fitting)
    place = st.container()
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        compare = _show_compare_switch(case)
        _offer_as_b(case, method)
    # Of the whole model, also where the other pages record a part of it.
    size, grid = settings.size_of(trace), trace.layout.grid
    settings.follow_model(size)
    marked = attribution_object.locate_object(case, grid)
    left, right = st.columns([2, 3], gap="large")
    with right:
        _show_method(method, size, suits=why_unsuitable(trace, method) is None)
    with left:
        _show_large(case, grid, method, size, marked)
    maps = {name: _method_map(case.bundle, case, name, size) for name in NAMES}
    with place:
        _show_row(case, grid, maps, method, size, compare, marked)
        attribution_object.show_box(case, marked)
    drawn = {name: found for name, found in maps.items() if not isinstance(found, str)}
    attribution_scores.show_scores(case, drawn, method, size, marked)
    _show_agreement(drawn, size)
    st.subheader("What such a map can and cannot tell")
    st.markdown(CAN_TELL)
    write_address(
        case_url_params(case)
        | Attribution.method.url_params(fitting)
        | Attribution.compare.url_params()
        | attribution_object.box_url_params(case)
        | attribution_scores.scores_url_params(case)
        | settings.settings_url_params(size)
    )


def _first_that_suits(trace: Trace) -> str:
    """Name the usual method, or the first other one where it cannot explain this model."""
    names = (Attribution.method.default, *NAMES)
    return next(name for name in names if why_unsuitable(trace, name) is None)


def _choose_method(fitting: str) -> str:
    """Let a method that nobody has chosen follow the model; return the one to show."""
    before = Attribution.fitting.get()
    Attribution.fitting.set(fitting)
    chosen = Attribution.method.get() if Attribution.method.is_set else None
    if before not in (None, fitting) and chosen == before:
        Attribution.method.set(fitting)
    return Attribution.method.begin(NAMES, fitting)


def _offer_as_b(case: Case, method: str) -> None:
    if case.session is not None:
        offer_session_as_b(case.session, method)
    else:
        offer_captioner_as_b(case.bundle, case.picture, case.scene)


# -- the maps -------------------------------------------------------------------------------------


def _method_map(bundle: Bundle, case: Case, method: str, size: Size) -> np.ndarray | str:
    chosen = settings.model_settings(method, size)
    return map_of(bundle, case.picture.key, case.picture.image, case.target, method, chosen)


def _open_untrained(case: Case) -> Bundle | None:
    """Open the same model with random weights; None where there is none."""
    name = case.bundle.name
    if name.endswith(open_models.RANDOM):
        return None
    try:
        return open_models.open_model_named(name + open_models.RANDOM)
    except (zoo.ModelNotFound, zoo.ModelRejected):
        return None


def _show_compare_switch(case: Case) -> bool:
    Attribution.compare.begin()
    return st.toggle(
        "Beside the same model with random weights",
        key=Attribution.compare.name,
        disabled=case.bundle.name.endswith(open_models.RANDOM),
        help="A map that barely changes when the weights are random says nothing about what the "
        "model has learned.",
    )


def _show_row(
    case: Case,
    grid: tuple[int, int],
    maps: dict[str, np.ndarray | str],
    method: str,
    size: Size,
    compare: bool,
    marked: Place | None,
) -> None:
    other = _open_untrained(case) if compare else None
    cells, twins = [], {}
    for name, found in maps.items():
        text = method_texts(size)[name]
        notes = [_cell_note(found, marked, _is_same(name, size))]
        drawn: list[np.ndarray] = []
        if not isinstance(found, str):
            drawn.append(found)
            twin = _method_map(other, case, name, size) if other else ""
            if not isinstance(twin, str):
                drawn.append(twin)
                twins[name] = twin
                notes.append(_agreement_note(found, twin))
        missing = found if isinstance(found, str) else ""
        title = settings.method_title(name, size)
        cells.append(Cell(name, title, text.short, text.group, drawn, missing, notes))
    variants = VARIANTS if other else ("",)
    payload = row_payload(
        cells,
        grant_photo(case.photo),
        grid,
        method,
        case.style,
        variants,
        HINT,
        box=marked.box if marked else None,
    )
    row(payload, on_choose=_take_method, key=Attribution.row.name)
    known = {name: each for name, each in maps.items() if not isinstance(each, str)}
    html = maps_file(cells, case.photo, grid, case.style, variants)
    show_save(lambda: Saved(_describe_maps(case, known, twins, method, size, marked), html))


def _describe_maps(
    case: Case,
    maps: dict[str, np.ndarray],
    twins: dict[str, np.ndarray],
    method: str,
    size: Size,
    marked: Place | None,
) -> list[Export]:
    """Describe what can be saved: the maps of the model, and of its twin with random weights."""
    target = case.target
    code = (
        trace_word_code(target) if isinstance(target, Word) else trace_class_code(target, case.name)
    )
    explained = ExplainedAnswer(
        maps,
        {name: settings.method_title(name, size) for name in maps},
        {name: dict(settings.model_settings(name, size)) for name in maps},
        scene.enlarged(case.bundle.frame(case.picture.image)),
        open_models.model_title(case.bundle.name),
        photo_title(case.picture),
        case.name,
        opening_of(case.bundle.name, case.picture) + code,
        {name: settings.settings_in_words(name, size) for name in maps},
        case.style,
        marked.box if marked else None,
        case.bundle.name,
        twins,
        opening_of(case.bundle.name + open_models.RANDOM, case.picture) + code,
    )
    return attribution_exports(explained, method)


def _cell_note(found: np.ndarray | str, marked: Place | None, same: bool) -> str:
    if isinstance(found, str):
        return ""
    if not found.any():
        return "zero: nothing speaks for it"
    if marked:
        return marked.verdict(found)
    return SAME if same else ""


def _is_same(method: str, size: Size) -> bool:
    """Say whether the map is the same whatever is explained."""
    return method in SAME_FOR_EVERY_CLASS and not size.words


def _agreement_note(one: np.ndarray, other: np.ndarray) -> str:
    value = float(rank_correlation(torch.from_numpy(one), torch.from_numpy(other)))
    return "one of them is flat" if np.isnan(value) else f"agreement {value:.2f}"


def _take_method() -> None:
    if chosen := Attribution.row.get().get("choose"):
        Attribution.method.set(chosen)


def _show_method(method: str, size: Size, suits: bool) -> None:
    text, formula = settings.describe_method(method, size)
    st.subheader(text.title)
    st.markdown(text.text + (f" [{text.source[0]}]({text.source[1]})." if text.source else ""))
    with st.expander("The formula"):
        st.latex(formula)
    if suits:
        settings.show_settings(method, size)


def _show_large(
    case: Case, grid: tuple[int, int], method: str, size: Size, marked: Place | None
) -> None:
    found = _method_map(case.bundle, case, method, size)
    if isinstance(found, str):
        st.info(found)
        return
    title = settings.method_title(method, size)
    about = SAME if _is_same(method, size) else f"for {case.name}"
    total = float(found.sum())
    values = found / total if total else found
    header = {
        "grid": grid,
        "style": case.style.as_header(),
        "unit": "of the map",
        "caption": "" if total else f"This map is zero everywhere: nothing speaks for {case.name}.",
        "alt": f"{title}, {about}",
        "box": marked.box if marked else None,
    } | grant_photo(case.photo)
    st.caption(f"{title}, {plain(about)}")
    mounts.overlay(pack(header, values=values.astype(np.float32)), key=Attribution.large.name)


# -- how far they agree ---------------------------------------------------------------------------


def _show_agreement(maps: dict[str, np.ndarray], size: Size) -> None:
    with st.expander("Do the methods agree?"):
        st.caption(
            "*Rank correlation* compares the order in which two maps put the patches: 1 is the "
            "same order, 0 nothing in common, −1 the reverse (Spearman)."
        )
        names = [settings.method_title(name, size) for name in maps]
        values = agreement(torch.from_numpy(np.stack(list(maps.values())))).numpy()
        show_chart(
            draw_once(agreement_table, values, names, height=160 + 30 * len(names)),
            key="agreement_chart",
            config=BARE,
            alt="Rank correlation of each pair of methods",
        )


page()
