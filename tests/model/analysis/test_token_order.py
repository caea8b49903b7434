"""A transformer without position code cannot tell one order from another."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.analysis.position_codes import find_position_code
from model.analysis.token_order import (
    largest_difference,
    random_order,
    replace_part,
    shifted_order,
    shuffle_pixels,
    with_shifted_position_code,
    with_shuffled_patches,
    without_position_code,
)
from model.nets.vit import build
from model.recording.recorder import AttentionRecorder

SIZES = {"img_size": (24, 32), "patch_size": 8, "dim": 32, "depth": 2, "heads": 4,
         "num_classes": 5}  # fmt: skip
STEM = {"embed": "stem", "stem": (8, 8, 16)}


def small(**overrides):
    torch.manual_seed(0)
    net = build("vit", **{**SIZES, **overrides}).eval()
    with torch.no_grad():  # random weights of the usual size hardly look at their input
        for parameter in net.parameters():
            parameter.mul_(3)
    return net


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(3))


def run(net, images):
    with torch.inference_mode():
        return net(images)


@pytest.mark.parametrize("overrides", [{}, STEM, {"cls_token": False, "pool": "mean"}])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 1000))
def test_without_code_every_order_gives_the_same_logits(overrides, seed):
    net = small(**overrides)
    images = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    code = find_position_code(net, net.tokens)
    bare = without_position_code(net, code)
    order = random_order(12, seed)
    assert sorted(order.tolist()) == list(range(12))
    changed, same_images = with_shuffled_patches(bare, images, net.tokens, order)
    assert largest_difference([run(changed, same_images)], run(bare, images)) < 1e-5


@pytest.mark.parametrize("overrides", [{}, {"cls_token": False, "pool": "mean"}])
def test_with_code_it_does_not(overrides, images):
    net = small(**overrides)
    changed, same_images = with_shuffled_patches(net, images, net.tokens, random_order(12, 1))
    assert largest_difference([run(changed, same_images)], run(net, images)) > 1e-3


def test_the_maps_move_with_the_patches(images):
    net = small(positions="none")
    order = random_order(12, 2)
    with torch.inference_mode(), AttentionRecorder(net) as before:
        net(images)
    changed, same_images = with_shuffled_patches(net, images, net.tokens, order)
    with torch.inference_mode(), AttentionRecorder(changed) as after:
        changed(same_images)
    for first, second in zip(before.records, after.records, strict=True):
        moved = first.weights()[..., 1:, 1:][..., order, :][..., order]
        torch.testing.assert_close(second.weights()[..., 1:, 1:], moved, atol=1e-5, rtol=0)


def test_moving_tokens_is_moving_pixels(images):
    net = small()
    order = random_order(12, 4)
    changed, same_images = with_shuffled_patches(net, images, net.tokens, order)
    by_pixels = run(net, shuffle_pixels(images, net.tokens, order))
    torch.testing.assert_close(run(changed, same_images), by_pixels, atol=1e-5, rtol=1e-5)
    other = torch.nn.Sequential(net)
    same_net, moved = with_shuffled_patches(other, images, net.tokens, order)
    assert same_net is other
    torch.testing.assert_close(run(same_net, moved), by_pixels)


def test_the_net_itself_stays_as_it_is(images):
    net = small()
    before = run(net, images)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    bare = without_position_code(net, find_position_code(net, net.tokens))
    assert largest_difference([run(bare, images)], before) > 1e-3
    assert bare.blocks is net.blocks and not bare.positions.code.any()
    assert torch.equal(run(net, images), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_a_shift_gives_each_patch_another_patchs_code(images):
    net = small()
    code = find_position_code(net, net.tokens)
    moved = with_shifted_position_code(net, code, net.tokens.grid, 1, 2)
    grid = code.patches.reshape(3, 4, -1)
    new = moved.positions.code[1:].reshape(3, 4, -1)
    assert torch.equal(new[2, 3], grid[1, 1]) and torch.equal(new[0, 0], grid[2, 2])
    assert torch.equal(moved.positions.code[0], code.prefix["cls"])
    assert shifted_order((3, 4), 0, 0).tolist() == list(range(12))


def test_a_shift_of_code_and_patches_together_changes_nothing(images):
    net = small()
    code = find_position_code(net, net.tokens)
    moved = with_shifted_position_code(net, code, net.tokens.grid, 2, 1)
    rolled = shuffle_pixels(images, net.tokens, shifted_order(net.tokens.grid, 2, 1))
    torch.testing.assert_close(run(moved, rolled), run(net, images), atol=1e-5, rtol=1e-5)


def test_what_is_not_there_is_a_sentence():
    net = small(positions="none")
    with pytest.raises(ValueError, match="none to take away"):
        without_position_code(net, find_position_code(net, net.tokens))
    with pytest.raises(AttributeError, match="no part 'nose'"):
        replace_part(net, "nose.tip", torch.zeros(1))
