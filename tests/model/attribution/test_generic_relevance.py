"""Chefer's matrices against the rules written out, and against a hand-made decoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.attribution.class_methods import class_chefer
from model.attribution.generic_relevance import (
    add_self_attention,
    identity,
    image_relevance,
    normalise_gained,
    word_relevance,
)
from model.attribution.trace import trace_class
from model.tokens import TokenLayout
from tests.model.attribution.test_trace import VARIANTS, photos, tiny


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_map_is_a_row_of_the_matrix(variant):
    net = tiny(**VARIANTS[variant])
    trace = trace_class(net, photos(), net.tokens, [0, 3])
    gained = image_relevance(trace) - torch.eye(net.tokens.tokens)
    row = torch.einsum("bq,bqk->bk", trace.readout_weights, gained)
    expected = row[:, trace.layout.patch_slice].unflatten(1, trace.layout.grid)
    torch.testing.assert_close(class_chefer(trace), expected, atol=1e-6, rtol=1e-4)


def test_zero_gradients_give_the_identity():
    net = tiny()
    trace = trace_class(net, photos(), net.tokens, lambda logits: 0 * logits.sum(1))
    assert torch.equal(image_relevance(trace), torch.eye(7).expand(2, -1, -1))


def test_what_was_gained_is_divided_by_its_sum():
    relevance = torch.tensor([[[1.0, 0.0, 0.0], [0.1, 1.3, 0.0], [0.2, 0.2, 1.4]]])
    expected = torch.tensor([[[1.0, 0.0, 0.0], [0.25, 1.75, 0.0], [0.25, 0.25, 1.5]]])
    torch.testing.assert_close(normalise_gained(relevance), expected)
    eye = identity(2, 4, torch.device("cpu"))
    assert torch.equal(normalise_gained(eye), eye)


class Captioner(nn.Module):
    """An encoder of 4 patches and a decoder of 3 words, two layers each."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Linear(3, 8)
        self.encoder = nn.TransformerEncoder(self.layer(nn.TransformerEncoderLayer), 2)
        self.words = nn.Parameter(torch.randn(1, 3, 8))
        self.decoder = nn.TransformerDecoder(self.layer(nn.TransformerDecoderLayer), 2)
        self.head = nn.Linear(8, 5)

    def layer(self, kind):
        return kind(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, images):
        memory = self.encoder(self.patches(images.flatten(2).mT))
        mask = nn.Transformer.generate_square_subsequent_mask(3)
        words = self.words.expand(len(images), -1, -1)
        return self.head(self.decoder(words, memory, tgt_mask=mask))


def test_a_captioners_rules():
    torch.manual_seed(0)
    net = Captioner().eval()
    images = torch.randn(2, 3, 2, 2)
    trace = trace_class(net, images, TokenLayout((2, 2)), lambda logits: logits[:, 1, 4])
    assert [r.kind for r in trace.records] == ["self"] * 2 + ["self", "cross"] * 2
    over_words, over_image = word_relevance(trace)

    maps = [
        (trace.weights(i) * trace.gradient(i)).relu().mean(1).double() for i in range(trace.depth)
    ]
    for image in range(2):
        c = [m[image] for m in maps]
        ii, qq, qi = torch.eye(4).double(), torch.eye(3).double(), torch.zeros(3, 4).double()
        for encoder in c[:2]:
            ii = ii + encoder @ ii
        for own, cross in ((c[2], c[3]), (c[4], c[5])):
            qq, qi = qq + own @ qq, qi + own @ qi
            norm = [torch.nan_to_num((r - torch.eye(len(r))) / (r - torch.eye(len(r))).sum(1, True))
                    + torch.eye(len(r)) for r in (qq, ii)]  # fmt: skip
            qi = qi + norm[0].T @ cross @ norm[1]
        torch.testing.assert_close(over_words[image].double(), qq, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(over_image[image].double(), qi, atol=1e-6, rtol=1e-4)
    assert not over_words[:, 0, 1:].any(), "the first word has seen no later one"
    assert (over_image[:, 1].sum(-1) > 0).all()


def test_without_cross_attention_no_word_looks():
    net = tiny()
    with pytest.raises(ValueError, match="no cross-attention"):
        word_relevance(trace_class(net, photos(), net.tokens, 0))


def test_self_relevance_moves_what_was_there_before():
    step = torch.tensor([[[0.0, 0.5], [0.0, 0.0]]])
    before = torch.tensor([[[0.0, 2.0], [4.0, 0.0]]])
    expected = torch.tensor([[[2.0, 2.0], [4.0, 0.0]]])
    torch.testing.assert_close(add_self_attention([step], before), expected)
