"""k-means against a dense computation in float64."""

import itertools

import numpy as np
import pytest
import torch

from model.features.groups import group_tokens


def inertia(vectors, labels):
    parts = [vectors[labels == label] for label in np.unique(labels)]
    return sum(((part - part.mean(0)) ** 2).sum() for part in parts)


def test_it_finds_the_best_of_all_groupings():
    tokens = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(tokens[0].double(), dim=1).numpy()
    groupings = itertools.product(range(2), repeat=9)
    best = min(inertia(unit, np.array(labels)) for labels in groupings)
    found = group_tokens(tokens, 2)[0].numpy()
    assert inertia(unit, found) == pytest.approx(best, abs=1e-9)


def test_each_vector_is_nearest_to_its_own_group_s_mean():
    tokens = torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(2))
    unit = torch.nn.functional.normalize(tokens.flatten(0, 1).double(), dim=1)
    labels = group_tokens(tokens, 5).flatten()
    means = torch.stack([unit[labels == group].mean(0) for group in range(5)])
    assert torch.equal(torch.cdist(unit, means).argmin(1), labels)
    sizes = labels.bincount()
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_a_seed_finds_the_same_groups_and_equal_vectors_are_one():
    tokens = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(group_tokens(tokens, 4), group_tokens(tokens, 4))
    assert group_tokens(torch.ones(1, 6, 2), 3).unique().tolist() == [0]
    with pytest.raises(ValueError, match="6 tokens cannot make 7"):
        group_tokens(torch.ones(1, 6, 2), 7)
