"""Draw numbers that are no map over a photo: a table of colours, lines, bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from viz.export.drawing import FAINT, INK, MUTED, WIDTH, Cells, Color, Drawing, Mark, Polyline, Text
from viz.export.painting import SCALE_STEPS, Scale
from viz.export.panels import CAPTION, MARGIN, shorten, write_below
from viz.pictures.colors import lookup_table
from viz.pictures.lettering import font, percent

SIZE = 13.0
TALLEST = 1400.0
"""Units that a table's rows take together at most."""
BAR = 14.0
"""Units that a bar is thick."""
SERIES: Sequence[Color] = (
    *((59, 91, 189), (204, 102, 51), (34, 139, 104)),
    *((160, 72, 150), (120, 120, 120), (190, 150, 30)),
    (90, 175, 215),
)


def draw_table(
    values: np.ndarray,
    row_names: Sequence[str],
    column_names: Sequence[str],
    caption: Sequence[str] = (),
    unit: str = "",
    colors: str | np.ndarray = "viridis",
    square: bool = True,
    span: tuple[float, float] | None = None,
) -> Drawing:
    """Draw values (rows, columns) as a table of colours; NaN leaves a cell empty.

    Args:
        row_names: of every row, or nothing; likewise `column_names`.
        unit: what the values are.
        colors: the colour map by its name, or its 256 colours.
        square: whether cells are squares.
        span: the values of the first and the last colour; the extremes if None.
    """
    known = values[np.isfinite(values)]
    low, high = span or ((float(known.min()), float(known.max())) if known.size else (0.0, 1.0))
    rows, columns = values.shape
    left = MARGIN + (_widest(row_names) + 10 if row_names else 0)
    across = WIDTH - left - MARGIN
    cell = min(across / columns, 60.0 if square else 110.0)
    down = min(cell if square else min(cell, 30.0), TALLEST / rows)
    top = MARGIN + (2 * SIZE if column_names else 0)
    shares = np.nan_to_num((values - low) / ((high - low) or 1.0)).clip(0, 1)
    table = lookup_table(colors) if isinstance(colors, str) else colors
    painted = table[(255 * shares).round().astype(np.uint8)]
    box = (left, top, left + columns * cell, top + rows * down)
    marks: list[Mark] = [Cells(box, painted, np.isfinite(values).astype(float))]
    every = max(1, math.ceil(1.3 * SIZE / down))
    for row, name in list(enumerate(row_names))[::every]:
        marks.append(Text((left - 8, top + (row + 0.5) * down + 4), name, SIZE, MUTED, "end"))
    every = max(1, math.ceil((_widest(column_names) + 8) / cell)) if column_names else 1
    for column, name in list(enumerate(column_names))[::every]:
        marks.append(Text((left + (column + 0.5) * cell, top - 7), name, SIZE, MUTED, "middle"))
    steps = table[np.linspace(0, 255, SCALE_STEPS).round().astype(int)]
    ends = _number(low), " ".join(filter(None, [_number(high), unit]))
    more, bottom = write_below(WIDTH, box[3] + 8, caption, Scale(steps, *ends))
    return Drawing(bottom + MARGIN, [*marks, *more])


def draw_lines(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    across: str,
    down: str,
    caption: Sequence[str] = (),
    dots: bool = False,
    names: Mapping[float, str] | None = None,
) -> Drawing:
    """Draw lines, or dots, over two axes.

    Args:
        series: x and y of each line, by its name.
        across: what the axis from left to right shows; `down`: the other one.
        dots: draw the points alone.
        names: of places on the axis from left to right, in the place of numbers.
    """
    xs = np.concatenate([np.asarray(x, float) for x, _ in series.values()])
    ys = np.concatenate([np.asarray(y, float) for _, y in series.values()])
    ys = ys[np.isfinite(ys)]
    box = (MARGIN + 70, MARGIN + 16, WIDTH - 2 * MARGIN, 460.0)
    x_ticks, y_ticks = find_ticks(xs.min(), xs.max()), find_ticks(ys.min(), ys.max())
    x_of = _Axis(xs.min(), xs.max(), box[0], box[2])
    y_of = _Axis(y_ticks[0], y_ticks[-1], box[3], box[1])
    marks: list[Mark] = []
    for tick in y_ticks:
        marks.append(Polyline([(box[0], y_of(tick)), (box[2], y_of(tick))], FAINT, 0.8))
        marks.append(Text((box[0] - 8, y_of(tick) + 4), _number(tick), SIZE, MUTED, "end"))
    seen = [tick for tick in x_ticks if xs.min() <= tick <= xs.max()]
    labels = names or {tick: _number(tick) for tick in seen}
    for tick, name in labels.items():
        marks.append(Text((x_of(tick), box[3] + 18), name, SIZE, MUTED, "middle"))
    marks.append(Text((MARGIN, MARGIN), down, SIZE, MUTED))
    marks.append(Text(((box[0] + box[2]) / 2, box[3] + 38), across, SIZE, MUTED, "middle"))
    for number, (x, y) in enumerate(series.values()):
        color = SERIES[number % len(SERIES)]
        known = np.isfinite(np.asarray(y, float))
        points = [
            (x_of(a), y_of(b))
            for a, b in zip(np.asarray(x)[known], np.asarray(y)[known], strict=True)
        ]
        marks += [_dot(point, color) for point in points] if dots else [Polyline(points, color, 2)]
    more, bottom = _write_legend(series, box[3] + 62)
    below, bottom = write_below(WIDTH, bottom, caption)
    return Drawing(bottom + MARGIN, [*marks, *more, *below])


def draw_bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    caption: Sequence[str] = (),
    write: Callable[[float], str] = percent,
) -> Drawing:
    """Draw bars from left to right: for each name one of each series.

    Args:
        names: what the bars are of.
        series: lengths by what they show.
        write: how a length is written.
    """
    high, gap = BAR + 4, 10.0
    left = MARGIN + min(320.0, _widest(names) + 10)
    longest = max((value for values in series.values() for value in values), default=1.0) or 1.0
    marks: list[Mark] = []
    top = MARGIN
    for place, name in enumerate(names):
        middle = top + len(series) * high / 2 + 4
        short = shorten(name, SIZE, left - MARGIN - 10)
        marks.append(Text((left - 10, middle), short, SIZE, INK, "end"))
        for number, values in enumerate(series.values()):
            end = left + (WIDTH - left - MARGIN - 70) * max(values[place], 0) / longest
            color = SERIES[number % len(SERIES)]
            middle = top + high / 2
            marks.append(Polyline([(left, middle), (max(end, left + 1), middle)], color, BAR))
            label = write(values[place])
            marks.append(Text((end + 6, middle + 4), label, SIZE, MUTED))
            top += high
        top += gap
    more, top = _write_legend(series, top + 6) if len(series) > 1 else ([], top)
    below, bottom = write_below(WIDTH, top, caption)
    return Drawing(bottom + MARGIN, [*marks, *more, *below])


def find_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Find round numbers that enclose a span.

    >>> find_ticks(0.0, 0.83)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * times for times in (1, 2, 5, 10) if span / (step * times) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


class _Axis:
    """A number's place on the drawing."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.span = low, (high - low) or 1.0
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (float(value) - self.low) / self.span * (self.end - self.start)


def _dot(point: tuple[float, float], color: Color) -> Mark:
    x, y = point
    return Polyline([(x - 3, y), (x + 3, y)], color, 6, 0.8)


def _write_legend(series: Mapping[str, object], top: float) -> tuple[list[Mark], float]:
    """Write the names of series beside their colours."""
    marks: list[Mark] = []
    left = MARGIN
    for number, name in enumerate(series):
        wide = font(100).getlength(name) / 100 * SIZE + 44
        if left > MARGIN and left + wide > WIDTH - MARGIN:
            left, top = MARGIN, top + 1.6 * SIZE
        color = SERIES[number % len(SERIES)]
        marks.append(Polyline([(left, top - 4), (left + 18, top - 4)], color, 4))
        marks.append(Text((left + 24, top), name, SIZE))
        left += wide
    return marks, top + CAPTION


def _widest(names: Sequence[str]) -> float:
    return max((font(100).getlength(name) / 100 * SIZE for name in names), default=0.0)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
