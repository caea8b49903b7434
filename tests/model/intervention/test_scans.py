"""Scans against runs one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.errors import InterventionRefused
from model.intervention import (
    head_means,
    intervene,
    keep_activations,
    scan_heads,
    scan_patches,
    scan_tokens,
)
from model.intervention.answers import CaptionAnswer, ClassAnswer
from model.intervention.block_chain import BlockChain
from model.intervention.controls import random_answers
from model.intervention.outputs import FromRun
from tests.model.captioners import captioner, images
from tests.model.intervention.routes import ROUTES, by_route, small_net

IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
NAMES = ("log_odds", "probability", "logit")
# Heads of this route cannot be told from images in a batch, so that a scan is refused.
routes = pytest.mark.parametrize("route", [r for r in ROUTES if "stacked" not in r])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def by_hand(net, changes, target, runner_up):
    """The three measures of each change, one run after another."""
    values = []
    for change in changes:
        with intervene(net, **change):
            logits = net(IMAGES)[0]
        odds = (logits.softmax(0)[target] / logits.softmax(0)[runner_up]).log()
        values.append(torch.stack((odds, logits.softmax(0)[target], logits[target])))
    return torch.stack(values)


@routes
@pytest.mark.parametrize("batch_size", [2, 16])
def test_a_scan_of_heads_equals_runs_one_by_one(route, batch_size):
    net = by_route(route)
    scan = scan_heads(net, IMAGES, batch_size=batch_size)
    runner_up, target = net(IMAGES)[0].argsort()[-2:].tolist()
    changes = [{"heads_off": {layer: [head]}} for layer in range(3) for head in range(3)]
    wanted = by_hand(net, changes, target, runner_up)
    for place, name in enumerate(NAMES):
        close(scan.effects.changed[name].flatten(), wanted[:, place])
    effect = scan.effects.effect("logit")
    assert effect[scan.ranked("logit")[0]] == effect.min()
    assert (scan.heads, len(scan.layers)) == ([3, 3, 3], 3)


def test_heads_that_lie_among_images_are_not_scanned_together():
    with pytest.raises(InterventionRefused, match="one image at a time"):
        scan_heads(by_route("softmax of stacked heads"), IMAGES)
    scan = scan_heads(by_route("softmax of stacked heads"), IMAGES, batch_size=1)
    close(scan.effects.changed["logit"], scan_heads(small_net(), IMAGES).effects.changed["logit"])


@pytest.mark.parametrize("hide", ["mean", "blur", "remove", OTHERS], ids=str)
@pytest.mark.parametrize("preset", ["vit", "cs231n"])
def test_a_scan_of_patches_equals_runs_one_by_one(preset, hide):
    net = small_net(preset)
    scan = scan_patches(net, IMAGES, target=3, hide=hide, batch_size=5)
    logits = net(IMAGES)[0]
    logits[3] = -torch.inf
    changes = [{"hide_patches": [patch], "hide": hide} for patch in range(16)]
    wanted = by_hand(net, changes, 3, int(logits.argmax()))
    for place, name in enumerate(NAMES):
        close(scan.changed[name].flatten(), wanted[:, place])
    assert scan.likeliest.shape == (4, 4)


@routes
def test_a_scan_of_tokens_equals_runs_one_by_one(route):
    net = by_route(route)
    other = keep_activations(net, OTHERS)
    scan = scan_tokens(net, IMAGES, OTHERS, ClassAnswer(0, 1), batch_size=7)
    for layer in range(3):
        changes = [{"source": other, "tokens_from": {layer: [token]}} for token in range(17)]
        close(scan.changed["log_odds"][layer], by_hand(net, changes, 0, 1)[:, 0])


class Residual(nn.Module):
    """A net that calls its blocks one after another, and the first one once more."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images) + self.net.blocks[0](self.net.encode(images)).mean((1, 2))[:, None]


def test_a_net_that_is_no_chain_runs_as_a_whole():
    net = Residual(small_net())
    with pytest.raises(InterventionRefused, match="one after another"):
        BlockChain(net, IMAGES)
    scan = scan_heads(net, IMAGES, target=0)
    with intervene(net, heads_off={2: [1]}):
        close(scan.effects.changed["logit"][2, 1], net(IMAGES)[0, 0])


def test_a_scan_leaves_the_net_as_it_was():
    net = small_net()
    before, state = net(IMAGES), {name: id(m.forward.__func__) for name, m in net.named_modules()}
    scan_heads(net, IMAGES)
    assert torch.equal(net(IMAGES), before)
    assert state == {name: id(m.forward.__func__) for name, m in net.named_modules()}


def test_progress_is_told_and_ends_a_scan():
    told = []
    scan_heads(
        small_net(), IMAGES, batch_size=2, report=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (9, 9) and [done for done, _ in told] == [2, 3, 5, 6, 8, 9]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_patches(small_net(), IMAGES, report=stop)


def test_a_caption_is_scanned_by_its_log_probability():
    net, words = captioner(), torch.tensor([[1, 4, 5, 7, 8]])
    answer = CaptionAnswer((4, 5, 7, 8))

    def run(batch):
        return net(batch, words.expand(len(batch), -1))

    scan = scan_heads(net, images(), run=run, answer=answer)
    assert scan.heads == [2, 3, 3, 3, 3]
    assert scan.effects.changed["logprob"][0, 2].isnan()
    with intervene(net, heads_off={4: [2]}):
        logprobs = net(images(), words)[0].log_softmax(-1)
    close(
        scan.effects.changed["logprob"][4, 2],
        sum(logprobs[i, w] for i, w in enumerate(answer.words)),
    )
    patches = scan_patches(net, images(), run=run, answer=answer)
    assert patches.effect("logprob").shape == (4, 4)


def test_random_draws_equal_runs_with_the_same_heads_and_patches():
    net = small_net()
    layers = {f"blocks.{layer}.attention": 3 for layer in range(3)}
    whole = random_answers(net, IMAGES, net.tokens, layers=layers, heads=9, patches=16, draws=3)
    with intervene(net, heads_off={n: range(3) for n in range(3)}, hide_patches=range(16)):
        close(whole, net(IMAGES).expand(3, -1))
    some = random_answers(net, IMAGES, net.tokens, layers=layers, heads=2, draws=8)
    one_by_one = []
    for first in range(9):
        for second in range(first):
            off = {}
            for head in (first, second):
                off.setdefault(head // 3, []).append(head % 3)
            with intervene(net, heads_off=off):
                one_by_one.append(net(IMAGES)[0])
    distances = torch.cdist(
        some, torch.stack(one_by_one), compute_mode="donot_use_mm_for_euclid_dist"
    )
    nearest = distances.min(1)
    close(nearest.values, torch.zeros(8))
    assert len(set(nearest.indices.tolist())) > 3
    assert torch.equal(
        some, random_answers(net, IMAGES, net.tokens, layers=layers, heads=2, draws=8)
    )


def test_a_net_without_classes_needs_an_answer():
    net = small_net(num_classes=0, dim=24)
    with pytest.raises(InterventionRefused, match="There is no class 99"):
        scan_heads(net, IMAGES, target=99)


def test_random_patches_are_taken_out_and_taken_from_a_second_run():
    """Draws of one seed hide the same patches, so each kind is run again by hand."""
    net = small_net()
    gone = random_answers(net, IMAGES, net.tokens, patches=15, hide="remove", draws=4)
    alone = []
    for patch in range(16):
        with intervene(net, hide_patches=[p for p in range(16) if p != patch], hide="remove"):
            alone.append(net(IMAGES)[0])
    for draw in gone:
        assert min((draw - one).abs().max() for one in alone) < 1e-5
    other = keep_activations(net, torch.randn_like(IMAGES))
    taken = random_answers(net, IMAGES, net.tokens, patches=16, source=other, after=1, draws=2)
    with intervene(net, source=other, tokens_from={1: range(1, 17)}):
        close(taken, net(IMAGES).expand(2, -1))


def test_random_heads_become_their_means_or_those_of_a_second_run():
    net, layers = small_net(), {"blocks.0.attention": 3}
    means = head_means(net, [torch.randn_like(IMAGES)], "noise")
    found = random_answers(
        net, IMAGES, net.tokens, layers=layers, heads=3, replace_by=means, draws=2
    )
    with intervene(net, heads_off={0: range(3)}, replace_by=means):
        close(found, net(IMAGES).expand(2, -1))
    other = keep_activations(net, torch.randn_like(IMAGES))
    rule = FromRun(other.heads)
    found = random_answers(
        net, IMAGES, net.tokens, layers=layers, heads=3, replace_by=rule, draws=2
    )
    with intervene(net, source=other, heads_from={0: range(3)}):
        close(found, net(IMAGES).expand(2, -1))
