"""Rotary codes against vectors that are turned."""

import pytest
import torch

from model.analysis.rotary_codes import grid_angles, rotary_score, rotate
from model.nets.sinusoids import angles


def test_turning_both_by_their_angles_leaves_only_their_difference():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    angle = angles(20, 8, 100.0)
    turned_query = rotate(query.expand(20, 8), angle)
    turned_key = rotate(key.expand(20, 8), angle)
    scores = turned_query @ turned_key.T
    for step in range(20):
        diagonal = scores.diagonal(step)
        assert (diagonal - diagonal[0]).abs().max() < 1e-12
    torch.testing.assert_close(turned_query.norm(dim=-1), query.norm().expand(20))


def test_the_rotary_score_is_that_of_vectors_of_ones():
    angle = grid_angles((4, 3), 12)
    turned = rotate(torch.ones(12, 12, dtype=torch.float64), angle)
    torch.testing.assert_close(rotary_score(angle, 5), turned @ turned[5] / 12)
    assert rotary_score(angle, 5)[5] == 1
    with pytest.raises(ValueError, match="four divides"):
        grid_angles((4, 3), 6)
