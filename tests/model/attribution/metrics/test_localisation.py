"""Maps against boxes and masks."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.attribution.metrics.localisation import (
    box_mask,
    chance_iou,
    iou,
    iou_at_share,
    mass_mask,
    peak_inside,
)


def test_the_mass_mask_is_the_smallest_that_suffices():
    maps = torch.tensor([[[0.5, 0.1], [0.3, 0.1]]])
    assert mass_mask(maps, 0.5).tolist() == [[[True, False], [False, False]]]
    assert mass_mask(maps, 0.6).tolist() == [[[True, False], [True, False]]]
    assert mass_mask(maps, 1.0).all()
    assert not mass_mask(torch.zeros(1, 2, 2)).any()
    with pytest.raises(ValueError, match="share"):
        mass_mask(maps, 1.5)


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_the_mass_mask_holds_its_mass_and_not_a_patch_more(seed, mass):
    maps = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(seed)).double() + 1e-3
    for values, mask in zip(maps, mass_mask(maps, mass), strict=True):
        held = values[mask].sum() / values.sum()
        assert held >= mass - 1e-5
        assert held - values[mask].min() / values.sum() < mass
        assert mask.all() or values[mask].min() >= values[~mask].max()


def test_a_box_on_the_grid():
    boxes = torch.tensor([[0, 0, 8, 4], [3, 1, 5, 3], [2, 2, 10, 8]])
    masks = box_mask(boxes, size=(8, 12), grid=(2, 3))
    assert masks[0].tolist() == [[True, True, False], [False, False, False]]
    assert not masks[1].any()
    assert masks[2].tolist() == [[False, True, False], [True, True, True]]


def test_overlap():
    one = torch.tensor([[[True, True], [False, False]], [[False, False], [False, False]]])
    other = torch.tensor([[[True, False], [True, False]], [[False, False], [False, False]]])
    assert iou(one, other).tolist() == [pytest.approx(1 / 3), 0.0]


def test_the_peaks_middle_lies_in_a_box():
    maps = torch.zeros(3, 2, 4)
    maps[0, 1, 2] = maps[1, 0, 0] = maps[2, 1, 2] = 1
    boxes = torch.tensor([[0.6, 0.7, 0.63, 0.76], [0.125, 0.25, 0.2, 0.3], [0.0, 0.0, 0.625, 1]])
    # the middle of row 1, column 2 is (0.625, 0.75); a right edge is outside, a left one inside
    assert peak_inside(maps, boxes, (1, 1)).tolist() == [True, True, False]
    pixels = torch.tensor([[20, 12, 21, 13]] * 3)
    assert peak_inside(maps, pixels, (16, 32)).tolist() == [True, False, True]
    empty, all_of_it = torch.zeros(1, 2, 4), torch.tensor([[0, 0, 1, 1]])
    assert peak_inside(empty, all_of_it, (1, 1)).tolist() == [False]


def test_overlap_with_as_many_patches_as_the_mask_has():
    maps = torch.tensor([[[9.0, 8, 7], [1, 2, 3]], [[0.0, 0, 0], [0, 5, 0]]])
    masks = torch.tensor([[[1, 1, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]]).bool()
    assert iou_at_share(maps, masks).tolist() == [2 / 4, 1]
    assert iou_at_share(maps, torch.zeros(2, 2, 3, dtype=torch.bool)).tolist() == [0, 0]


@pytest.mark.parametrize(("chosen", "patches"), [(1, 5), (3, 6), (6, 6), (4, 7)])
def test_chance_is_the_mean_over_all_choices(chosen, patches):
    ours = set(range(chosen))
    found = [
        len(ours & set(theirs)) / len(ours | set(theirs))
        for theirs in combinations(range(patches), chosen)
    ]
    assert chance_iou(chosen, patches) == pytest.approx(sum(found) / len(found), abs=1e-12)
    assert chance_iou(0, patches) == 0
