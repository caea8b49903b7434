"""Counted operations against torch's own counter."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.analysis import cost as counting
from model.analysis.cost import Timing, cost_of, count_parameters, doubled_configs, time_parts
from model.nets.vit import PRESETS, VisionTransformer, ViTConfig

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
    assert cost_of(config).parameters == count_parameters(config) == expected


def test_parameters_of_the_einops_tutorial():
    assert count_parameters(PRESETS["einops_b16"]) == 86_567_656


def test_only_the_quadratic_part_grows_sixteenfold():
    config = ViTConfig(cls_token=False, pool="mean", num_classes=0)
    before, after = (
        cost_of(config),
        {name: cost_of(c) for name, c in doubled_configs(config).items()},
    )
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
    assert "patch side" not in doubled_configs(replace(SMALL, img_size=24))
    assert "patch side" not in doubled_configs(STEM)


def test_every_round_runs_every_model_once_and_gives_its_median(monkeypatch):
    told = []
    # Made-up runs: which models follow which, and how long each took.
    ran, times = [], {"slow": iter([9, 8, 1, 2, 30, 4, 3]), "fast": iter([1] * 7)}

    def runner(name):
        def run():
            ran.append(name)
            return next(times[name]), 0.5

        return run

    monkeypatch.setattr(
        counting, "_make_runners", lambda configs: {name: runner(name) for name in configs}
    )
    configs = {"fast": SMALL, "slow": replace(SMALL, depth=4)}
    timings = time_parts(configs, 1000, lambda *now: told.append(now))
    assert ran == ["fast", "slow"] * 6
    assert timings["slow"].whole == 4000  # of 8, 1, 2, 30 and 4: the first run only tries
    assert timings["slow"].quartiles == (2000, 8000) and timings["slow"].spread > 1
    assert timings["fast"] == Timing(500, 1000, (1000, 1000), runs=5)
    names, shares, left = zip(*told, strict=True)
    assert names == tuple(ran) and left[:2] == (None, None)
    assert list(shares) == sorted(shares) and min(shares) >= 0 and max(shares) < 1
    assert all(seconds >= 0 for seconds in left[2:])


def test_what_would_take_too_long_is_left_out(monkeypatch):
    def made(configs):
        return {"a": lambda: (1.0, 0.1), "b": lambda: (50.0, 1.0), "c": lambda: pytest.fail("ran")}

    monkeypatch.setattr(counting, "_make_runners", made)
    timings = time_parts({"a": SMALL, "b": SMALL, "c": SMALL}, seconds=20)
    assert list(timings) == ["a"] and timings["a"].runs == 5
    assert time_parts({"a": SMALL, "b": SMALL, "c": SMALL}, seconds=2) == {}


def test_when_the_time_is_up_only_complete_rounds_count(monkeypatch):
    now, length = iter(range(1000)), {"a": 1.0, "b": 2.0}
    monkeypatch.setattr(counting.time, "perf_counter", lambda: 4 * next(now))
    monkeypatch.setattr(
        counting,
        "_make_runners",
        lambda c: {name: lambda name=name: (length[name], 0.0) for name in c},
    )
    timings = time_parts({"a": SMALL, "b": SMALL}, seconds=33)
    assert 0 < timings["a"].runs == timings["b"].runs < 5


@pytest.mark.parametrize("config", [*PRESETS.values(), STEM], ids=[*PRESETS, "stem"])
def test_models_that_are_timed_are_whole(config):
    """Weights in one piece of memory make the same net as any others, and finite numbers."""
    config = replace(config, depth=1)
    noise = 0.02 * torch.randn(count_parameters(config))
    net = counting._with_weights(config, noise)
    state = VisionTransformer(config).eval().state_dict()
    assert {n: t.shape for n, t in net.state_dict().items()} == {
        n: t.shape for n, t in state.items()
    }
    with torch.inference_mode():
        out = net(torch.randn(1, config.in_channels, *config.tokens.image_size))
    assert out.isfinite().all()
    assert all(p.untyped_storage().data_ptr() == noise.data_ptr() for p in net.parameters())


def test_time_is_measured():
    order = []
    configs = {"deep": replace(SMALL, depth=6), "small": SMALL, "stem": STEM}
    timings = time_parts(configs, report=lambda name, share, left: order.append(name))
    assert timings.keys() == configs.keys()
    assert order[:3] == ["small", "stem", "deep"], "the cheapest first"
    for timing in timings.values():
        assert timing.whole > 0 and timing.attention > 0 and 5 <= timing.runs <= 25
        assert timing.quartiles[0] <= timing.whole <= timing.quartiles[1]
