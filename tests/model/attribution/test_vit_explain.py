"""vit-explain's figures, worked out by hand from its formula on three tokens."""

from __future__ import annotations

import pytest
import torch

from model.attribution.vit_explain import vit_explain_gradient_rollout, vit_explain_rollout


def layer(*rows: list[float]) -> torch.Tensor:
    """One image, one head."""
    return torch.tensor(rows)[None, None]


# Of nine values the int(9 * 0.4) = 3 smallest go: 0.05, 0.10 and 0.15, which leaves
# (F + I) / 2 = [.775 .15 0], [0 .825 .125], [.1 0 .875] with row sums .925, .95 and .975.
# Dividing column j by row sum j: [.775/.925 .15/.95 0], [0 .825/.95 .125/.975], ...
ATTENTION = layer([0.55, 0.30, 0.15], [0.10, 0.65, 0.25], [0.20, 0.05, 0.75])


def test_one_layer():
    mask = vit_explain_rollout([ATTENTION], discard=0.4)
    torch.testing.assert_close(mask, torch.tensor([[1.0, 0.0]]))


def test_two_layers():
    mask = vit_explain_rollout([ATTENTION, ATTENTION], discard=0.4)
    second = 0.15 / 0.95 * (0.775 / 0.925 + 0.825 / 0.95)
    third = 0.15 / 0.95 * (0.125 / 0.975)
    torch.testing.assert_close(mask, torch.tensor([[1.0, third / second]]))


def test_the_first_entry_is_never_discarded():
    # All but 0 of int(9 * 0.99) = 8 go: the largest value, and the protected 0.01.
    attention = layer([0.01, 0.19, 0.80], [0.3, 0.3, 0.4], [0.2, 0.3, 0.5])
    mask = vit_explain_rollout([attention, attention], discard=0.99)
    # (F + I) / 2 = [.505 0 .4], [0 .5 0], [0 0 .5]; row sums .905, .5, .5.
    # R[0, 2] = .505/.905 * .8 + .8 * 1, and R[0, 1] = 0.
    torch.testing.assert_close(mask, torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize(("fusion", "expected"), [("mean", 0.4), ("max", 0.6), ("min", 0.2)])
def test_heads_are_fused(fusion, expected):
    heads = torch.cat([layer(*[[0.2, 0.2, 0.6]] * 3), layer(*[[0.2, 0.6, 0.2]] * 3)], 1)
    heads[0, 0, 0] = torch.tensor([0.0, 0.2, 0.8])
    heads[0, 1, 0] = torch.tensor([0.0, 0.6, 0.4])
    mask = vit_explain_rollout([heads], fusion, discard=0.0)
    other = {"mean": 0.6, "max": 0.8, "min": 0.4}[fusion]
    sums = {"mean": (1.0, 1.0), "max": (1.4, 1.4), "min": (0.6, 0.6)}[fusion]
    # Columns 1 and 2 are divided by the row sums of rows 1 and 2, (sum + 1) / 2.
    ratio = (expected / (sums[0] + 1)) / (other / (sums[1] + 1))
    torch.testing.assert_close(mask, torch.tensor([[ratio, 1.0]]))


def test_gradients_before_the_softmax_in_backward_order():
    first = layer(*[[0.5, 0.25, 0.25]] * 3)
    second = layer(*[[0.25, 0.25, 0.5]] * 3)
    gradient_first, gradient_second = torch.zeros(2, 1, 1, 3, 3)
    gradient_first[0, 0, 0, 1] = 8.0
    gradient_second[0, 0, 0, 2] = 4.0
    # Before the softmax: A (G − Σ A G) = [-1 1.5 -.5] in the first layer, [-.5 -.5 1] in the
    # second. The first layer's attention meets the second's: relu = [0 0 .25], and the second's
    # the first's: [0 .375 0]. With (F + I) / 2 and columns divided by row sums the rows become
    # [.8 0 .25] and [.5/.6875 .375 0], and R[0] = [. .375 .25 * .5/.6875].
    mask = vit_explain_gradient_rollout(
        [first, second], [gradient_first, gradient_second], discard=0.0
    )
    torch.testing.assert_close(mask, torch.tensor([[1.0, 16 / 33]]))


def test_a_batch_is_its_images_one_by_one():
    attention = torch.rand(4, 3, 2, 5, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    batch = vit_explain_rollout(list(attention), "max", 0.7)
    for i in range(3):
        alone = vit_explain_rollout([a[i : i + 1] for a in attention], "max", 0.7)
        torch.testing.assert_close(alone[0], batch[i])
