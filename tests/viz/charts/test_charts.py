"""What the plotly figures show is what they were given."""

import numpy as np
import pytest

from viz.charts.bars import cost_bars, share_bars
from viz.charts.curves import curves
from viz.charts.heatmap import heatmap
from viz.charts.scatter import SPREAD, head_scatter


def test_a_heatmap_has_its_first_row_on_top_and_counts_from_where_it_is_told():
    values = np.arange(6.0).reshape(2, 3)
    figure = heatmap(
        values, "Column", "Row", "%{z}", first=1, square=True, marked=(2, 3), line_at=1
    )
    (trace,) = figure.data
    np.testing.assert_array_equal(trace.z, values)
    assert (trace.x0, trace.y0) == (1, 1)
    assert figure.layout.yaxis.autorange == "reversed"
    box = figure.layout.shapes[0]
    assert (box.x0, box.x1, box.y0, box.y1) == (2.5, 3.5, 1.5, 2.5)


def test_curves_are_named_and_in_order():
    figure = curves({"one": [1, 2], "two": [3, 4]}, "Position", "Value", marked=1)
    assert [trace.name for trace in figure.data] == ["one", "two"]
    np.testing.assert_array_equal(figure.data[1].y, [3, 4])
    assert figure.layout.showlegend and len(figure.layout.shapes) == 1
    assert not curves({"one": [1]}, "Position", "Value").layout.showlegend


def test_every_head_is_a_dot_in_its_layer():
    values = np.array([[1.0, 2.0], [3.0, np.nan]])
    kinds = [["a", "b"], ["a", None]]
    figure = head_scatter(values, kinds, {"a": "A", "b": "B"}, "Distance", " px", 2.0, (1, 0))
    dots = {
        tuple(data): (x, y)
        for trace in figure.data
        if trace.customdata is not None
        for data, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }
    assert set(dots) == {(1, 1), (1, 2), (2, 1)}
    for (layer, head), (x, y) in dots.items():
        assert abs(x - layer) <= SPREAD + 1e-9
        assert y == values[layer - 1, head - 1]
    circled = figure.data[-1]
    assert circled.y == (3.0,)


def test_layers_have_their_own_numbers_and_dots_their_place():
    figure = head_scatter(
        np.ones((2, 1)), [["a"], ["a"]], {"a": "A"}, "Distance", "", numbers=(6, 12)
    )
    (trace,) = figure.data
    assert trace.text == ("6", "12") and "Layer %{text}" in trace.hovertemplate
    assert [list(place) for place in trace.customdata] == [[1, 1], [2, 1]]
    assert figure.layout.xaxis.ticktext == ("6", "12")
    assert figure.layout.xaxis.tickvals == trace.x == (1, 2)


def test_one_head_stands_in_the_middle():
    figure = head_scatter(np.ones((1, 1)), [["a"]], {"a": "A"}, "Distance", "")
    assert figure.data[0].x == (1.0,)


def test_bars_stack_linear_and_quadratic():
    figure = cost_bars({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 4.0}, "Operations")
    assert figure.layout.barmode == "stack"
    assert [trace.x for trace in figure.data] == [(1.0, 2.0), (0.5, 4.0)]


def test_shares_stand_above_what_they_are_held_against():
    figure = share_bars({"map": 0.5}, {"chance": 0.25, "centre": 0.75})
    assert [(bar.y, bar.x) for bar in figure.data] == [
        (("map",), (0.5,)),
        (("chance", "centre"), (0.25, 0.75)),
    ]
    assert figure.data[0].text == ("50.0 %",)
    assert figure.data[0].marker.color != figure.data[1].marker.color
    assert figure.layout.yaxis.autorange == "reversed"


@pytest.mark.parametrize("length", [1, 50])
def test_short_lines_have_dots(length):
    (trace,) = curves({"a": np.zeros(length)}, "x", "y").data
    assert ("markers" in trace.mode) == (length <= 40)
