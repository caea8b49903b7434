"""Multi-head attention against explicit matrices and against torch's own module."""

import math

import pytest
import torch
from torch import nn

from model.nets.attention import MultiHeadAttention


def eager(layer, tokens, memory=None, bias=0.0, divisor=None, gain=1.0):
    """The layer's output from one explicit matrix a head."""
    memory = tokens if memory is None else memory
    query, key, value = layer.query(tokens), layer.key(memory), layer.value(memory)
    size = query.shape[-1] // layer.heads
    divisor = math.sqrt(size) if divisor is None else divisor
    heads = []
    for h in range(layer.heads):
        own = slice(h * size, (h + 1) * size)
        scores = query[..., own] @ key[..., own].transpose(1, 2) / divisor + bias
        heads.append(torch.softmax(scores, dim=-1) * gain @ value[..., own])
    return layer.proj(torch.cat(heads, dim=-1))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@torch.no_grad()
def test_self_attention_equals_explicit_matrices():
    layer = MultiHeadAttention(24, 3).eval()
    tokens = torch.randn(2, 7, 24)
    assert torch.allclose(layer(tokens), eager(layer, tokens), atol=1e-6)


@torch.no_grad()
def test_scores_can_be_divided_by_the_whole_width():
    layer = MultiHeadAttention(24, 3, scale_by="width").eval()
    tokens = 5 * torch.randn(2, 7, 24)
    assert torch.allclose(layer(tokens), eager(layer, tokens, divisor=math.sqrt(24)), atol=1e-5)
    assert not torch.allclose(layer(tokens), eager(layer, tokens), atol=1e-3)


@torch.no_grad()
def test_the_division_can_come_after_the_softmax():
    layer = MultiHeadAttention(24, 3, scale_by="after_softmax").eval()
    tokens = torch.randn(2, 7, 24)
    expected = eager(layer, tokens, divisor=1.0, gain=24**-0.5)
    assert torch.allclose(layer(tokens), expected, atol=1e-6)


@torch.no_grad()
def test_memory_of_another_width_and_length():
    layer = MultiHeadAttention(24, 4, memory_dim=10).eval()
    tokens, memory = torch.randn(2, 5, 24), torch.randn(2, 9, 10)
    assert layer(tokens, memory).shape == (2, 5, 24)
    assert torch.allclose(layer(tokens, memory), eager(layer, tokens, memory), atol=1e-6)


@torch.no_grad()
def test_masks_of_both_kinds():
    layer = MultiHeadAttention(24, 3).eval()
    tokens = torch.randn(2, 6, 24)
    allowed = torch.rand(6, 6) > 0.4
    allowed.fill_diagonal_(True)
    bias = torch.zeros(6, 6).masked_fill(~allowed, -torch.inf)
    expected = eager(layer, tokens, bias=bias)
    assert torch.allclose(layer(tokens, mask=allowed), expected, atol=1e-6)
    assert torch.allclose(layer(tokens, mask=bias), expected, atol=1e-6)


@torch.no_grad()
def test_a_causal_token_does_not_see_later_ones():
    layer = MultiHeadAttention(24, 3).eval()
    tokens = torch.randn(1, 6, 24)
    changed = tokens.clone()
    changed[:, 4:] += 1
    before, after = layer(tokens, causal=True), layer(changed, causal=True)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_agrees_with_torch(bias):
    layer = MultiHeadAttention(32, 4, qkv_bias=bias, out_bias=bias).eval()
    reference = nn.MultiheadAttention(32, 4, bias=bias, batch_first=True).eval()
    parts = (layer.query, layer.key, layer.value)
    reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    reference.out_proj.weight.copy_(layer.proj.weight)
    if bias:
        reference.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        reference.out_proj.bias.copy_(layer.proj.bias)
    tokens, memory = torch.randn(2, 5, 32), torch.randn(2, 8, 32)
    expected, _ = reference(tokens, memory, memory)
    assert torch.allclose(layer(tokens, memory), expected, atol=1e-6)


def test_dropout_only_in_training():
    layer = MultiHeadAttention(24, 3, dropout=0.5)
    tokens = torch.randn(2, 7, 24)
    assert not torch.equal(layer(tokens), layer(tokens))
    layer.eval()
    assert torch.equal(layer(tokens), layer(tokens))


def test_errors_say_what_would_do():
    with pytest.raises(ValueError, match="1, 2, 3, 4, 6, 8, 12, 24 heads would do"):
        MultiHeadAttention(24, 5)
    with pytest.raises(ValueError, match="positive"):
        MultiHeadAttention(24, 0)
    with pytest.raises(ValueError, match="head, width, after_softmax"):
        MultiHeadAttention(24, 3, scale_by="dim")
    with pytest.raises(ValueError, match="either mask or causal"):
        MultiHeadAttention(24, 3)(torch.zeros(1, 2, 24), mask=torch.zeros(2, 2), causal=True)
