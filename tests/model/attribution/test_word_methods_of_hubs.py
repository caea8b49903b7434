"""Words of ViT-GPT2's and BLIP's captions: the same methods, over a memory with a class token."""

import importlib.util

import pytest
import torch

from model import zoo
from model.attribution.gradients import integrated_pixels
from model.attribution.registry import METHODS, WINDOWED, explain, why_unsuitable
from model.attribution.word_trace import trace_word
from model.captioning.words import NextWord
from model.datasets import samples
from tests.model.hub_cache import use_cache
from tests.model.hub_captioners import publish

pytestmark = [
    pytest.mark.hubs,
    pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers"),
    pytest.mark.filterwarnings("ignore"),
]
CAPTION = ["a", "dog", "on", "a", "ball"]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a captioner of the hub, and traces the fourth word of a caption."""
    use_cache(monkeypatch, tmp_path)

    def open_(kind, **encoder):
        publish(kind, tmp_path, **encoder)
        bundle = zoo.load(f"hf/org/{kind}")
        word = bundle.word(CAPTION, 3)
        images = bundle.prepare(samples.load("coffee"))
        return bundle, word, trace_word(bundle.net, images, bundle.patch_layout, word)

    return open_


@pytest.mark.parametrize("kind", ["vit-gpt2", "blip"])
def test_every_method_for_a_word(opened, kind):
    bundle, word, trace = opened(kind)
    caption = bundle.score(samples.load("coffee"), " ".join(CAPTION))
    logprob = trace.output.log_softmax(-1)[0, word.number]
    assert float(logprob) == pytest.approx(float(caption.logprobs[3]), abs=1e-5)
    shown = explain(trace, "attention")[0]
    expected = torch.from_numpy(caption.attention())[3, 1:].unflatten(0, (4, 4))
    torch.testing.assert_close(shown, expected, atol=1e-6, rtol=1e-4)
    for method in METHODS:
        assert why_unsuitable(trace, method) is None
        relevance = explain(trace, method)
        assert relevance.shape == (1, 4, 4) and relevance.isfinite().all(), method
    writer = NextWord(bundle.net, word.before)
    with torch.no_grad():
        rise = (writer(trace.images) - writer(torch.zeros_like(trace.images)))[0, word.number]
    total = integrated_pixels(trace, steps=40).sum()
    assert float(total) == pytest.approx(float(rise), abs=1e-3)


def test_an_encoder_with_windows_leaves_what_needs_no_product_of_its_maps(opened):
    _, _, trace = opened("swin", patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2])
    reasons = {method: why_unsuitable(trace, method) for method in METHODS}
    needs = {"rollout", "gradient_rollout", "chefer", "legrad"}
    assert {method for method, reason in reasons.items() if reason} == needs
    assert all(reasons[method] == WINDOWED for method in needs)
    for method in METHODS.keys() - needs:
        assert explain(trace, method).shape == (1, 4, 4)
