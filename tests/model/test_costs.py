"""Counted operations against torch's own counter."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.costs import cost_of, doubled, measure, parameters_of
from model.vit import PRESETS, VisionTransformer, ViTConfig

SMALL = ViTConfig(img_size=32, patch_size=8, dim=32, depth=2, heads=4, num_classes=5)
STEM = replace(SMALL, embed="stem", stem=(8, 12, 16, 24))


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), SMALL, STEM, replace(STEM, stem_depth=3)],
    ids=[*PRESETS, "small", "stem", "deep stem"],
)
def test_every_presets_operations_are_those_that_torch_counts(config):
    with torch.device("meta"):
        net = VisionTransformer(config).eval()
        image = torch.empty(1, config.in_channels, *config.tokens.image_size)
    # The fused kernel of the CPU is not in the counter's list; as plain products it is.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(image)
    cost = cost_of(config)
    assert cost.operations == counter.get_total_flops()
    attention = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    assert cost.quadratic == attention


@pytest.mark.parametrize("config", [PRESETS["cs231n"], SMALL, STEM])
def test_parameters_are_counted(config):
    expected = sum(p.numel() for p in VisionTransformer(config).parameters())
    assert cost_of(config).parameters == parameters_of(config) == expected


def test_parameters_of_the_einops_tutorial():
    assert parameters_of(PRESETS["einops_b16"]) == 86_567_656


def test_only_the_quadratic_part_grows_sixteenfold():
    config = ViTConfig(cls_token=False, pool="mean", num_classes=0)
    before, after = cost_of(config), {name: cost_of(c) for name, c in doubled(config).items()}
    assert list(after) == ["width", "image side", "patch side", "layers"]
    assert after["image side"].quadratic == 16 * before.quadratic
    assert after["image side"].linear == 4 * before.linear
    assert after["image side"].operations < 16 * before.operations
    assert 16 * after["patch side"].quadratic == before.quadratic
    assert after["width"].quadratic == 2 * before.quadratic
    assert after["width"].mlp == 4 * before.mlp
    assert after["width"].projections == 4 * before.projections
    assert after["layers"].quadratic == 2 * before.quadratic


def test_bytes():
    cost = cost_of(SMALL)
    assert cost.map_bytes == 2 * 4 * 17 * 17 * 4
    assert cost.qk_bytes == 2 * 2 * 17 * 32 * 4
    assert cost.token_bytes == 17 * 32 * 4


def test_a_patch_that_cannot_be_doubled_is_left_out():
    assert "patch side" not in doubled(replace(SMALL, img_size=24))
    assert "patch side" not in doubled(STEM)


def test_time_is_measured():
    timing = measure(SMALL, repeats=1)
    assert timing.whole > 0 and timing.attention > 0
