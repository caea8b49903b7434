"""Rank correlation against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from model.attribution.metrics.agreement import agreement, rank_correlation, rank_values


@given(st.integers(0, 10_000))
def test_it_is_scipys(seed):
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randint(0, 6, (2, 3, 4), generator=generator).float()
    if one.unique().numel() < 2 or other.unique().numel() < 2:
        return
    np.testing.assert_allclose(rank_values(one.flatten()) + 1, rankdata(one.flatten()))
    expected = spearmanr(one.flatten(), other.flatten()).statistic
    assert float(rank_correlation(one, other)) == pytest.approx(expected)


def test_every_pair():
    maps = torch.rand(3, 2, 4)
    maps[2] = -maps[0]
    table = agreement(maps)
    assert table.diagonal().tolist() == pytest.approx([1.0] * 3)
    assert float(table[0, 2]) == pytest.approx(-1)
    torch.testing.assert_close(table, table.T)
    assert rank_correlation(torch.ones(2, 2), maps[0, :, :2]).isnan()
