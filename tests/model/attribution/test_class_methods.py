"""The methods against their formulae, written out with explicit maps in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from model.attribution.gradients import integrated_pixels
from model.attribution.registry import METHODS, explain, why_unsuitable
from model.attribution.trace import trace_class
from model.errors import MethodUnsuitable
from model.tokens import TokenLayout
from tests.model import eager
from tests.model.attribution.test_trace import VARIANTS, photos, tiny

CLASSES = [3, 1]


@pytest.fixture(params=[name for name in VARIANTS if name != "registers"])
def case(request):
    """A net in float64, its trace, and the maps and gradients of the eager net."""
    net = tiny(**VARIANTS[request.param]).double()
    images = photos().double()
    return (
        net,
        trace_class(net, images, net.tokens, CLASSES),
        *eager.gradients(net, images, CLASSES),
    )


def patches(trace, values):
    return values[:, trace.layout.patch_slice].unflatten(1, trace.layout.grid)


def read(trace, matrix):
    """The mean of the rows that the score is read from: (B, N, N) -> (B, N)."""
    return torch.einsum("bq,bqk->bk", trace.readout_weights.double(), matrix)


def close(found, expected, atol=1e-6):
    torch.testing.assert_close(found.double(), expected, atol=atol, rtol=1e-5)


def test_attention(case):
    _, trace, maps, _ = case
    close(explain(trace, "attention"), patches(trace, read(trace, maps[-1].mean(1))))
    one = explain(trace, "attention", layer=0, head=2)
    close(one, patches(trace, read(trace, maps[0][:, 2])))
    close(
        explain(trace, "attention", layer=1, head="max"),
        patches(trace, read(trace, maps[1].amax(1))),
    )


def dense_rollout(fused, residual):
    eye = torch.eye(fused[0].shape[-1], dtype=torch.float64)
    result = eye
    for layer in fused:
        mixed = residual * eye + (1 - residual) * layer
        result = mixed / mixed.sum(-1, keepdim=True) @ result
    return result


@pytest.mark.parametrize("residual", [0.5, 0.2])
def test_rollout(case, residual):
    _, trace, maps, _ = case
    dense = dense_rollout([m.mean(1) for m in maps], residual)
    close(explain(trace, "rollout", residual=residual), patches(trace, read(trace, dense)))
    first = dense_rollout([m.mean(1) for m in maps[:2]], residual)
    grown = explain(trace, "rollout", residual=residual, stop=2)
    close(grown, patches(trace, read(trace, first)))


def test_gradient_rollout(case):
    _, trace, maps, gradients = case
    fused = [(a * g).mean(1).relu() for a, g in zip(maps, gradients, strict=True)]
    kept = eye = torch.eye(maps[0].shape[-1], dtype=torch.float64)
    for layer in fused:
        kept = 0.3 * eye / (0.3 + 0.7 * layer.sum(-1, keepdim=True)) @ kept
    moved = patches(trace, read(trace, dense_rollout(fused, 0.3) - kept))
    close(explain(trace, "gradient_rollout", residual=0.3), moved, atol=1e-7)


def test_chefer(case):
    _, trace, maps, gradients = case
    eye = torch.eye(maps[0].shape[-1], dtype=torch.float64)
    product = eye
    for a, g in zip(maps, gradients, strict=True):
        product = (eye + (a * g).relu().mean(1)) @ product
    found = explain(trace, "chefer")
    close(found, patches(trace, read(trace, product - eye)), atol=1e-7)


def test_attention_gradcam(case):
    _, trace, maps, gradients = case
    expected = 0
    for head in range(3):
        weight = read(trace, gradients[-1][:, head])[:, trace.layout.patch_slice].mean(1)
        expected = expected + weight[:, None] * read(trace, maps[-1][:, head]) / 3
    close(explain(trace, "attention_gradcam"), patches(trace, expected.relu()))


def test_legrad(case):
    net, trace, _, _ = case
    _, maps, after = eager.forward(net, photos().double())
    expected = 0
    for a, tokens in zip(maps, after, strict=True):
        y = eager.score(eager.end(net, tokens), CLASSES)
        gradient = torch.autograd.grad(y, a, retain_graph=True)[0]
        expected = expected + gradient.relu().mean((1, 2)) / len(maps)
    close(explain(trace, "legrad"), patches(trace, expected))


def test_token_gradcam(case):
    net, trace, _, _ = case
    _, _, after = eager.forward(net, photos().double())
    last = net.blocks[-1]
    features = last.norm_attention(after[-2]) if net.config.norm == "pre" else after[-2]
    # Only what the last attention is given: the skip connection around it does not count.
    features = features.detach().requires_grad_()
    if net.config.norm == "pre":
        tokens = after[-2].detach() + last.attention(features)
        tokens = tokens + last.mlp(last.norm_mlp(tokens))
    else:
        tokens = last.norm_attention(features + last.attention(features))
        tokens = last.norm_mlp(tokens + last.mlp(tokens))
    y = eager.score(eager.end(net, tokens), CLASSES)
    gradient = torch.autograd.grad(y, features)[0][:, trace.layout.patch_slice]
    weight = gradient.mean(1, keepdim=True)
    expected = (weight * features[:, trace.layout.patch_slice]).sum(-1).relu()
    close(explain(trace, "token_gradcam"), expected.unflatten(1, trace.layout.grid), atol=1e-5)


def test_input_gradient_is_that_of_finite_differences():
    net = tiny()
    trace = trace_class(net, photos(1), net.tokens, 2)
    double, step = copy.deepcopy(net).double(), 1e-6
    for channel, row, column in ((0, 3, 4), (2, 9, 20), (1, 15, 0)):
        nudge = torch.zeros(1, 3, 16, 24, dtype=torch.float64)
        nudge[0, channel, row, column] = step
        with torch.no_grad():
            up, down = (double(photos(1).double() + s * nudge)[0, 2] for s in (1, -1))
        slope = float((up - down) / (2 * step))
        found = float(trace.image_gradient[0, channel, row, column])
        assert found == pytest.approx(slope, abs=1e-5)
    expected = trace.image_gradient.abs().amax(1).unfold(1, 8, 8).unfold(2, 8, 8).mean((-1, -2))
    torch.testing.assert_close(explain(trace, "input_gradient"), expected)


@pytest.mark.parametrize("method", ["input_gradient", "integrated_gradients"])
def test_a_rim_that_no_patch_covers_shifts_nothing(method):
    net = tiny()

    class Rimmed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, images):
            return self.net(net.tokens.covered(images))

    rimmed = torch.nn.functional.pad(photos(), (0, 7, 0, 5), value=1.0)
    trace = trace_class(Rimmed().eval(), rimmed, net.tokens, CLASSES)
    expected = explain(trace_class(net, photos(), net.tokens, CLASSES), method)
    torch.testing.assert_close(explain(trace, method), expected)


@pytest.mark.parametrize("baseline", ["zeroed", "blurred"])
def test_integrated_gradients_sum_to_the_rise_of_the_score(baseline):
    from model.attribution import baselines

    net = tiny()
    images = 0.3 * photos()
    trace = trace_class(net, images, net.tokens, CLASSES)
    with torch.no_grad():
        rise = net(images) - net(baselines.make_baseline(images, baseline, net.tokens))
    expected = torch.stack([rise[i, c] for i, c in enumerate(CLASSES)])
    found = integrated_pixels(trace, baseline, steps=40).sum((1, 2, 3))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_captum_agrees():
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    net = tiny()
    trace = trace_class(net, photos(), net.tokens, CLASSES)
    target = torch.tensor(CLASSES)
    expected = captum.IntegratedGradients(net).attribute(
        photos(), torch.zeros(2, 3, 16, 24), target=target, n_steps=10
    )
    torch.testing.assert_close(
        integrated_pixels(trace, steps=10), expected.float(), atol=1e-5, rtol=1e-4
    )
    saliency = captum.Saliency(net).attribute(photos().requires_grad_(), target=target)
    torch.testing.assert_close(trace.image_gradient.abs(), saliency, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_map_of_a_batch_is_the_maps_one_by_one(method, variant):
    net = tiny(**VARIANTS[variant])
    batch = explain(trace_class(net, photos(3), net.tokens, [4, 0, 2]), method)
    assert batch.shape == (3, 2, 3)
    assert batch.dtype == torch.float32
    assert torch.isfinite(batch).all() and (batch >= 0).all()
    for i, target in enumerate((4, 0, 2)):
        alone = explain(trace_class(net, photos(3)[i : i + 1], net.tokens, target), method)
        torch.testing.assert_close(alone[0], batch[i], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "random_map"])
def test_no_gradient_gives_no_nan(method):
    net = tiny()
    trace = trace_class(net, photos(), net.tokens, lambda logits: 0 * logits.sum(1))
    assert torch.isfinite(explain(trace, method)).all()


@pytest.mark.parametrize("method", ["gradient_rollout", "chefer", "legrad", "token_gradcam"])
def test_another_class_has_another_map(method):
    net = tiny()
    one, other = (
        explain(trace_class(net, photos(1), net.tokens, target), method) for target in (0, 1)
    )
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("method", ["rollout", "gradient_rollout"])
def test_vit_explain_by_name(method):
    net = tiny()
    trace = trace_class(net, photos(), net.tokens, CLASSES)
    theirs = explain(trace, method, compat="vit-explain", discard=0.5)
    assert theirs.shape == (2, 2, 3)
    torch.testing.assert_close(theirs.amax((1, 2)), torch.ones(2))
    with pytest.raises(ValueError, match="vit-explain"):
        explain(trace, method, compat="somebody's")
    without = tiny(pool="mean", cls_token=False)
    with pytest.raises(MethodUnsuitable, match="class token"):
        explain(
            trace_class(without, photos(), without.tokens, CLASSES), method, compat="vit-explain"
        )


class Windowed(torch.nn.Module):
    """One layer of attention in windows of 2 x 2, over a 2 x 6 grid."""

    window_size, shift_size, num_heads = (2, 2), (0, 0), 1

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        windows = tokens.unflatten(2, (3, 2)).permute(0, 2, 1, 3, 4).reshape(-1, 1, 4, 3)
        mixed = torch.nn.functional.scaled_dot_product_attention(windows, windows, windows)
        return mixed.reshape(len(tokens), 3, 2, 2, 3).permute(0, 2, 1, 3, 4).flatten(2, 3)


class WindowedNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = Windowed(), torch.nn.Linear(3, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = torch.nn.functional.avg_pool2d(images, (8, 4)).permute(0, 2, 3, 1)
        return self.head((tokens + self.attention(tokens)).mean((1, 2)))


def test_windowed_models_are_told_which_methods_make_no_sense():
    net = WindowedNet().eval()
    trace = trace_class(net, photos(), TokenLayout((2, 6), patch=(8, 4)), 1)
    for method in METHODS:
        if method in ("token_gradcam", "input_gradient", "integrated_gradients", "random_map"):
            assert explain(trace, method).shape == (2, 2, 6)
        else:
            assert "window" in why_unsuitable(trace, method)
            with pytest.raises(MethodUnsuitable):
                explain(trace, method)


def test_uniform_attention_rolls_out_to_the_closed_form():
    net = tiny()
    for block in net.blocks:
        torch.nn.init.zeros_(block.attention.query.weight)
        torch.nn.init.zeros_(block.attention.query.bias)
    trace = trace_class(net, photos(), net.tokens, 0)
    expected = np.full((2, 2, 3), (1 - 2.0**-3) / 7)
    np.testing.assert_allclose(explain(trace, "rollout"), expected, atol=1e-7)
