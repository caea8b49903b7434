"""A filter, as a picture, is what the patch step answers to."""

import pytest
import torch

from model.analysis.patch_filters import find_patch_filters
from model.nets.vit import build

SMALL = {"img_size": 32, "patch_size": 8, "dim": 16, "depth": 1, "heads": 2, "num_classes": 3}


@pytest.mark.parametrize("embed", ["linear", "conv"])
def test_filters_of_whole_patches(embed):
    net = build("vit", embed=embed, **SMALL)
    filters = find_patch_filters(net, net.tokens)
    assert filters.whole and filters.weight.shape == (16, 3, 8, 8)
    image = torch.randn(1, 3, 32, 32)
    answer = net.embed(image)[0, net.tokens.grid[1] + 2]  # row 1, column 2
    patch = image[0, :, 8:16, 16:24]
    expected = (filters.weight * patch).sum((1, 2, 3)) + net.embed.proj.bias
    torch.testing.assert_close(answer, expected, atol=1e-4, rtol=1e-4)


def test_a_stem_shows_its_first_step_and_says_so():
    net = build("vit", embed="stem", stem=(8, 8, 16), **SMALL)
    filters = find_patch_filters(net, net.tokens)
    assert not filters.whole and filters.weight.shape == (8, 3, 3, 3)


def test_none_where_nothing_reads_pixels():
    assert find_patch_filters(torch.nn.Linear(3, 3), build("vit", **SMALL).tokens) is None
