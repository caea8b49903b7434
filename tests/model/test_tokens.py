"""Images to patches and back, and the three patch embeddings."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model.nets.patch_embedding import ConvPatches, LinearPatches, StemPatches
from model.tokens import TokenLayout, grid_of, pair, patchify, unpatchify

sides = st.integers(1, 6)


@settings(deadline=None)
@given(sides, sides, sides, sides, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32))
def test_patches_turned_back_are_the_image_to_the_bit(rows, cols, p, q, channels, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, channels, rows * p, cols * q, generator=generator)
    patches = patchify(images, (p, q))
    assert patches.shape == (batch, rows * cols, channels * p * q)
    assert torch.equal(unpatchify(patches, (p, q), (rows, cols)), images)


@settings(deadline=None)
@given(sides, sides, sides, st.integers(1, 4))
def test_each_patch_is_cut_out_and_flattened_channel_first(rows, cols, p, channels):
    images = torch.arange(2 * channels * rows * cols * p * p).reshape(2, channels, rows * p, -1)
    patches = patchify(images, p)
    for row in range(rows):
        for col in range(cols):
            cut = images[:, :, row * p : (row + 1) * p, col * p : (col + 1) * p]
            assert torch.equal(patches[:, row * cols + col], cut.reshape(2, -1))


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 5))
def test_a_layout_finds_every_token(rows, cols, prefixes):
    layout = TokenLayout((rows, cols), tuple(f"reg{i}" for i in range(prefixes)), (4, 8))
    assert layout.patches == rows * cols
    assert layout.tokens == prefixes + rows * cols
    assert layout.image_size == (4 * rows, 8 * cols)
    assert range(layout.tokens)[layout.patch_slice] == range(prefixes, layout.tokens)
    for token in range(layout.tokens):
        position = layout.position_of(token)
        assert (position is None) == (token < prefixes)
        assert position is None or layout.index_of(*position) == token


def test_a_layout_has_nothing_outside():
    layout = TokenLayout((2, 3), ("cls",))
    for row, col in [(-1, 0), (2, 0), (0, 3), (0, -1)]:
        with pytest.raises(IndexError, match="2 rows and 3 columns"):
            layout.index_of(row, col)
    for token in (-1, 7):
        with pytest.raises(IndexError, match="from 0 to 6"):
            layout.position_of(token)


@torch.no_grad()
def test_linear_and_conv_embeddings_are_one_function():
    linear, conv = LinearPatches(4, 3, 10), ConvPatches(4, 3, 10)
    conv.proj.weight.copy_(linear.proj.weight.reshape(10, 3, 4, 4))
    conv.proj.bias.copy_(linear.proj.bias)
    images = torch.randn(2, 3, 8, 20)
    assert linear(images).shape == (2, 10, 10)
    assert torch.allclose(linear(images), conv(images), atol=1e-6)


@pytest.mark.parametrize("embedding", [LinearPatches, ConvPatches])
def test_bias_can_be_left_out(embedding):
    assert embedding(4, 3, 10, bias=False).proj.bias is None


@pytest.mark.parametrize(
    ("patch", "stages", "strides"),
    [
        (4, (8, 16), [2, 2]),
        (4, (8, 8, 16), [1, 2, 2]),
        (8, (8, 8, 8), [2, 2, 2]),
        (1, (8,), [1]),
        (2, (4, 4, 4), [1, 1, 2]),
    ],
)
def test_the_strides_of_a_stem_make_its_patch(patch, stages, strides):
    stem = StemPatches(patch, 3, 24, stages)
    convolutions = [module for module in stem.stages.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.stride[0] for conv in convolutions] == strides
    assert [conv.out_channels for conv in convolutions] == list(stages)
    assert stem(torch.randn(2, 3, 32, 16)).shape == (2, (32 // patch) * (16 // patch), 24)


@torch.no_grad()
def test_a_deeper_stem_begins_with_the_same_steps_and_adds_to_them():
    deep = StemPatches(4, 3, 24, (8, 16), depth=3).eval()
    plain = StemPatches(4, 3, 24, (8, 16)).eval()
    assert [len(stage) for stage in deep.stages] == [5, 5]
    plain.load_state_dict({name: deep.state_dict()[name] for name in plain.state_dict()})
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(deep(images), plain(images), atol=1e-3)
    for stage in deep.stages:
        for more in stage[3:]:
            nn.init.zeros_(more[0].weight)
    torch.testing.assert_close(deep(images), plain(images))


@torch.no_grad()
def test_the_tokens_of_a_stem_lie_where_the_patches_lie():
    stem = StemPatches(4, 3, 24, (8, 16)).eval()
    images = torch.zeros(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, 10:11, 22:23] = 1  # inside the patch at row 2, column 5
    change = (stem(changed) - stem(images)).abs().sum(-1).reshape(8, 8)
    # A token sees one pixel before its patch and two after.
    assert change.nonzero().tolist() == [[2, 5]]


@pytest.mark.parametrize(("patch", "stages"), [(2, (8,)), (4, (8, 8, 8)), (8, (8, 8, 8))])
@pytest.mark.parametrize("centred", [True, False])
def test_a_stem_sees_around_the_middle_of_a_patch(patch, stages, centred):
    """The outermost pixels on which a token depends, by gradient."""
    stem = StemPatches(patch, 3, 24, stages, centred=centred).eval()
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    side = 64 // patch
    token = (side // 2) * side + side // 2
    stem(images)[0, token].sum().backward()
    rows = images.grad[0].abs().sum((0, 2)).nonzero().flatten()
    middle = (rows.min() + rows.max() + 1).item() / 2
    offset = middle - (side // 2 + 0.5) * patch
    assert abs(offset) <= (0.5 if centred else patch / 2)
    if not centred:
        assert offset == (1 - patch) / 2


@pytest.mark.parametrize(
    ("patch", "stages", "sentence"),
    [
        (6, (8, 8, 8), "power of two"),
        (8, (8, 8), "3 or more stages"),
        (1, (), "1 or more stages"),
        (4, (8, 0), "at least 1"),
    ],
)
def test_an_impossible_stem_is_a_sentence(patch, stages, sentence):
    with pytest.raises(ValueError, match=sentence):
        StemPatches(patch, 3, 24, stages)


def test_sizes():
    assert grid_of(32, 8) == (4, 4)
    assert grid_of((32, 48), (8, 16)) == (4, 3)
    assert pair([3, 4]) == (3, 4)
    with pytest.raises(ValueError, match="patches of 1, 2, 3, 4, 6, 8, 12, 24 pixels would"):
        grid_of((24, 48), 5)
    for nonsense in ("64", (1, 2, 3), None, 32.0, (32, 16.0), 0, (4, -4)):
        with pytest.raises(ValueError, match="size"):
            pair(nonsense)


def test_impossible_patches_are_sentences():
    with pytest.raises(ValueError, match="do not tile"):
        patchify(torch.zeros(1, 3, 8, 9), 4)
    with pytest.raises(ValueError, match="holds 6 patches, not 4"):
        unpatchify(torch.zeros(1, 4, 12), 2, (2, 3))
    with pytest.raises(ValueError, match="whole number of channels"):
        unpatchify(torch.zeros(1, 4, 13), 2, (2, 2))
