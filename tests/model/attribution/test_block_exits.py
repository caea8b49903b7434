"""Ending a net after each of its blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.attribution.block_exits import block_names, trace_block_exits
from model.attribution.trace import class_score, trace_class
from tests.model.attribution.test_trace import photos, tiny


@pytest.mark.parametrize(
    ("layers", "blocks"),
    [
        (["blocks.0.attn", "blocks.1.attn"], ["blocks.0", "blocks.1"]),
        (["encoder.layers.a.self_attention"], ["encoder.layers.a"]),
        (["e.layer.0.attn.self", "e.layer.1.attn.self"], ["e.layer.0", "e.layer.1"]),
        (["0.attn", "1.attn"], ["0", "1"]),
        (["block.attn", "block.attn"], ["block"]),
    ],
)
def test_blocks_are_found_by_the_names_of_their_attention(layers, blocks):
    assert block_names(layers) == blocks


def test_the_last_exit_is_the_net_itself():
    net = tiny()
    trace = trace_class(net, photos(), net.tokens, [1, 2])
    names = [record.name for record in trace.records]
    records, gradients = trace_block_exits(net, photos(), class_score([1, 2]), names)
    last = records[-1].map_gradient(gradients[-1])
    torch.testing.assert_close(last, trace.gradient(-1))
    assert not torch.allclose(records[0].map_gradient(gradients[0]), trace.gradient(0))
    assert not any(t.requires_grad for record in records for t in record.tensors())
    assert not any(module._forward_hooks for module in net.modules())


def test_blocks_that_answer_in_a_tuple():
    net = tiny()
    expected = trace_block_exits(
        net, photos(), class_score(0), [f"blocks.{i}.attention" for i in range(3)]
    )

    class InTuple(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, tokens):
            return (self.block(tokens),)

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
            self.layers = nn.ModuleList(InTuple(block) for block in net.blocks)

        def forward(self, images):
            tokens = self.net.embed(images)
            tokens = torch.cat((self.net.cls_token.expand(len(tokens), -1, -1), tokens), 1)
            tokens = self.net.positions(tokens)
            for layer in self.layers:
                tokens = layer(tokens)[0]
            return self.net.head(self.net.norm(tokens[:, 0]))

    names = [f"layers.{i}.block.attention" for i in range(3)]
    _, found = trace_block_exits(Chain().eval(), photos(), class_score(0), names)
    for one, other in zip(found, expected[1], strict=True):
        torch.testing.assert_close(one, other)


def test_a_net_that_is_no_chain_is_a_sentence():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny()

        def forward(self, images):
            return self.net(images) + self.net(images.flip(-1))

    names = [f"net.blocks.{i}.attention" for i in range(3)]
    with pytest.raises(ValueError, match="chain"):
        trace_block_exits(Twice().eval(), photos(), class_score(0), names)


def test_a_layer_that_runs_twice_is_no_chain():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny()
            self.net.blocks = nn.Sequential(*[self.net.blocks[0]] * 3)

        def forward(self, images):
            return self.net(images)

    net = Shared().eval()
    trace = trace_class(net, photos(), net.net.tokens, 1)
    with pytest.raises(ValueError, match="chain"):
        trace_block_exits(net, photos(), trace.score, [record.name for record in trace.records])
