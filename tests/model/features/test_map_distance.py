"""Distances of maps against closed forms."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

from model.features import compare_maps
from model.features.map_distance import jensen_shannon


def test_two_maps_on_two_patches_in_closed_form():
    p, q = 0.9, 0.3
    far = compare_maps(torch.tensor([[[p, 1 - p]]]), torch.tensor([[[q, 1 - q]]]))

    def entropy(x):
        return -x * math.log(x) - (1 - x) * math.log(1 - x)

    wanted = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    assert far.divergence.item() == pytest.approx(wanted, abs=1e-7)
    assert far.difference.flatten().tolist() == pytest.approx([0.6, -0.6], abs=1e-6)
    assert far.correlation.item() == pytest.approx(-1)


def test_a_map_beside_itself_differs_by_zero_everywhere():
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1))
    far = compare_maps(maps, maps * 7)
    assert far.difference.abs().max() < 1e-8
    assert far.divergence.abs().max() < 1e-12
    torch.testing.assert_close(far.correlation, torch.ones(3).double())
    assert not compare_maps(maps, maps).difference.any()


def test_both_numbers_are_scipy_s_with_equal_values_too():
    a, b = torch.randint(1, 9, (2, 3, 5, 6), generator=torch.Generator().manual_seed(2)).float()
    far = compare_maps(a, b)
    for index in range(3):
        one, other = (maps[index].flatten().numpy() for maps in (a, b))
        wanted = jensenshannon(one, other) ** 2  # scipy divides by the sums, and takes the root
        assert far.divergence[index].item() == pytest.approx(wanted, abs=1e-7)
        wanted = spearmanr(one, other).statistic
        assert far.correlation[index].item() == pytest.approx(wanted, abs=1e-9)


def test_maps_that_share_no_patch_are_ln_2_apart():
    p = torch.tensor([0.25, 0.75, 0.0, 0.0]).double()
    assert jensen_shannon(p, p.flip(0)).item() == pytest.approx(math.log(2))


def test_grids_of_different_size_cover_the_same_image():
    coarse = torch.tensor([[[1.0, 3.0]]])
    fine = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)
    far = compare_maps(coarse, fine)
    assert far.difference.shape == (1, 3, 6) and far.difference.abs().max() < 1e-12


@pytest.mark.parametrize("bad", [torch.zeros(1, 2, 2), torch.tensor([[[-1.0, 2.0]]])])
def test_what_is_no_map_is_a_sentence(bad):
    with pytest.raises(ValueError, match="negative"):
        compare_maps(bad, torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="rows, columns"):
        compare_maps(torch.ones(2, 2), torch.ones(1, 2, 2))
