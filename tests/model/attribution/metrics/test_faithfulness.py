"""Deletion, insertion and perturbation on nets whose answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.attribution.baselines import make_baseline
from model.attribution.metrics.faithfulness import (
    area_under,
    deletion,
    insertion,
    most_relevant,
    perturbation,
    rank_patches,
)
from model.tokens import TokenLayout

LAYOUT = TokenLayout((2, 5), patch=(4, 4))
WHITE = torch.ones(1, 3, 8, 20)


def seen(images):
    """Two classes; the logit of class 1 says how much of the picture is white."""
    share = images.mean((1, 2, 3))
    return torch.stack([torch.zeros_like(share), torch.logit(share.clamp(1e-6, 1 - 1e-6))], 1)


def test_the_curves_of_a_net_that_measures_white():
    maps = torch.rand(1, 2, 5)
    gone = deletion(seen, WHITE, maps, 1, LAYOUT, "zeroed", steps=10)
    shown = insertion(seen, WHITE, maps, 1, LAYOUT, "zeroed", steps=10)
    line = torch.linspace(0, 1, 11)
    torch.testing.assert_close(shown.probability[0], line, atol=1e-4, rtol=0)
    torch.testing.assert_close(gone.probability[0], 1 - line, atol=1e-4, rtol=0)
    assert shown.area.item() == pytest.approx(0.5, abs=1e-4)


def test_the_order_is_the_maps():
    """A net that looks at one patch drops as soon as that one is gone."""
    maps = torch.zeros(1, 2, 5)
    maps[0, 1, 3] = 1

    def one_patch(images):
        value = images[:, :, 4:, 12:16].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(value), 20 * value - 10], 1)

    gone = deletion(one_patch, WHITE, maps, 1, LAYOUT, "zeroed")
    assert gone.answered[0].tolist() == [True] + [False] * 10
    shown = insertion(one_patch, WHITE, maps, 1, LAYOUT, "zeroed")
    assert shown.answered[0].tolist() == [False] + [True] * 10
    assert [float(p) for p in perturbation(gone, shown)] == [0.0, 1.0]
    worst = deletion(one_patch, WHITE, 1 - maps, 1, LAYOUT, "zeroed")
    assert worst.answered[0].tolist() == [True] * 10 + [False]


def test_a_rim_that_no_patch_covers_shifts_nothing():
    """A net that cuts a picture of 10 x 23 pixels into 2 x 5 patches of 4 leaves the rim unseen."""
    maps = torch.rand(1, 2, 5, generator=torch.Generator().manual_seed(0))
    with_rim = torch.ones(1, 3, 10, 23)

    def covered(images):
        return seen(LAYOUT.covered(images))

    for measure in (deletion, insertion):
        expected = measure(seen, WHITE, maps, 1, LAYOUT, "zeroed")
        found = measure(covered, with_rim, maps, 1, LAYOUT, "zeroed")
        torch.testing.assert_close(found.logprob, expected.logprob)


def test_ends_are_the_picture_and_the_baseline():
    torch.manual_seed(0)
    images, maps = torch.randn(3, 3, 8, 20), torch.rand(3, 2, 5)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(480, 4))
    with torch.no_grad():
        whole = net(images).softmax(1)
        empty = net(make_baseline(images, "blurred", LAYOUT)).softmax(1)
    classes = [0, 1, 3]
    gone = deletion(net, images, maps, classes, LAYOUT, steps=7)
    shown = insertion(net, images, maps, classes, LAYOUT, steps=7)
    for i, c in enumerate(classes):
        torch.testing.assert_close(
            gone.probability[i, [0, -1]], torch.stack([whole[i, c], empty[i, c]])
        )
        torch.testing.assert_close(
            shown.probability[i, [0, -1]], torch.stack([empty[i, c], whole[i, c]])
        )
        alone = deletion(net, images[i : i + 1], maps[i : i + 1], c, LAYOUT, steps=7)
        torch.testing.assert_close(alone.probability[0], gone.probability[i])


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_masks_grow_by_the_most_relevant(seed, steps):
    maps = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    masks = most_relevant(maps, torch.linspace(0, 1, steps + 1))
    assert not masks[:, 0].any() and masks[:, -1].all()
    for less, more in zip(masks.unbind(1), masks.unbind(1)[1:], strict=False):
        assert (more | ~less).all(), "what is in stays in"
        for i in range(2):
            if less[i].any() and not less[i].all():
                assert maps[i][less[i]].min() >= maps[i][~less[i]].max()


def test_equal_patches_come_in_no_particular_order():
    order = rank_patches(torch.zeros(2, 4, 4))
    assert order[0].tolist() == order[1].tolist() != list(range(16))
    assert sorted(order[0].tolist()) == list(range(16))


def test_area_is_that_of_trapezia():
    assert float(area_under(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.5, 1.0]))) == 0.5
