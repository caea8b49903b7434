"""Attribution: which patches does the answer rest on?"""

import numpy as np
import streamlit as st
import torch

from model import zoo
from model.agreement import agreement, rank_correlation
from model.relevance import why_not
from viz import explorer
from viz.faithful import agreement_table, colors_of, score_curves
from viz.methods import CAN_TELL, METHODS
from viz.pages import attribution_settings as settings
from viz.pages import shelf
from viz.pages.attribution_maps import SHARES, curves_of, map_of, probabilities, trace_of
from viz.pages.attribution_settings import Size
from viz.pages.link import note_down, recall
from viz.pages.session import Session, begin, write_address
from viz.payload import pack
from viz.row import Cell, row, row_payload

BARE = {"displayModeBar": False}
BEST = 5
TRAINED, UNTRAINED = "trained", "random weights"
BACKGROUNDS = {"blurred": "Blurred photo", "zeroed": "Mean colour"}
HINT = (
    "Move the mouse over a map: the same patch is marked in all. Click a map for its formula and "
    "its settings."
)


def page() -> None:
    """The whole page, top to bottom."""
    session = begin(
        "Which patches does the answer rest on?",
        "Choose a class. Each picture shows which patches speak for it, by another method: from "
        "plain attention to methods that ask how the answer would change. They do not agree, "
        "and that is the first thing to learn from them.",
    )
    target = _choose_class(session)
    method = recall("method", "rollout", list(METHODS))
    place, compare = st.container(), _compare_switch(session)
    picture = session.picture
    trace = trace_of(session.bundle, picture.key, picture.image, target)
    # Of the whole model, also where the other pages record a part of it.
    size = Size(trace.depth, min(record.shape[1] for record in trace.records))
    left, right = st.columns([2, 3], gap="large")
    with right:
        _show_method(method, size, suits=why_not(trace, method) is None)
    with left:
        _show_large(session, target, method, size)
    maps = {name: _map(session.bundle, session, target, name, size) for name in METHODS}
    with place:
        _show_row(session, target, maps, method, size, compare)
    maps = {name: found for name, found in maps.items() if not isinstance(found, str)}
    _show_scores(session, target, list(maps), method, size)
    _show_agreement(maps)
    st.subheader("What such a map can and cannot tell")
    st.markdown(CAN_TELL)
    write_address(session)
    note_down(
        method=(method, "rollout"),
        compare=(compare, False),
        **{"class": (_class_name(session.bundle, target) if _is_chosen(session) else None, None)},
        **settings.words(size),
    )


# -- the class ------------------------------------------------------------------------------------


def _choose_class(session: Session) -> int:
    """The class to explain: one of the likeliest, or any other."""
    bundle = session.bundle
    likely = probabilities(bundle, session.picture.key, session.picture.image)
    order = np.argsort(-likely, kind="stable")
    _begin_class(session, len(likely))
    target = st.session_state.target if _is_chosen(session) else int(order[0])
    options = order[:BEST].tolist()
    if target not in options:
        options.append(target)
    st.session_state.likely_class, st.session_state.any_class = target, None
    best_column, other_column = st.columns([3, 1], gap="medium", vertical_alignment="bottom")
    with best_column:
        st.pills(
            "For which class",
            options,
            key="likely_class",
            required=True,
            on_change=_take_class,
            args=("likely_class", _about(session)),
            format_func=lambda i: f"{_class_name(bundle, i)}  {_percent(likely[i])}",
        )
    with other_column:
        st.selectbox(
            "Any other class",
            order.tolist(),
            key="any_class",
            index=None,
            placeholder="Type to find one",
            on_change=_take_class,
            args=("any_class", _about(session)),
            format_func=lambda i: _class_name(bundle, i),
        )
    return target


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def _begin_class(session: Session, classes: int) -> None:
    """The class that a link names, once."""
    if "target" in st.session_state:
        return
    st.session_state.target = st.session_state.target_of = None
    word = st.query_params.get("class")
    names = [_class_name(session.bundle, i) for i in range(classes)]
    if word in names:
        st.session_state.target, st.session_state.target_of = names.index(word), _about(session)
    elif word is not None:
        st.caption("The link names a class that this model does not have.")


def _about(session: Session) -> tuple[str, str]:
    """A class is chosen for one photo and one model; others begin with their likeliest."""
    return session.bundle.name, session.picture.key


def _is_chosen(session: Session) -> bool:
    return st.session_state.target_of == _about(session)


def _take_class(key: str, about: tuple[str, str]) -> None:
    if st.session_state[key] is not None:
        st.session_state.target, st.session_state.target_of = st.session_state[key], about


def _class_name(bundle: zoo.Bundle, index: int) -> str:
    return bundle.classes[index] if bundle.classes else f"output {index + 1}"


# -- the maps -------------------------------------------------------------------------------------


def _map(
    bundle: zoo.Bundle, session: Session, target: int, method: str, size: Size
) -> np.ndarray | str:
    chosen = settings.for_the_model(method, size)
    picture = session.picture
    return map_of(bundle, picture.key, picture.image, target, method, chosen)


def _untrained(session: Session) -> zoo.Bundle | None:
    """The same model with random weights; None where there is no other."""
    name = session.bundle.name
    if name.endswith(shelf.RANDOM):
        return None
    try:
        return shelf.load(name + shelf.RANDOM)
    except (zoo.ModelNotFound, zoo.ModelRejected):
        return None


def _compare_switch(session: Session) -> bool:
    recall("compare", False, (True, False))
    name = session.bundle.name
    return st.toggle(
        "Beside the same model with random weights",
        key="compare",
        disabled=name.endswith(shelf.RANDOM) or name.startswith("your "),
        help="A map that barely changes when the weights are random says nothing about what the "
        "model has learned.",
    )


def _show_row(
    session: Session,
    target: int,
    maps: dict[str, np.ndarray | str],
    method: str,
    size: Size,
    compare: bool,
) -> None:
    view, other = session.view, _untrained(session) if compare else None
    cells = []
    for name, found in maps.items():
        words = METHODS[name]
        missing = found if isinstance(found, str) else ""
        drawn, notes = [] if missing else [found], [_zero_note(found)]
        if other and not missing:
            drawn.append(_map(other, session, target, name, size))
            notes.append(_agreement_note(*drawn))
        cells.append(Cell(name, words.title, words.short, words.group, drawn, missing, notes))
    payload = row_payload(
        cells,
        session.look.photo,
        session.bundle.tokens.grid,
        method,
        (TRAINED, UNTRAINED) if other else ("",),
        view.colors,
        view.opacity,
        view.smooth,
        HINT,
    )
    row(payload, on_choose=_take_method, key="row")


def _zero_note(found: np.ndarray | str) -> str:
    return "" if isinstance(found, str) or found.any() else "zero: nothing speaks for it"


def _agreement_note(one: np.ndarray, other: np.ndarray) -> str:
    value = float(rank_correlation(torch.from_numpy(one), torch.from_numpy(other)))
    return "one of them is flat" if np.isnan(value) else f"agreement {value:.2f}"


def _take_method() -> None:
    if chosen := st.session_state.row.get("choose"):
        st.session_state.method = chosen


def _show_method(method: str, size: Size, suits: bool) -> None:
    words, formula = settings.explained(method, size)
    st.subheader(words.title)
    st.latex(formula)
    st.markdown(words.words + (f" [{words.source[0]}]({words.source[1]})." if words.source else ""))
    if suits:
        settings.show(method, size)


def _show_large(session: Session, target: int, method: str, size: Size) -> None:
    found = _map(session.bundle, session, target, method, size)
    if isinstance(found, str):
        st.info(found)
        return
    view = session.view
    total = float(found.sum())
    values = found / total if total else found
    name = _class_name(session.bundle, target)
    header = {
        "grid": session.bundle.tokens.grid,
        "colors": view.colors,
        "opacity": view.opacity,
        "smooth": view.smooth,
        "unit": "of the map",
        "caption": "" if total else "This map is zero everywhere: nothing speaks for this class.",
        "alt": f"{METHODS[method].title} for {name}",
    }
    st.caption(f"{METHODS[method].title}, for {name}")
    explorer.overlay(
        pack(header, photo=session.look.photo, values=values.astype(np.float32)), key="large"
    )


# -- the scores -----------------------------------------------------------------------------------


def _show_scores(
    session: Session, target: int, methods: list[str], method: str, size: Size
) -> None:
    st.subheader("Does the model need what the map points at?")
    name = _class_name(session.bundle, target)
    st.caption(
        f"*Deletion* takes patches away, the most relevant first, and watches the probability of "
        f"{name}: with a faithful map it falls at once, and the area under the curve is small. "
        "*Insertion* puts them back onto an empty photo: it should rise at once, and the area be "
        "large (Petsiuk, Das and Saenko, 2018)."
    )
    recall("background", "blurred", list(BACKGROUNDS))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = st.segmented_control(
            "What a patch is replaced by",
            list(BACKGROUNDS),
            key="background",
            required=True,
            format_func=BACKGROUNDS.get,
            persist_state="session",
        )
        question = session.bundle.name, session.picture.key, target, kind
        if st.button("Measure all methods", type="primary"):
            st.session_state.measured = question
    if st.session_state.get("measured") != question:
        return
    curves = _measure(session, target, methods, size, kind)
    titles = [words.title for words in METHODS.values()]
    colors = colors_of(titles, METHODS["random_map"].title)
    columns = st.columns(2, gap="large")
    for column, which in zip(columns, ("deletion", "insertion"), strict=True):
        ending = "removed" if which == "deletion" else "shown"
        lines = {METHODS[m].title: curves[m][which] for m in methods}
        order = sorted(lines, key=lambda title, t=lines: t[title][1], reverse=which == "insertion")
        figure = score_curves(
            {title: lines[title] for title in order},
            SHARES,
            f"{which.title()}, best method first",
            f"Patches {ending}",
            f"Probability of {name}",
            colors,
            chosen=METHODS[method].title,
        )
        with column:
            st.plotly_chart(figure, key=f"{which}_chart", config=BARE, alt=f"Curves of {which}")


def _measure(
    session: Session, target: int, methods: list[str], size: Size, kind: str
) -> dict[str, dict[str, tuple[np.ndarray, float]]]:
    bar, curves = st.progress(0.0), {}
    picture = session.picture
    for done, name in enumerate(methods):
        bar.progress(done / len(methods), f"Measuring: {METHODS[name].title}")
        chosen = settings.for_the_model(name, size)
        curves[name] = curves_of(
            session.bundle, picture.key, picture.image, target, name, chosen, kind
        )
    bar.empty()
    return curves


def _show_agreement(maps: dict[str, np.ndarray]) -> None:
    st.subheader("Do the methods agree?")
    st.caption(
        "*Rank correlation* compares the order in which two maps put the patches: 1 is the same "
        "order, 0 nothing in common, −1 the reverse (Spearman)."
    )
    names = [METHODS[name].title for name in maps]
    values = agreement(torch.from_numpy(np.stack(list(maps.values())))).numpy()
    st.plotly_chart(
        agreement_table(values, names, height=160 + 30 * len(names)),
        key="agreement_chart",
        config=BARE,
        alt="Rank correlation of each pair of methods",
    )


page()
