"""Heads laid out on a plane."""

import numpy as np
import pytest

from viz.charts.head_map import head_map, place_heads


def distances(places: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places[:, None] - places[None], axis=-1)


def test_points_of_a_plane_keep_their_distances():
    points = np.random.default_rng(0).uniform(0, 0.6, (20, 2))
    places, share = place_heads(1 - distances(points) ** 2)
    assert distances(places) == pytest.approx(distances(points), abs=1e-7)
    assert share == pytest.approx(1)


def test_a_head_that_is_not_compared_has_no_place():
    points = np.random.default_rng(1).uniform(0, 0.6, (6, 2))
    similarity = 1 - distances(points) ** 2
    similarity[2] = similarity[:, 2] = np.nan
    places, _ = place_heads(similarity)
    assert np.isnan(places[2]).all() and np.isfinite(np.delete(places, 2, 0)).all()


def test_too_few_heads_have_no_map():
    assert place_heads(np.eye(2))[1] == 0


def test_each_head_is_a_dot_of_its_kind():
    places = np.array([[0.0, 1], [2, 3], [np.nan, np.nan]])
    names = {"cls": "CLS", "content": "Content"}
    figure = head_map(places, [(0, 0), (0, 1), (1, 0)], ["cls", "content", "cls"], names, [4, 5], 1)
    first, second, chosen = figure.data
    assert list(first.customdata[0]) == [1, 1] and list(first.text) == ["4"]
    assert (second.x[0], second.y[0], second.name) == (2, 3, "Content")
    assert (chosen.x[0], chosen.y[0]) == (2, 3)
