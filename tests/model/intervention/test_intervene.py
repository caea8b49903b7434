"""Interventions against closed forms: other weights, eager attention, shorter sequences."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from model import AttentionRecorder
from model.errors import InterventionRefused
from model.intervention import head_means, intervene, keep_activations
from model.intervention.context import SUBLAYERS
from tests.model.intervention.routes import PRESETS, ROUTES, by_route, projection_of, small_net

IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
routes = pytest.mark.parametrize("route", ROUTES)
presets = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def run(net, images=IMAGES, **changes):
    with intervene(net, **changes):
        return net(images)


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def fail_after(_):
    raise ZeroDivisionError


def without_columns(net, heads_off):
    """A copy whose output projections have no columns for some heads."""
    copied = copy.deepcopy(net)
    for layer, heads in heads_off.items():
        weight = projection_of(copied, layer).weight
        for head in heads:
            weight.unflatten(1, (3, -1))[:, head] = 0
    return copied


def eager(net, changes):
    """A copy in float64 whose attention is written out, with maps changed by `changes[layer]`."""
    copied = copy.deepcopy(net).double()
    for layer, change in changes.items():
        module = copied.blocks[layer].attention

        def attend(tokens, module=module, change=change):
            query, key, value = (
                part(tokens).unflatten(-1, (module.heads, -1)).transpose(1, 2)
                for part in (module.query, module.key, module.value)
            )
            maps = change(query @ key.mT * module.scale)
            return module.proj((maps @ value).transpose(1, 2).flatten(2))

        module.forward = attend
    return copied


# -- nothing is changed -----------------------------------------------------------------------


@routes
def test_an_empty_intervention_changes_no_bit(route):
    net = by_route(route)
    before = net(IMAGES)
    assert torch.equal(run(net), before)
    assert torch.equal(run(net, heads_off={1: []}), before)


@routes
def test_the_net_is_untouched_afterwards_also_after_an_error(route):
    net = by_route(route)
    before = net(IMAGES)
    changes = {"heads_off": {0: [1]}, "hide_patches": [3], "skip": {1: "mlp"}}
    run(net, **changes)
    assert torch.equal(net(IMAGES), before)
    with pytest.raises(ZeroDivisionError), intervene(net, **changes):
        fail_after(net(IMAGES))
    assert torch.equal(net(IMAGES), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.overrides._get_current_function_mode() is None


# -- heads ------------------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("heads_off", [{0: [1]}, {1: [0, 2]}, {0: [2], 2: [0]}])
def test_a_head_off_subtracts_its_term_of_the_output_projection(route, heads_off):
    net = by_route(route)
    close(run(net, heads_off=heads_off), without_columns(net, heads_off)(IMAGES))


@presets
def test_a_head_off_subtracts_its_term_in_every_preset(preset):
    net = small_net(preset)
    close(run(net, heads_off={1: [2]}), without_columns(net, {1: [2]})(IMAGES))


@routes
def test_without_any_head_attention_returns_its_bias(route):
    net = by_route(route)
    changes = {"heads_off": {layer: [0, 1, 2] for layer in range(3)}}
    attention = net.blocks[1].attention
    bias = projection_of(net, 1).bias
    seen = []
    attention.register_forward_hook(lambda _, __, output: seen.append(output))
    run(net, **changes)
    close(seen[0], bias.expand(1, 17, 24))


@routes
def test_a_head_may_be_replaced_by_its_mean(route):
    net = by_route(route)
    batches = [torch.randn(2, 3, 32, 32), torch.randn(3, 3, 32, 32)]
    means = head_means(net, [image[None] for batch in batches for image in batch], "noise")
    inputs = []  # what the projection is given, (1, 17, 24) for each image
    fused = by_route("fused")
    fused.blocks[1].attention.proj.register_forward_pre_hook(lambda _, a: inputs.append(a[0]))
    for batch in batches:
        fused(batch)
    mean = torch.cat(inputs).mean((0, 1)).unflatten(0, (3, -1))[2]
    name = next(name for name in means.means if name.startswith("blocks.1."))
    close(means.means[name][2].float(), mean)
    wanted = without_columns(net, {1: [2]})
    projection = projection_of(wanted, 1)
    projection.bias += projection_of(net, 1).weight.unflatten(1, (3, -1))[:, 2] @ mean
    close(run(net, heads_off={1: [2]}, replace_by=means), wanted(IMAGES))


# -- maps -------------------------------------------------------------------------------------


@routes
def test_uniform_maps_take_the_mean_of_the_values(route):
    even = copy.deepcopy(by_route("fused"))
    for part in (even.blocks[1].attention.query, even.blocks[1].attention.key):
        part.weight.zero_(), part.bias.zero_()
    close(run(by_route(route), maps={1: "uniform"}), even(IMAGES))


def _identity(scores):
    return torch.eye(scores.shape[-1], dtype=scores.dtype).expand_as(scores)


def _heads_mean(scores):
    return scores.softmax(-1).mean(1, keepdim=True).expand_as(scores)


def _never(scores):
    maps = scores.softmax(-1).clone()
    maps[..., [0, 5]] = 0
    return maps / maps.sum(-1, keepdim=True)


def _only_in_head_one(scores):
    maps = scores.softmax(-1).clone()
    maps[:, 1] = 0
    maps[:, 1, :, 3] = 1
    return maps


@routes
@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({"maps": {1: "identity"}}, _identity),
        ({"maps": {1: "heads_mean"}}, _heads_mean),
        ({"never": {1: [0, 5]}}, _never),
        ({"only": {(1, 1): [3]}}, _only_in_head_one),
        ({"scale": {1: 8**0.5}}, lambda scores: (scores * 8**0.5).softmax(-1)),
        ({"scale": {1: 0.25}}, lambda scores: (scores / 4).softmax(-1)),
    ],
    ids=["identity", "heads_mean", "never", "only", "undivided", "temperature"],
)
def test_a_changed_map_equals_attention_written_out(route, changes, change):
    wanted = eager(by_route("fused"), {1: change})(IMAGES.double()).float()
    assert not torch.allclose(wanted, by_route("fused")(IMAGES), atol=1e-3)
    close(run(by_route(route), **changes), wanted)


@routes
def test_the_recorder_sees_the_map_that_acts_in_either_order(route):
    net = by_route(route)
    with intervene(net, never={1: [5]}), AttentionRecorder(net) as inside:
        net(IMAGES)
    with AttentionRecorder(net) as outside, intervene(net, never={1: [5]}):
        net(IMAGES)
    for recorder in (inside, outside):
        maps = recorder.records[1].weights()
        assert maps[..., 5].max() == 0
        close(maps.sum(-1), torch.ones(1, 3, 17))
        assert recorder.records[0].weights()[..., 5].min() > 0


def test_a_recorder_that_ends_first_leaves_the_intervention_on():
    net = small_net()
    with intervene(net, heads_off={1: [0]}):
        with AttentionRecorder(net):
            within = net(IMAGES)
        assert torch.equal(net(IMAGES), within)
    assert not torch.equal(net(IMAGES), within)


# -- patches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["vit", "cs231n"])
def test_hiding_by_removal_equals_running_the_shorter_sequence(preset):
    net = small_net(preset)
    kept = [patch for patch in range(16) if patch not in (0, 7, 9)]
    shorter = copy.deepcopy(net)
    prefix = len(net.tokens.prefix)
    shorter.patch_dropout.forward = lambda tokens: torch.cat(
        (tokens[:, :prefix], tokens[:, prefix:][:, kept]), 1
    )
    close(run(net, hide_patches=[0, 7, 9], hide="remove"), shorter(IMAGES))


@routes
def test_patches_are_hidden_in_the_image(route):
    net = by_route(route)
    changed = IMAGES.clone()
    changed[..., 8:16, 24:] = IMAGES.mean((2, 3), keepdim=True)
    close(run(net, hide_patches=[7]), net(changed))
    changed[..., 8:16, 24:] = OTHERS[..., 8:16, 24:]
    close(run(net, hide_patches=[7], hide=OTHERS), net(changed))


def test_exchanged_patches_change_places():
    net = small_net()
    changed = IMAGES.clone()
    changed[..., :8, :8], changed[..., 24:, 24:] = IMAGES[..., 24:, 24:], IMAGES[..., :8, :8]
    close(run(net, exchange=[(0, 15)]), net(changed))


def test_exchanging_twice_changes_nothing():
    net = small_net()
    assert torch.equal(run(net, exchange=[(0, 15), (15, 0)]), net(IMAGES))


# -- a second run -----------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("layer", [0, 2])
def test_all_tokens_of_a_layer_from_another_photo_give_its_answer(route, layer):
    net = by_route(route)
    other = keep_activations(net, OTHERS)
    close(run(net, source=other, tokens_from={layer: None}), net(OTHERS))
    close(run(net, source=other, tokens_from={layer: range(17)}), net(OTHERS))


@routes
def test_one_token_and_one_head_are_taken_from_another_run(route):
    net = by_route(route)
    other = keep_activations(net, OTHERS)
    wanted = copy.deepcopy(net)
    seen = []
    wanted.blocks[0].register_forward_hook(lambda _, __, output: seen.append(output))
    wanted(OTHERS)

    def put(_, __, output):
        changed = output.clone()
        changed[:, 4] = seen[0][:, 4]
        return changed

    wanted.blocks[0].register_forward_hook(put)
    close(run(net, source=other, tokens_from={0: [4]}), wanted(IMAGES))

    all_heads = run(net, source=other, heads_from={0: [0, 1, 2]})
    attended = copy.deepcopy(net)
    attended.blocks[0].attention.register_forward_hook(
        lambda _, __, output: net.blocks[0].attention(_normed_input(net, OTHERS))
    )
    close(all_heads, attended(IMAGES))


def _normed_input(net, images):
    seen = []
    copied = copy.deepcopy(net)
    copied.blocks[0].attention.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    copied(images)
    return seen[0]


# -- sublayers --------------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("sublayer", SUBLAYERS)
def test_a_sublayer_is_skipped(route, sublayer):
    net = by_route(route)
    wanted = by_route("fused")
    block = wanted.blocks[1]
    if sublayer == "projection":
        block.attention.proj = nn.Identity()
    else:
        getattr(block, sublayer).forward = torch.zeros_like
    close(run(net, skip={1: sublayer}), wanted(IMAGES))


# -- together ---------------------------------------------------------------------------------


@routes
def test_interventions_commute(route):
    net = by_route(route)
    first = {"heads_off": {1: [0]}, "never": {2: [3]}}
    second = {"hide_patches": [3, 4], "skip": {0: "mlp"}}
    with intervene(net, **first), intervene(net, **second):
        one = net(IMAGES)
    with intervene(net, **second), intervene(net, **first):
        other = net(IMAGES)
    close(one, other)
    close(run(net, **first, **second), one)
    with intervene(net, heads_off={1: [0]}), intervene(net, heads_off={1: [2], 0: [1]}):
        nested = net(IMAGES)
    close(nested, run(net, heads_off={0: [1], 1: [0, 2]}))


@routes
def test_two_threads_with_different_interventions_never_mix(route):
    net = by_route(route)
    changes = [
        {"heads_off": {1: [0]}},
        {"hide_patches": [1, 2, 3]},
        {},
        {"source": keep_activations(net, OTHERS), "tokens_from": {1: [2, 9]}},
    ]
    wanted = [run(net, **change) for change in changes]
    together, results = threading.Barrier(len(changes)), [None] * len(changes)

    def work(place):
        with torch.no_grad(), intervene(net, **changes[place]):
            together.wait()
            results[place] = [net(IMAGES) for _ in range(10)]
            together.wait()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(changes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found, expected in zip(results, wanted, strict=True):
        assert all(torch.equal(logits, expected) for logits in found)


def test_gradients_pass_through_an_intervention():
    net = small_net()
    with torch.enable_grad():
        images = IMAGES.clone().requires_grad_()
        with intervene(net, heads_off={2: [0]}, never={1: [2]}, scale={0: 2.0}):
            (gradient,) = torch.autograd.grad(net(images)[0, 1], images)
    step = 1e-3 * torch.sign(gradient)
    with intervene(net, heads_off={2: [0]}, never={1: [2]}, scale={0: 2.0}):
        change = net(IMAGES + step)[0, 1] - net(IMAGES - step)[0, 1]
    assert change.item() == pytest.approx(2e-3 * gradient.abs().sum().item(), rel=0.02)


# -- what makes no sense ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads_off": {7: [0]}}, "No attention ran in layer 7"),
        ({"heads_off": {1: [3]}}, "There is no head 3 in layer 1"),
        ({"heads_off": {-1: [0]}}, "No attention ran in layer -1"),
        ({"hide_patches": [16]}, "There is no patch 16"),
        ({"hide_patches": list(range(16)), "hide": "grey"}, "cannot be hidden by 'grey'"),
        ({"hide_patches": [0], "hide": torch.zeros(1, 3, 8, 8)}, "prepare both"),
        ({"exchange": [(0, -1)]}, "There is no patch -1"),
        ({"maps": {0: "even"}}, "There is no map 'even'"),
        ({"only": {0: []}}, "leave it one token"),
        ({"never": {0: range(17)}}, "leave it one token"),
        ({"never": {0: [17]}}, "There is no token 17"),
        ({"scale": {0: 0.0}}, "by a number above 0"),
        ({"skip": {0: "norm"}}, "There is no sublayer 'norm'"),
        ({"skip": {5: "mlp"}}, "There is no layer 5"),
        ({"tokens_from": {0: None}}, "keep_activations"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(InterventionRefused, match=sentence):
        run(small_net(), **changes)


def test_all_heads_off_and_all_patches_hidden_still_give_an_answer():
    net = small_net()
    changes = {"heads_off": {layer: range(3) for layer in range(3)}, "hide_patches": range(16)}
    assert run(net, **changes).isfinite().all()


def test_without_a_class_token_one_patch_must_stay():
    with pytest.raises(InterventionRefused, match="leave one patch"):
        run(small_net("cs231n"), hide_patches=range(16), hide="remove")


def test_a_net_that_did_not_run_is_told_from_one_that_did():
    net = small_net()
    none_ran = pytest.raises(InterventionRefused, match="No attention ran in this VisionTransform")
    with none_ran, intervene(net, heads_off={0: [0]}):
        pass
    not_whole = pytest.raises(InterventionRefused, match="did not run as a whole")
    with not_whole, intervene(net, hide_patches=[0]):
        pass


def test_images_and_heads_in_one_dimension_are_not_guessed_apart():
    net = by_route("softmax of stacked heads")
    run(net, heads_off={1: [0]})
    with pytest.raises(InterventionRefused, match="one image at a time"):
        run(net, images=torch.cat((IMAGES, OTHERS)), heads_off={1: [0]})
