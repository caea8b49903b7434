import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.survey.exact_sums import ExactSums

# A distance in pixels, a share, a change of log-odds: what a survey sums, as float32.
VALUES = st.floats(-4096, 4096, width=32, allow_nan=False)


def summed(rows):
    sums = ExactSums((len(rows[0]),) if rows else (2,))
    if rows:
        sums.add(np.array(rows))
    return sums


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30), st.randoms())
def test_any_order_and_grouping_give_the_same_bits(rows, chance):
    shuffled, whole = chance.sample(rows, len(rows)), summed(rows)
    cut = chance.randint(0, len(rows))
    merged = summed(shuffled[cut:])
    merged.merge(summed(shuffled[:cut]))
    assert merged.to_json() == whole.to_json()
    assert merged.mean().tobytes() == whole.mean().tobytes()
    assert merged.deviation().tobytes() == whole.deviation().tobytes()


@given(st.lists(VALUES, min_size=2, max_size=30))
def test_mean_and_deviation_are_those_of_the_statistics_module(values):
    sums = ExactSums((1,))
    sums.add(np.array(values)[:, None])
    assert sums.mean() == pytest.approx(statistics.fmean(values), abs=2e-9)
    assert sums.deviation() == pytest.approx(statistics.pstdev(values), abs=1e-7, rel=1e-9)


def test_nothing_cancels_between_close_values():
    values = np.array([4096 + number / 1024 for number in range(4)])
    sums = ExactSums((1,))
    sums.add(values[:, None])
    assert sums.deviation() == statistics.pstdev(values.tolist())


def test_a_missing_value_is_not_counted():
    sums = ExactSums((3,))
    sums.add(np.array([[1.0, math.nan, math.nan], [3.0, 5.0, math.nan]]))
    assert sums.count.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(sums.mean(), [2.0, 5.0, math.nan])


def test_sums_pass_beyond_64_bits():
    sums = ExactSums((1,))
    for _ in range(8):
        sums.merge(sums)
        sums.add(np.full((1000, 1), 4e9))
    assert sums.mean() == 4e9
    assert ExactSums.from_json(sums.to_json()).total == sums.total


def test_infinite_measures_are_refused():
    with pytest.raises(ValueError, match="infinite"):
        ExactSums((1,)).add(np.array([[np.inf]]))
