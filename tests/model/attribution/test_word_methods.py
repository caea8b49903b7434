"""Words of captions: every method against its formula over explicit maps, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from model.attribution.generic_relevance import word_relevance
from model.attribution.gradients import integrated_pixels
from model.attribution.metrics.faithfulness import deletion, insertion
from model.attribution.registry import (
    METHODS,
    ONE_VECTOR,
    RECURRENT,
    WORD_METHODS,
    explain,
    why_unsuitable,
)
from model.attribution.word_trace import trace_word
from model.captioning.caption import CaptionBundle
from model.captioning.words import NextWord, Word, decoder_start
from model.datasets.vocabulary import START
from model.errors import MethodUnsuitable
from model.preprocessing import Resize
from tests.model import eager
from tests.model.captioners import captioner, images

WORD = Word((4, 5, 9), 7)
ENCODERS = {
    "patches": {"depth": 2},
    "cls": {"depth": 2, "cls_token": True},
    "one layer": {"depth": 1},
}


@pytest.fixture(params=ENCODERS)
def case(request):
    """A captioner in float64, the trace of a word, and the maps and gradients of the eager net."""
    net = captioner(encoder=ENCODERS[request.param]).double()
    photos = images(2).double()
    trace = trace_word(net, photos, net.tokens, WORD)
    logits, maps, memory, _ = eager.write(net, photos, words(2))
    y = logits[:, -1, WORD.number].sum()
    *gradients, at_memory = torch.autograd.grad(y, [*maps, memory])
    return net, trace, maps, gradients, memory, at_memory


def words(batch: int) -> torch.Tensor:
    return torch.tensor([[START, *WORD.before]]).expand(batch, -1)


def picture(values):
    return values[:, -16:].unflatten(1, (4, 4))


def close(found, expected, atol=1e-6):
    assert expected.abs().max() > 0
    torch.testing.assert_close(found.double(), expected, atol=atol, rtol=1e-5)


def test_the_trace_is_the_eager_net(case):
    net, trace, maps, gradients, memory, at_memory = case
    assert [r.kind for r in trace.records[-4:]] == ["self", "cross"] * 2
    assert trace.encoder_depth == net.config.encoder.depth and len(maps) == trace.depth
    for layer in range(trace.depth):
        close(trace.weights(layer), maps[layer])
        torch.testing.assert_close(
            trace.gradient(layer).double(), gradients[layer], atol=1e-6, rtol=1e-5
        )
    close(trace.tokens, memory)
    close(trace.token_gradient, at_memory)


def test_a_maps_gradient_is_that_of_finite_differences():
    net = captioner(encoder={"depth": 2}).double()
    trace = trace_word(net, images().double(), net.tokens, WORD)
    step, found = 1e-6, []
    for layer, head, query, key in ((0, 1, 3, 5), (1, 0, 9, 2), (2, 1, 3, 1), (3, 2, 3, 7),
                                    (3, 0, 1, 4), (5, 1, 3, 11)):  # fmt: skip
        nudge = torch.zeros(trace.records[layer].shape, dtype=torch.float64)
        nudge[0, head, query, key] = step
        up, down = (
            eager.write(net, images().double(), words(1), {layer: sign * nudge})[0]
            for sign in (1, -1)
        )
        slope = float((up - down)[0, -1, WORD.number].detach() / (2 * step))
        found.append(slope)
        assert float(trace.gradient(layer)[0, head, query, key]) == pytest.approx(slope, abs=1e-5)
    assert min(map(abs, found)) > 1e-5


def test_cross_attention(case):
    _, trace, maps, *_ = case
    close(explain(trace, "attention"), picture(maps[-1][:, :, -1].mean(1)))
    close(explain(trace, "attention", layer=0, head=2), picture(maps[-3][:, 2, -1]))
    close(explain(trace, "attention", head="min"), picture(maps[-1][:, :, -1].amin(1)))


def dense(fused, depth, residual, stop=None):
    """Rollout as one matrix over words and image tokens together, from the last word's row."""
    count, tokens = fused[depth].shape[-1], fused[0].shape[-1]
    result = torch.eye(count + tokens, dtype=torch.float64)
    for place, layer in enumerate(fused):
        whole = torch.eye(count + tokens, dtype=torch.float64).repeat(2, 1, 1)
        if place < depth:
            if stop is not None and place >= stop:
                continue
            block = slice(count, None), slice(count, None)
        elif (place - depth) % 2 == 0:
            block = slice(count), slice(count)
        else:
            block = slice(count), slice(count + tokens - 16, None)
        mixed = torch.zeros_like(whole)
        mixed[:, *block] = (1 - residual) * layer
        rows = block[0]
        whole[:, rows] = residual * whole[:, rows] + mixed[:, rows]
        result = whole / whole.sum(-1, keepdim=True) @ result
    return result[:, count - 1, count:]


@pytest.mark.parametrize("residual", [0.5, 0.2])
def test_rollout(case, residual):
    _, trace, maps, *_ = case
    fused = [m.mean(1) for m in maps]
    close(
        explain(trace, "rollout", residual=residual),
        picture(dense(fused, trace.encoder_depth, residual)),
    )
    grown = explain(trace, "rollout", residual=residual, stop=1)
    close(grown, picture(dense(fused, trace.encoder_depth, residual, stop=1)))


def test_rollout_with_the_largest_head_and_without_the_weakest(case):
    _, trace, maps, *_ = case
    fused = []
    for layer in maps:
        strongest = layer.amax(1)
        place = strongest.argsort(dim=-1, stable=True).argsort(dim=-1)
        fused.append(strongest * (place >= int(0.3 * strongest.shape[-1])))
    expected = dense(fused, trace.encoder_depth, 0.5)
    close(explain(trace, "rollout", fusion="max", discard=0.3), picture(expected), atol=1e-5)


def test_one_decoder_layer_is_cross_attention_over_the_encoders_rollout():
    net = captioner(layers=1, encoder={"depth": 2}).double()
    trace = trace_word(net, images().double(), net.tokens, WORD)
    row = trace.weights(-1, -1).mean(1)[:, 0]
    for layer in (1, 0):
        row = 0.5 * row + 0.5 * (row[:, None] @ trace.weights(layer).mean(1))[:, 0]
    found = explain(trace, "rollout")
    torch.testing.assert_close(found / found.sum(), picture(row), atol=1e-6, rtol=1e-5)


def test_gradient_rollout(case):
    _, trace, maps, gradients, *_ = case
    fused = [(a * g).mean(1).relu() for a, g in zip(maps, gradients, strict=True)]
    expected = dense(fused, trace.encoder_depth, 0.3)
    close(explain(trace, "gradient_rollout", residual=0.3), picture(expected))


@pytest.mark.parametrize("start", [0, 1])
def test_chefer(case, start):
    _, trace, maps, gradients, *_ = case
    c = [(a * g).relu().mean(1) for a, g in zip(maps, gradients, strict=True)]
    tokens = maps[0].shape[-1]
    ii = torch.eye(tokens, dtype=torch.float64).repeat(2, 1, 1)
    qq, qi = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1), torch.zeros(2, 4, tokens).double()
    for layer in c[start : trace.encoder_depth]:
        ii = ii + layer @ ii

    def norm(relevance):
        gained = relevance - torch.eye(relevance.shape[-1])
        return gained.div(gained.sum(-1, keepdim=True)).nan_to_num() + torch.eye(len(gained[0]))

    for own, cross in zip(
        c[trace.encoder_depth :: 2], c[trace.encoder_depth + 1 :: 2], strict=True
    ):
        qq, qi = qq + own @ qq, qi + own @ qi
        qi = qi + norm(qq).mT @ cross @ norm(ii)[:, -16:]
    close(explain(trace, "chefer", start=start), picture(qi[:, -1]), atol=1e-5)
    torch.testing.assert_close(word_relevance(trace, start)[0].double(), qq, atol=1e-6, rtol=1e-4)


def test_attention_gradcam(case):
    _, trace, maps, gradients, *_ = case
    for layer in (0, 1):
        a, g = (
            values[trace.encoder_depth + 2 * layer + 1][:, :, -1] for values in (maps, gradients)
        )
        expected = (g.mean(-1, keepdim=True) * a).mean(1).relu()
        found = explain(trace, "attention_gradcam", layer=layer)
        torch.testing.assert_close(found.double(), picture(expected), atol=1e-6, rtol=1e-5)


def test_legrad(case):
    net, trace, *_ = case
    _, maps, _, after = eager.write(net, images(2).double(), words(2))
    expected = []
    for a, tokens in zip(maps, after, strict=False):
        logits = eager.decode(net, eager.remembered(net, tokens), words(2), [])
        y = logits[:, -1, WORD.number].sum()
        expected.append(torch.autograd.grad(y, a, retain_graph=True)[0].relu().mean((1, 2)))
    close(explain(trace, "legrad"), picture(torch.stack(expected).mean(0)))
    close(explain(trace, "legrad", start=len(expected) - 1), picture(expected[-1]))


def test_token_gradcam(case):
    _, trace, _, _, memory, gradient = case
    expected = (gradient.mean(1, keepdim=True) * memory).sum(-1).relu()
    found = explain(trace, "token_gradcam")
    torch.testing.assert_close(found.double(), picture(expected), atol=1e-6, rtol=1e-5)


def test_pixels(case):
    net, trace, *_ = case
    photos = images(2).double().requires_grad_()
    logits, *_ = eager.write(net, photos, words(2))
    gradient = torch.autograd.grad(logits[:, -1, WORD.number].sum(), photos)[0]
    expected = gradient.abs().amax(1).unflatten(2, (4, 8)).unflatten(1, (4, 8)).mean((2, 4))
    close(explain(trace, "input_gradient"), expected)
    empty, *_ = eager.write(net, torch.zeros_like(photos), words(2))
    rise = (logits - empty)[:, -1, WORD.number]
    total = integrated_pixels(trace, steps=40).sum((1, 2, 3))
    torch.testing.assert_close(total, rise.detach(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_images_one_by_one(method):
    net, photos = captioner(encoder={"depth": 2, "cls_token": True}), images(3)
    together = explain(trace_word(net, photos, net.tokens, WORD), method)
    assert together.shape == (3, 4, 4)
    for photo, expected in zip(photos, together, strict=True):
        alone = explain(trace_word(net, photo[None], net.tokens, WORD), method)
        torch.testing.assert_close(alone[0], expected, atol=1e-5, rtol=1e-4)


def test_the_first_word_has_only_the_start_before_it():
    net = captioner()
    trace = trace_word(net, images(), net.tokens, Word((), 4))
    for method in METHODS:
        assert explain(trace, method).isfinite().all()
    row = trace.weights(-1).mean(1)[:, 0]
    torch.testing.assert_close(explain(trace, "attention"), row.unflatten(1, (4, 4)))


def test_where_nothing_speaks_for_the_word_the_maps_are_zero_not_nan():
    net = captioner()
    trace = trace_word(net, images(), net.tokens, WORD)
    zeros = [torch.zeros_like(gradient) for gradient in trace.gradients]
    silent = replace(trace, gradients=zeros, token_gradient=torch.zeros_like(trace.tokens))
    for method in ("gradient_rollout", "chefer", "attention_gradcam", "token_gradcam"):
        assert not explain(silent, method).any(), method


def test_a_single_vector_cannot_be_followed_back():
    net = captioner(memory="one")
    bundle = bundled(net)
    assert bundle.patch_layout.grid == (4, 4) and bundle.tokens.grid == (1, 1)
    trace = trace_word(net, images(), bundle.patch_layout, WORD)
    works = [m for m in METHODS if why_unsuitable(trace, m) is None]
    assert works == ["legrad", "input_gradient", "integrated_gradients", "random_map"]
    for method in works:
        assert explain(trace, method).shape == (1, 4, 4)
    assert why_unsuitable(trace, "chefer") == ONE_VECTOR
    with pytest.raises(MethodUnsuitable, match="single vector"):
        explain(trace, "attention")


def test_a_recurrent_decoder_has_one_map_and_no_layers_to_multiply():
    net, photos = captioner(decoder="recurrent", encoder={"depth": 2}), images(2)
    trace = trace_word(net, photos, net.tokens, WORD)
    assert trace.encoder_depth == trace.depth == 2
    reasons = {method: why_unsuitable(trace, method) for method in METHODS}
    cannot = {"gradient_rollout", "chefer", "attention_gradcam"}
    assert {method for method, reason in reasons.items() if reason == RECURRENT} == cannot
    assert sum(reason is not None for reason in reasons.values()) == len(cannot)
    for method in METHODS.keys() - cannot:
        assert explain(trace, method).any(), method

    hidden = context = torch.zeros(2, 24)
    memory = net.encode_image(photos)
    keys = memory @ net.attention.key.weight.T
    for word in words(2).unbind(1):
        hidden = net.cell(torch.cat((net.embed(word), context), 1), hidden)
        mixed = torch.tanh(net.attention.query(hidden)[:, None] + keys)
        row = (mixed @ net.attention.score.weight[0]).softmax(-1)
        context = (row[:, None] @ memory)[:, 0]
    close(explain(trace, "attention"), picture(row).double(), atol=1e-5)
    for layer in (1, 0):
        row = 0.5 * row + 0.5 * (row[:, None] @ trace.weights(layer).mean(1))[:, 0]
    close(explain(trace, "rollout"), picture(row).double(), atol=1e-5)


def test_where_the_decoder_begins():
    net = captioner(encoder={"depth": 2})
    sixteen = Word((4,) * 15, 7)  # as many words as patches, <start> among them
    assert decoder_start(trace_word(net, images(), net.tokens, sixteen).records) == 2


def test_methods_have_the_names_that_classes_have():
    assert list(WORD_METHODS) == list(METHODS)


def bundled(net) -> CaptionBundle:
    return CaptionBundle("tiny", net, net.tokens, (0.5,) * 3, (0.25,) * 3, Resize((32, 32)))


def test_curves_are_of_the_words_probability_as_the_captioner_tells_it():
    bundle = bundled(captioner())
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    photo = Image.fromarray(pixels)
    caption = bundle.score(photo, "a red circle above a square")
    word = bundle.word(caption.words, 2)
    writer = NextWord(bundle.net, word.before)
    prepared, maps = bundle.prepare(photo), torch.rand(1, 4, 4)
    gone = deletion(writer, prepared, maps, word.number, bundle.tokens, "zeroed", 8)
    shown = insertion(writer, prepared, maps, word.number, bundle.tokens, "zeroed", 8)
    assert float(gone.logprob[0, 0]) == pytest.approx(float(caption.logprobs[2]), abs=1e-5)
    assert float(shown.logprob[0, -1]) == pytest.approx(float(caption.logprobs[2]), abs=1e-5)
    grey = Image.fromarray(np.full((32, 32, 3), 128, np.uint8))  # 0.5 but for rounding
    empty = bundle.score(grey, "a red circle").logprobs[2]
    assert float(shown.logprob[0, 0]) == pytest.approx(float(empty), abs=0.02)
    assert float(gone.probability[0, 0]) == pytest.approx(np.exp(caption.logprobs[2]), abs=1e-5)
