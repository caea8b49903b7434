"""Colours of patches."""

import numpy as np

from viz.pictures.colors import lookup_table
from viz.pictures.feature_paint import (
    GROUP_COLORS,
    paint_components,
    paint_groups,
    paint_mask,
    paint_values,
)


def test_components_stretch_over_what_is_shown():
    coordinates = np.array([[0.0, 1, 2], [1.0, 1, 4], [9.0, 9, 9]], np.float32)
    painted = paint_components(coordinates, np.array([True, True, False]))
    assert painted[0, :3].tolist() == [0, 0, 0] and painted[1, :3].tolist() == [255, 0, 255]
    assert painted[:, 3].tolist() == [235, 235, 0]
    assert not paint_components(coordinates, np.zeros(3, bool))[:, 3].any()


def test_values_take_the_colours_of_the_scale():
    painted = paint_values(np.array([1.0, 3.0]), 1.0, 3.0, "viridis")
    assert painted[:, :3].tolist() == lookup_table("viridis")[[0, 255]].tolist()
    assert paint_values(np.ones(2), 1.0, 1.0, "viridis").shape == (2, 4)


def test_groups_and_masks():
    assert paint_groups(np.array([0, 9]))[:, :3].tolist() == GROUP_COLORS[[0, 1]].tolist()
    assert (paint_mask(np.array([True, False]))[:, 3] > 0).tolist() == [False, True]
