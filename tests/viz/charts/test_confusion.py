"""Charts of right and wrong answers hold every count, and say it in words."""

import numpy as np
import pytest

from viz.charts.confusion import class_bars, class_dots, confusion_grid, full_grid
from viz.charts.learning_curve import learning_curve

NAMES = ["cat", "dog", "fox"]
COUNTS = np.array([[80, 15, 5], [0, 9, 1], [0, 0, 0]])  # no fox was tested


def many(classes=200, seed=0):
    random = np.random.default_rng(seed)
    counts = np.zeros((classes, classes), int)
    for true in range(classes):
        for taken in random.integers(0, classes, 12):
            counts[true, taken] += 1
        counts[true, true] += random.integers(0, 20)
    return counts, [f"class {i}" for i in range(classes)]


def test_right_answers_and_mistakes_are_apart():
    mistakes, right, numbers = confusion_grid(COUNTS, NAMES, ink="#123456").data
    assert np.isnan(np.asarray(mistakes.z)).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert (~np.isnan(np.asarray(right.z))).tolist() == np.eye(3, dtype=bool).tolist()
    np.testing.assert_allclose(np.asarray(mistakes.z)[0, 1:], [0.15, 0.05])
    assert mistakes.zmax == pytest.approx(0.15)  # the largest mistake, not the right answers
    assert numbers.text == ("80", "15", "5", "", "90", "10", "", "", "")
    assert numbers.textfont.color == "#123456"


def test_rows_are_the_true_classes_the_first_on_top():
    figure = confusion_grid(COUNTS, NAMES)
    mistakes = figure.data[0]
    assert mistakes.text[0][1] == "cat, taken for dog: 15 of 100 (15.0 %)"
    assert figure.data[1].text[1][1] == "dog, right: 9 of 10 (90.0 %)"
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.yaxis.ticktext == tuple(NAMES) == figure.layout.xaxis.ticktext
    x, y = np.asarray(figure.data[2].x), np.asarray(figure.data[2].y)
    assert (x[1], y[1]) == (1, 0)


def test_the_full_grid_has_a_dot_for_every_count():
    counts, names = many()
    figure = full_grid(counts, names)
    found = {
        (int(y), int(x)): text
        for trace in figure.data
        for x, y, text in zip(trace.x, trace.y, trace.text, strict=True)
    }
    assert set(found) == set(zip(*(axis.tolist() for axis in counts.nonzero()), strict=True))
    row, column = next(at for at in found if at[0] != at[1])
    assert found[row, column].startswith(f"class {row}, taken for class {column}: ")
    mistakes, right = figure.data
    assert all(x != y for x, y in zip(mistakes.x, mistakes.y, strict=True))
    assert list(right.x) == list(right.y)


def test_every_tested_class_is_a_dot_in_falling_order():
    counts, names = many()
    counts[7] = 0
    (dots,) = class_dots(counts, names).data
    assert len(dots.y) == 199 and (np.diff(dots.y) <= 0).all()
    accuracy = {name: counts[i, i] / max(1, counts[i].sum()) for i, name in enumerate(names)}
    for text, value in zip(dots.text, dots.y, strict=True):
        assert value == pytest.approx(100 * accuracy[text.partition(",")[0]])


def test_bars_name_the_best_and_the_worst():
    counts, names = many()
    figure = class_bars(counts, names, most=5)
    shown, accuracy = figure.layout.yaxis.ticktext, counts.diagonal() / counts.sum(1)
    found = [accuracy[names.index(name)] for name in shown]
    assert sorted(found[:5]) == sorted(accuracy)[-5:]
    assert sorted(found[5:]) == sorted(accuracy)[:5]
    assert np.diff(figure.data[0].y).tolist() == [1, 1, 1, 1, 2, 1, 1, 1, 1]


def test_a_few_classes_are_named_once_each():
    assert sorted(class_bars(COUNTS, NAMES, most=5).layout.yaxis.ticktext) == ["cat", "dog"]


def test_nothing_counted_and_nothing_wrong_still_draw():
    for counts in (np.zeros((3, 3), int), np.diag([1, 2, 3])):
        assert all(draw(counts, NAMES) for draw in (confusion_grid, full_grid, class_dots))


def test_lines_have_epochs_of_their_own():
    figure = learning_curve({"training": [(1, 0.1), (2, 0.2)], "test": [(2, 0.3)], "none": []})
    assert [(trace.name, trace.x, trace.y) for trace in figure.data][:2] == [
        ("training", (1, 2), (10.0, 20.0)),
        ("test", (2,), (30.0,)),
    ]
    assert figure.layout.yaxis.ticksuffix == " %"
