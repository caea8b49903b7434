"""Rollout against the matrix product written out in float64."""

from __future__ import annotations

import pytest
import torch

from model.recorder import AttentionRecord
from model.rollout import rollout


def record(weights: torch.Tensor) -> AttentionRecord:
    return AttentionRecord("layer", "self", tuple(weights.shape), map=weights)


@pytest.mark.parametrize("layers", [1, 3, 12])
def test_uniform_attention_has_a_closed_form(layers):
    tokens = 11
    uniform = torch.full((1, 2, tokens, tokens), 1 / tokens)
    row = rollout([record(uniform)] * layers)
    assert torch.allclose(row[0, 1:], torch.tensor((1 - 2.0**-layers) / tokens), atol=1e-7)
