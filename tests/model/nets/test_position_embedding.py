"""Position codes against the formula, one number at a time."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.nets.position_embedding import (
    LearnedPositions,
    SinusoidalPositions,
    make_positions,
    sinusoidal_code,
)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 40).map(lambda half: 2 * half))
def test_sinusoidal_code_is_the_formula(length, dim):
    code = sinusoidal_code(length, dim)
    assert code.shape == (length, dim)
    assert code.dtype == torch.float64
    for i in range(length):
        for j in range(dim // 2):
            angle = i / 10000 ** (2 * j / dim)
            assert code[i, 2 * j].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert code[i, 2 * j + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_far_positions_keep_float32_precision():
    module = SinusoidalPositions(5000, 128)
    assert module.code.dtype == torch.float32
    assert (module.code.double() - sinusoidal_code(5000, 128)).abs().max() < 1e-7


def test_sinusoidal_positions_have_nothing_to_save_or_learn():
    module = SinusoidalPositions(6, 4)
    assert not module.state_dict()
    assert not list(module.parameters())


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_the_code_is_added(kind):
    module = make_positions(kind, 6, 4)
    tokens = torch.randn(2, 6, 4)
    assert torch.equal(module(tokens), tokens + module.code)


def test_none_adds_nothing():
    tokens = torch.randn(2, 6, 4)
    assert torch.equal(make_positions("none", 6, 4)(tokens), tokens)


def test_learned_positions_start_small_and_learn():
    code = LearnedPositions(50, 64).code
    assert code.requires_grad
    assert code.abs().max() <= 0.04
    assert 0.015 < code.std() < 0.02


@pytest.mark.parametrize(
    ("length", "dim", "sentence"),
    [(4, 7, "7 is not, 8 would be"), (4, 0, "even"), (0, 8, "at least one"), (-3, 8, "-3")],
)
def test_bad_sizes_are_sentences(length, dim, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_positions("sinusoidal", length, dim)


def test_other_errors_are_sentences():
    with pytest.raises(ValueError, match="at least one position"):
        make_positions("learned", 0, 8)
    with pytest.raises(ValueError, match="learned, sinusoidal, none"):
        make_positions("rotary", 4, 8)
