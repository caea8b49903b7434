"""The recorder against attention written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.attention import MultiHeadAttention
from model.recorder import AttentionRecorder, NothingRecorded


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(MultiHeadAttention(32, 4) for _ in range(3))).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))


def test_output_is_unchanged_to_the_bit(net, tokens):
    plain = net(tokens)
    with AttentionRecorder(net):
        recorded = net(tokens)
    assert torch.equal(plain, recorded)


def test_weights_and_values_make_the_output(net, tokens):
    with AttentionRecorder(net) as recorder:
        net[0](tokens)
    record = recorder.records[0]
    assert (record.name, record.kind, record.shape) == ("0", "self", (2, 4, 7, 7))
    value = net[0].value(tokens).unflatten(-1, (4, -1)).transpose(1, 2)
    mixed = (record.weights() @ value).transpose(1, 2).flatten(2)
    assert torch.allclose(net[0].proj(mixed), net[0](tokens), atol=1e-6)


def test_nothing_recorded_names_what_was_looked_for():
    net = nn.Linear(4, 4)
    looked_for = pytest.raises(NothingRecorded, match="scaled_dot_product_attention")
    with looked_for, AttentionRecorder(net):
        net(torch.zeros(1, 4))
