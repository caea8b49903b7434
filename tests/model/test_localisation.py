"""Maps against boxes and masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.localisation import box_mask, mass_mask, overlap, points_at


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


def test_pointing():
    masks = torch.tensor([[[True, False], [False, False]]] * 2)
    maps = torch.tensor([[[0.9, 0.1], [0.2, 0.3]], [[0.1, 0.9], [0.2, 0.3]]])
    assert points_at(maps, masks).tolist() == [True, False]


def test_overlap():
    one = torch.tensor([[[True, True], [False, False]], [[False, False], [False, False]]])
    other = torch.tensor([[[True, False], [True, False]], [[False, False], [False, False]]])
    assert overlap(one, other).tolist() == [pytest.approx(1 / 3), 0.0]
