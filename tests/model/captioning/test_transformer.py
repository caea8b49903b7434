import json
import math

import pytest
import torch
from torch import nn

from model.captioning.base import CaptionerConfig, record_decoder_output
from model.captioning.build import build_captioner, config_as_dict
from model.captioning.transformer import Captioner
from model.datasets.vocabulary import PAD, SPECIAL, START
from model.nets.position_embedding import sinusoidal_code
from tests.model.captioners import ENCODER, captioner, images

SENTENCE = torch.tensor([[START, 4, 5, 7, 9, 4, 6, 8]])


def test_cached_decoding_equals_full_decoding():
    net, words = captioner(), SENTENCE.repeat(2, 1)
    memory = net.encode_image(images(2))
    full = net.teacher_force(memory, words)
    cache, steps = net.begin(memory), []
    for word in words.split(1, dim=1):
        logits, cache = net.advance(word, cache)
        steps.append(logits)
    assert torch.allclose(torch.cat(steps, 1), full, atol=1e-5)
    first, cache = net.advance(words[:, :5], net.begin(memory))
    second, _ = net.advance(words[:, 5:6], cache)
    assert torch.allclose(torch.cat((first, second), 1), full[:, :6], atol=1e-5)


def test_a_cache_can_be_reordered():
    net = captioner()
    memory = net.encode_image(images(2))
    _, cache = net.advance(torch.tensor([[START, 4], [START, 5]]), net.begin(memory))
    rows = torch.tensor([1, 0, 1])
    swapped, _ = net.advance(torch.tensor([[6], [7], [8]]), cache.select(rows))
    for row, (source, word) in enumerate(zip(rows, (6, 7, 8), strict=True)):
        alone = torch.tensor([[START, 4 + int(source), word]])
        expected = net.teacher_force(memory[source : source + 1], alone)[0, -1]
        assert torch.allclose(swapped[row, 0], expected, atol=1e-5)


def test_a_word_does_not_see_the_later_ones():
    net = captioner()
    memory = net.encode_image(images())
    other = SENTENCE.clone()
    other[:, 5:] = 6
    before, after = net.teacher_force(memory, SENTENCE), net.teacher_force(memory, other)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-6)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


def test_the_decoder_is_that_of_torch():
    """Post-norm layers of nn.TransformerDecoder with our weights give our logits."""
    net = captioner()
    config = net.config
    memory = net.encode_image(images(2))
    reference = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(
            config.dim, config.heads, config.mlp_dim, 0.0, "gelu", batch_first=True
        ),
        config.layers,
    ).eval()
    for theirs, ours in zip(reference.layers, net.layers, strict=True):
        for module, attention in (
            (theirs.self_attn, ours.self_attention),
            (theirs.multihead_attn, ours.cross_attention),
        ):
            parts = attention.query, attention.key, attention.value
            module.in_proj_weight.data = torch.cat([part.weight for part in parts])
            module.in_proj_bias.data = torch.cat([part.bias for part in parts])
            module.out_proj.load_state_dict(attention.proj.state_dict())
        theirs.linear1.load_state_dict(ours.mlp.fc1.state_dict())
        theirs.linear2.load_state_dict(ours.mlp.fc2.state_dict())
        for module, norm in (
            (theirs.norm1, ours.norm_self),
            (theirs.norm2, ours.norm_cross),
            (theirs.norm3, ours.norm_mlp),
        ):
            module.load_state_dict(norm.state_dict())
    words = SENTENCE.repeat(2, 1)
    code = sinusoidal_code(words.shape[1], config.dim).float()
    mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1])
    tokens = reference(net.embed(words) + code, memory, tgt_mask=mask, tgt_is_causal=True)
    assert torch.allclose(net.head(tokens), net.teacher_force(memory, words), atol=1e-5)


def test_the_output_has_each_layers_attention():
    net = captioner()
    memory, count = net.encode_image(images()), SENTENCE.shape[1]
    with torch.inference_mode():
        output = net.decoder_output(memory, SENTENCE)
        assert torch.allclose(output.logits, net.teacher_force(memory, SENTENCE), atol=1e-6)
    assert [tuple(m.shape) for m in output.cross] == [(1, 3, count, 16)] * 2
    assert [tuple(m.shape) for m in output.self_] == [(1, 3, count, count)] * 2
    for maps in (*output.cross, *output.self_):
        assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:-1]), atol=1e-5)
    for maps in output.self_:
        assert maps.triu(1).abs().max() == 0

    recorded = record_decoder_output(net, memory, SENTENCE)
    for ours, theirs in zip(
        (*output.cross, *output.self_), (*recorded.cross, *recorded.self_), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-6)

    with pytest.raises(ValueError, match="record=True"):
        net.attention_of(net.advance(SENTENCE, net.begin(memory))[1])

    # By hand, for the first layer.
    layer = net.layers[0]
    tokens = net.embed(SENTENCE) + sinusoidal_code(count, 24).float()
    attention = layer.self_attention
    seen = attention(attention.queries(tokens), attention.keys_values(tokens), causal=True)
    tokens = layer.norm_self(tokens + seen)
    query = layer.cross_attention.query(tokens).view(1, count, 3, 8).transpose(1, 2).double()
    key = layer.cross_attention.key(memory).view(1, 16, 3, 8).transpose(1, 2).double()
    expected = (query @ key.mT / math.sqrt(8)).softmax(-1)
    assert torch.allclose(output.cross[0].double(), expected, atol=1e-5)


def test_with_a_memory_of_one_there_is_nothing_to_choose():
    net = captioner(memory="one")
    memory = net.encode_image(images())
    assert memory.shape == (1, 1, 24)
    assert net.tokens.grid == (1, 1) and net.tokens.patch == (32, 32)
    for maps in net.decoder_output(memory, SENTENCE).cross:
        assert torch.equal(maps, torch.ones(1, 3, SENTENCE.shape[1], 1))
    other = net.teacher_force(net.encode_image(images(seed=1)), SENTENCE)
    assert not torch.allclose(other, net.teacher_force(memory, SENTENCE), atol=1e-4)


@pytest.mark.parametrize("patch", [4, 8])
def test_a_token_sees_what_lies_about_the_middle_of_its_patch(patch):
    stem = {"embed": "stem", "stem": (8,) * (patch.bit_length() - 1), "positions": "none"}
    net = captioner(encoder={"patch_size": patch} | stem)
    net.encoder.blocks = nn.ModuleList()  # each token by itself
    pictures = images().requires_grad_()
    row, column = 16 // patch, 16 // patch - 1
    token = net.encode_image(pictures)[0, net.tokens.index_of(row, column)]
    token.square().sum().backward()
    seen = pictures.grad[0].abs().sum(0) > 0
    for axis, place in ((1, row), (0, column)):
        pixels = seen.any(axis).nonzero()
        middle = (pixels[0] + pixels[-1] + 1).item() / 2
        assert abs(middle - patch * (place + 0.5)) <= 0.5


def test_prefix_tokens_are_not_remembered():
    net = captioner(encoder={"cls_token": True, "registers": 2})
    assert net.encode_image(images(2)).shape == (2, 16, 24)
    assert net.tokens.grid == (4, 4) and net.tokens.prefix == ()


@pytest.mark.parametrize("decoder", ["transformer", "recurrent"])
def test_a_config_goes_through_json(decoder):
    net = captioner(decoder=decoder)
    config = json.loads(json.dumps(config_as_dict(net.config)))
    again = build_captioner(config)
    assert type(again) is type(net) and again.config == net.config
    again.load_state_dict(net.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(images(), SENTENCE), net(images(), SENTENCE))


def test_padding_has_no_vector():
    assert captioner().embed(torch.tensor(PAD)).abs().max() == 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"decoder": "oracle"}, "oracle"),
        ({"memory": "none"}, "none"),
        ({"vocabulary": ("a", "b")}, "<pad>"),
        ({"heads": 5}, "heads"),
        ({"layers": 0}, "layers"),
        ({"encoder": ENCODER | {"num_classes": 10}}, "num_classes=0"),
    ],
)
def test_configs_that_make_no_captioner(changes, word):
    with pytest.raises(ValueError, match=word):
        CaptionerConfig(**{"encoder": ENCODER, "vocabulary": SPECIAL} | changes)


def test_more_words_than_positions():
    net = captioner()
    with pytest.raises(ValueError, match="16 words, not 17"):
        net.teacher_force(net.encode_image(images()), torch.full((1, 18), 5))
    assert isinstance(net, Captioner)
