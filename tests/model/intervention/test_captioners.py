"""Interventions on captioners: on the encoder, and on self- and cross-attention of the decoder."""

from __future__ import annotations

import copy

import pytest
import torch

from model import AttentionRecorder
from model.captioning import decoding
from model.intervention import head_means, intervene
from model.intervention.structure import attention_names
from tests.model.captioners import captioner, images

WORDS = torch.tensor([[1, 4, 5, 7, 8]])
LAYERS = [
    "encoder.blocks.0.attention",
    *("layers.0.self_attention", "layers.0.cross_attention"),
    *("layers.1.self_attention", "layers.1.cross_attention"),
]


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_layers_are_counted_as_the_recorder_counts_them():
    net = captioner()
    with AttentionRecorder(net) as recorder:
        net(images(), WORDS)
    assert [record.name for record in recorder.records] == LAYERS == attention_names(net)


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_a_head_off_subtracts_its_term(layer):
    net = captioner()
    changed = copy.deepcopy(net)
    module = changed.get_submodule(LAYERS[layer])
    module.proj.weight.unflatten(1, (module.heads, -1))[:, 1] = 0
    for key in (layer, LAYERS[layer]):
        with intervene(net, heads_off={key: [1]}):
            close(net(images(), WORDS), changed(images(), WORDS))


def test_words_written_one_by_one_are_changed_too():
    net = captioner()
    changed = copy.deepcopy(net)
    for layer in changed.layers:
        layer.cross_attention.proj.weight.zero_()
    wanted = decoding.beam_search(changed, changed.encode_image(images()), 2, 8)
    off = {name: range(3) for name in LAYERS if "cross" in name}
    with intervene(net, heads_off=off):
        found = decoding.beam_search(net, net.encode_image(images()), 2, 8)
    assert [beam.words for beam in found] == [beam.words for beam in wanted]
    close(*(torch.tensor([beam.logprob for beam in beams]) for beams in (found, wanted)))
    plain = decoding.beam_search(net, net.encode_image(images()), 2, 8)
    assert abs(plain[0].logprob - wanted[0].logprob) > 1e-3


def test_cross_attention_is_knocked_out_from_patches():
    net = captioner()
    with intervene(net, never={2: [0, 5], 4: [0, 5]}), AttentionRecorder(net) as recorder:
        net(images(), WORDS)
    for place in (2, 4):
        assert recorder.records[place].weights()[..., [0, 5]].max() == 0


def test_patches_are_hidden_and_removed():
    net = captioner()
    hidden = images()
    hidden[..., :8, 8:16] = images().mean((2, 3), keepdim=True)
    with intervene(net, hide_patches=[1]):
        found = net(images(), WORDS)
    close(found, net(hidden, WORDS))
    with intervene(net, hide_patches=[1], hide="remove"):
        assert net.encode_image(images()).shape[1] == 15


def test_the_means_of_a_captioners_heads_are_of_one_run():
    net = captioner()
    means = head_means(net, [images()], "one picture", run=lambda batch: net(batch, WORDS))
    assert list(means.means) == LAYERS
