"""The sinusoidal code: its waves, its dot products, and what a grid does to it."""

import math
from collections.abc import Callable

import numpy as np
import streamlit as st
from torch import Tensor

from model.analysis.position_codes import code_similarity
from model.nets.sinusoids import angles, frequencies, wave_code, wave_code_2d
from viz.charts.curves import curves
from viz.charts.heatmap import BARE, heatmap
from viz.pages.positions_waves_export import ShownWaves, describe_waves
from viz.pages.shared.figures import draw_once, show_chart
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Positions

SETTINGS = {"length", "width", "base", "first", "second", "position"}
"""The tab's settings, as an address names them."""
LEAST, MOST = 2, 512
SQUARE = 430  # pixels across of a chart with square cells
BASES = [10.0, 100.0, 1000.0, 10000.0, 100000.0, 1000000.0]


def show_waves(session: Session) -> None:
    """Show the tab."""
    _check_link()
    controls, picture = st.columns([1, 3], gap="large")
    with controls:
        length, width, base = _choose_code()
    code = wave_code(length, width, base).numpy()
    with picture:
        _show_code(code, width, base)
    left, right = st.columns(2, gap="large")
    with left:
        lines = _show_dimensions(code, width, base)
    with right:
        position, dots = _show_dots(code)
    grid = session.bundle.tokens.grid
    alike = _show_grid(grid, width, base)
    chosen = list(dict.fromkeys((Positions.first.get(), Positions.second.get())))
    shown = ShownWaves(code, base, lines, chosen, position, dots, grid, alike)
    show_save(lambda: describe_waves(shown))


def wave_url_params() -> dict[str, str]:
    """Write the tab's settings into the parameters of an address."""
    first, second, position = _default_choices(Positions.length.get(), Positions.width.get())
    return (
        Positions.length.url_params()
        | Positions.width.url_params()
        | Positions.base.url_params()
        | Positions.first.url_params(first)
        | Positions.second.url_params(second)
        | Positions.position.url_params(position)
    )


def _default_choices(length: int, width: int) -> tuple[int, int, int]:
    """Choose two dimensions and a position of a code of this size to begin with."""
    return min(4, width - 1), min(20, width - 1), (length - 1) // 2


def _check_link() -> None:
    """Show what is wrong with the sizes of a link, and begin with the defaults instead."""
    if Positions.length.is_set:
        return
    length, width, base = _begin_sizes()
    try:
        angles(length, width, base)
        if length < LEAST:
            raise ValueError(
                f"This page compares positions, so it draws at least {LEAST} of them, not {length}."
            )
        if max(length, width) > MOST:
            raise ValueError(f"This page draws at most {MOST} positions and dimensions.")
        if base not in BASES:
            raise ValueError(f"This page has the bases {', '.join(f'{b:,.0f}' for b in BASES)}.")
    except ValueError as problem:
        st.warning(f"The link asks for what cannot be shown. {problem}", icon=":material/link_off:")
        Positions.length.set(Positions.length.default)
        Positions.width.set(Positions.width.default)
        Positions.base.set(Positions.base.default)


def _begin_sizes() -> tuple[int, int, float]:
    return Positions.length.begin(), Positions.width.begin(), Positions.base.begin()


def _choose_code() -> tuple[int, int, float]:
    """Show the sliders; return length, width and base."""
    _begin_sizes()
    length = st.slider(
        "Length: positions", LEAST, MOST, key=Positions.length.name, persist_state="session"
    )
    width = st.slider(
        "Width: dimensions",
        2,
        MOST,
        step=2,
        key=Positions.width.name,
        persist_state="session",
        help="Dimensions come in pairs, a sine and a cosine, so the width is even.",
    )
    base = st.select_slider(
        "Base",
        BASES,
        key=Positions.base.name,
        format_func=lambda b: f"{b:,.0f}",
        help=BASE_HELP,
        persist_state="session",
    )
    slowest = 2 * math.pi / float(frequencies(width, base)[-1])
    st.caption(
        f"The fastest pair turns once in 6.28 positions, the slowest once in {slowest:,.0f}."
    )
    st.caption(
        "$P_{i,2j} = \\sin(i\\,/\\,b^{\\,2j/d})$  \n$P_{i,2j+1} = \\cos(i\\,/\\,b^{\\,2j/d})$  \n"
        "for position $i$, pair $j$, width $d$ and base $b$ (Vaswani et al., 2017)."
    )
    return length, width, base


BASE_HELP = (
    "How much longer the waves get from the first pair to the last. With a small base, distant "
    "positions look alike again; with a large one, the last dimensions hardly change."
)


DIGITS = (
    "This *sinusoidal code* has its short waves in the first dimensions and its long ones in the "
    "last. They work as the digits of a number do: some change at every step, others seldom."
)


def _show_code(code: np.ndarray, width: int, base: float) -> None:
    st.subheader("Each row is a position", help=DIGITS)
    st.caption(
        "A row holds the heights of many waves at one position. The short waves tell neighbours "
        "apart, the long ones whole regions."
    )
    frequency = frequencies(width, base).repeat_interleave(2).numpy()
    details = np.stack([frequency, 2 * np.pi / frequency], axis=-1)
    figure = draw_once(
        heatmap,
        code,
        "Dimension",
        "Position",
        "Position %{y}, dimension %{x}<br>value %{z:.3f}<br>frequency %{customdata[0]:.4~g} "
        "radians a position<br>wavelength %{customdata[1]:,.1f} positions",
        np.broadcast_to(details, (*code.shape, 2)),
        (-1, 1),
    )
    show_chart(figure, key="wave_map", config=BARE, alt="The code, position by dimension")


def _show_dimensions(code: np.ndarray, width: int, base: float) -> dict[str, np.ndarray]:
    """Show two dimensions of the code; return each by its title."""
    st.subheader("Two dimensions")
    first_place, second_place = st.columns(2)
    numbers = list(range(width))
    default_first, default_second, _ = _default_choices(len(code), width)
    Positions.first.begin(numbers, default_first)
    Positions.second.begin(numbers, default_second)
    with first_place:
        first = st.selectbox(
            "Dimension", numbers, key=Positions.first.name, persist_state="session"
        )
    with second_place:
        second = st.selectbox(
            "and dimension", numbers, key=Positions.second.name, persist_state="session"
        )
    frequency = frequencies(width, base)
    lines = {}
    for dimension in dict.fromkeys((first, second)):
        kind = "cosine" if dimension % 2 else "sine"
        wavelength = 2 * math.pi / float(frequency[dimension // 2])
        lines[f"{dimension}: {kind}, wavelength {wavelength:,.1f}"] = code[:, dimension]
    show_chart(
        draw_once(curves, lines, "Position", "Value"),
        key="waves",
        config=BARE,
        alt="Two of the waves",
    )
    return lines


DOTS = (
    "A sine and a cosine of one frequency are a *pair*. The dot product is the sum of "
    "cos(distance × frequency) over all pairs."
)


def _show_dots(code: np.ndarray) -> tuple[int, np.ndarray]:
    """Show one position's dot products with all others; return the position and them."""
    st.subheader("One position against all others", help=DOTS)
    *_, default = _default_choices(*code.shape)
    # With another length Streamlit takes it for another slider, which would begin at 0 unless its
    # value is set anew.
    Positions.position.set(Positions.position.begin(range(len(code)), default))
    position = st.slider(
        "Position", 0, len(code) - 1, key=Positions.position.name, persist_state="session"
    )
    dots = code @ code[position]
    show_chart(
        draw_once(curves, {"dot product": dots}, "Position", "Dot product", marked=position),
        key="dots",
        config=BARE,
        alt="Dot product of one position's code with all others",
    )
    st.caption(
        "The dot product of two codes depends on their distance alone. At distance 0 it is "
        f"{code.shape[1] // 2}, one for each pair."
    )
    return position, dots


def _show_grid(grid: tuple[int, int], width: int, base: float) -> dict[str, np.ndarray]:
    """Show both codes of a grid; return the likeness on it of each that there is."""
    st.subheader("The same code on a grid of patches")
    rows, columns = grid
    codes: dict[str, Callable[[], Tensor]] = {
        "One sequence": lambda: wave_code(rows * columns, width, base),
        "Rows and columns apart": lambda: wave_code_2d(grid, width, base),
    }
    alike = {}
    for place, (title, make) in zip(st.columns(2, gap="large"), codes.items(), strict=True):
        with place:
            if (likeness := _show_neighbours(title, make, grid)) is not None:
                alike[title] = likeness
    return alike


CODES_OF_A_GRID = {
    "One sequence": "The patches are numbered row by row, so the patch below is {} positions away.",
    "Rows and columns apart": "Half of the dimensions stand for the row, half for the column.",
}


def _show_neighbours(
    title: str, make: Callable[[], Tensor], grid: tuple[int, int]
) -> np.ndarray | None:
    """Show how similar the middle patch's code is to all others, or why there is no code."""
    st.markdown(f"**{title}**")
    rows, columns = grid
    row, column = rows // 2, columns // 2
    own = row * columns + column
    st.caption(CODES_OF_A_GRID[title].format(columns))
    try:
        code = make()
    except ValueError as problem:
        st.info(str(problem))
        return None
    likeness = code_similarity(code[own : own + 1], code).reshape(grid).numpy()
    figure = draw_once(
        heatmap,
        likeness,
        "Column",
        "Row",
        "Row %{y}, column %{x}<br>cosine %{z:.3f}",
        span=(min(0.0, float(likeness.min())), 1),
        square=True,
        first=1,
        height=340,
        scale_title="cosine",
        marked=(row + 1, column + 1),
    )
    show_chart(
        figure,
        key=f"grid {title}",
        width=SQUARE,
        config=BARE,
        alt=f"{title}: likeness of the marked patch's code with all others",
    )
    beside = likeness[row, column + 1] if column + 1 < columns else None
    below = likeness[row + 1, column] if row + 1 < rows else None
    parts = [f"the patch beside it {beside:.2f}"] if beside is not None else []
    parts += [f"the patch below it {below:.2f}"] if below is not None else []
    if parts:
        st.caption(f"Cosine of the marked patch with {', with '.join(parts)}.")
    return likeness
