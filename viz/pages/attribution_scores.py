"""The scores of the maps of one picture: deletion and insertion curves, and a table."""

import numpy as np
import streamlit as st

from viz.charts.faithfulness import colors_of, score_curves
from viz.charts.heatmap import BARE
from viz.pages import attribution_settings as settings
from viz.pages.attribution_maps import SHARES, Measured, curves_of
from viz.pages.attribution_object import Place
from viz.pages.attribution_settings import Size, method_texts, model_settings
from viz.pages.attribution_target import Case
from viz.pages.shared.figures import draw_once, show_chart
from viz.pages.shared.state import Attribution, Setting
from viz.pictures.lettering import percent

BACKGROUNDS = {"blurred": "Blurred photo", "zeroed": "Mean colour"}
SCALES = {"probability": "Probability", "logarithm": "Log-probability"}
SCALE_HELP = (
    "The logarithm tells small probabilities apart: a tenth lies at −2.3, a hundredth at −4.6. "
    "The area is then the mean log-probability."
)
CHEFER = (
    "*Positive* and *negative* are Chefer's test: how often {name} stays the model's first answer "
    "while a tenth to nine tenths of the patches are gone, the most relevant first (small is "
    "better) or the least relevant first (large is better)."
)
NO_CHEFER = "With the mean colour as background, Chefer's perturbation test stands here too."


def show_scores(
    case: Case, maps: dict[str, np.ndarray], method: str, size: Size, marked: Place | None
) -> None:
    """Show the choices, the curves once somebody asks for them, and the table."""
    st.subheader("Does the model need what the map points at?")
    st.caption(
        "Take away the patches that a map finds most relevant, and see how fast the answer falls."
    )
    kind, logarithms, asked = _choose_curves(case)
    with st.expander("How it is measured"):
        st.markdown(
            f"*Deletion* takes patches away, the most relevant first, and watches the probability "
            f"of {case.plain_name}: with a faithful map it falls at once, and the area under the "
            "curve is small. *Insertion* puts them back onto an empty photo: it should rise at "
            "once, and the area be large (Petsiuk, Das and Saenko, 2018)."
        )
    if not asked:
        return
    curves = _measure_methods(case, list(maps), size, kind)
    _show_curves(case, curves, method, size, logarithms)
    _show_table(case, curves, maps, size, kind, marked)


def scores_url_params(case: Case) -> dict[str, str]:
    """Write the choices into the parameters of an address."""
    return Attribution.background.url_params() | _scale_setting(case).url_params()


def _choose_curves(case: Case) -> tuple[str, bool, bool]:
    """Show the choices: the background, whether to draw logarithms, and whether to measure."""
    scale_setting = _scale_setting(case)
    Attribution.background.begin(BACKGROUNDS)
    scale_setting.begin(SCALES)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control(
            "What a patch is replaced by",
            list(BACKGROUNDS),
            key=Attribution.background.name,
            required=True,
            format_func=BACKGROUNDS.__getitem__,
            persist_state="session",
        )
        st.segmented_control(
            "Drawn as",
            list(SCALES),
            key=scale_setting.name,
            required=True,
            format_func=SCALES.__getitem__,
            help=SCALE_HELP,
            persist_state="session",
        )
        kind = Attribution.background.get()
        question = case.bundle.name, case.picture.key, case.target, kind
        if st.button("Measure all methods", type="primary"):
            Attribution.measured.set(question)
    return kind, scale_setting.get() == "logarithm", Attribution.measured.get() == question


def _scale_setting(case: Case) -> Setting[str]:
    """Choose the setting of the scale: words and classes have one each.

    A caption's score is a sum of logarithms, so a word's part in it is one.
    """
    return Attribution.class_scale if case.word is None else Attribution.word_scale


def _measure_methods(case: Case, methods: list[str], size: Size, kind: str) -> dict[str, Measured]:
    bar, curves, shown = st.progress(0.0), {}, case.picture
    for done, name in enumerate(methods):
        bar.progress(done / len(methods), f"Measuring: {settings.method_title(name, size)}")
        chosen = model_settings(name, size)
        curves[name] = curves_of(
            case.bundle, shown.key, shown.image, case.target, name, chosen, kind
        )
    bar.empty()
    return curves


def _show_curves(
    case: Case, curves: dict[str, Measured], method: str, size: Size, logarithms: bool
) -> None:
    titles = {name: settings.method_title(name, size) for name in method_texts(size)}
    colors = colors_of(list(titles.values()), titles["random_map"])
    quantity = "Log-probability" if logarithms else "Probability"
    columns = st.columns(2, gap="large")
    for column, which in zip(columns, ("deletion", "insertion"), strict=True):
        ending = "removed" if which == "deletion" else "shown"
        lines = {}
        for name, measured in curves.items():
            values = getattr(measured, which)
            values = values if logarithms else np.exp(values)
            lines[titles[name]] = values, _area(values)
        best_first = sorted(
            lines.items(), key=lambda line: line[1][1], reverse=which == "insertion"
        )
        figure = draw_once(
            score_curves,
            dict(best_first),
            SHARES,
            f"{which.title()}, best method first",
            f"Patches {ending}",
            f"{quantity} of {case.name}",
            colors,
            chosen=titles[method],
            logarithms=logarithms,
        )
        with column:
            show_chart(figure, key=f"{which}_chart", config=BARE, alt=f"Curves of {which}")


def _area(values: np.ndarray) -> float:
    return float(np.trapezoid(values, SHARES))


def _show_table(
    case: Case,
    curves: dict[str, Measured],
    maps: dict[str, np.ndarray],
    size: Size,
    kind: str,
    marked: Place | None,
) -> None:
    """Show one line a method: the areas, Chefer's test, and the scores of the object's box."""
    columns: dict[str, list] = {"Method": [settings.method_title(name, size) for name in curves]}
    areas = {"Deletion ↓": "deletion", "Insertion ↑": "insertion"}
    for title, which in areas.items():
        columns[title] = [_area(np.exp(getattr(m, which))) for m in curves.values()]
    if kind == "zeroed":
        columns["Positive ↓"] = [measured.positive for measured in curves.values()]
        columns["Negative ↑"] = [measured.negative for measured in curves.values()]
    if marked:
        found = [maps[name] for name in curves]
        columns["Peak"] = ["hit" if marked.hit(m) else "miss" for m in found]
        if marked.covered:
            columns["IoU ↑"] = [marked.overlap(m) if m.any() else 0.0 for m in found]
    numbers = {
        title: st.column_config.NumberColumn(format="%.3f")
        for title, values in columns.items()
        if isinstance(values[0], float)
    }
    st.dataframe(columns, hide_index=True, column_config=numbers, key="scores_table")
    chance = (
        f" A blind place hits in {percent(marked.share, 0)} of all cases; a blind IoU is "
        f"{marked.chance:.2f}."
        if marked
        else ""
    )
    test = CHEFER.format(name=case.plain_name) if kind == "zeroed" else NO_CHEFER
    st.caption(f"Areas are of the probability. {test}{chance}")
