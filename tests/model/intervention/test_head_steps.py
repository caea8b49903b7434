"""Inside a head, against blocks written out by hand in float64."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.intervention import inside_head
from model.intervention.graph_reader import read_layer
from model.nets.vit import build
from tests.model import captioners

SMALL = {"img_size": 32, "patch_size": 8, "dim": 48, "depth": 3, "heads": 3, "num_classes": 5}
PRESETS = {
    "vit": {},
    "cs231n": {},
    "d2l": {},
    "einops_b16": {},
    "clip_b32": {"projection": 0},
    "vit, registers": {"registers": 2},
    "vit, mean": {"cls_token": False, "pool": "mean", "positions": "sinusoidal"},
    "vit, divided after the softmax": {"scale_by": "after_softmax"},
}
IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def lively(net: nn.Module) -> nn.Module:
    """Weights that attend unevenly, and norms that do something."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.2 * noise)
    return net.eval()


def preset(name: str) -> nn.Module:
    return lively(build(name.split(",")[0], **SMALL | PRESETS[name]))


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().sum(-1, keepdim=True) / x.shape[-1] + norm.eps).sqrt()
    return centred / deviation * norm.weight + norm.bias


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    projected = torch.einsum("ni,oi->no", x, layer.weight)
    return projected if layer.bias is None else projected + layer.bias


def attend(attention: nn.Module, x: Tensor, seen: Tensor, head: int, divisor: float, causal=False):
    """One head by hand: its part of q, k and v, its map, and what it mixes."""
    width = attention.query.weight.shape[0] // attention.heads
    part = slice(head * width, (head + 1) * width)
    q = linear(attention.query, x)[:, part]
    k, v = (linear(layer, seen)[:, part] for layer in (attention.key, attention.value))
    scores = torch.zeros(len(q), len(k), dtype=torch.float64)
    for i in range(len(q)):
        for j in range(len(k)):
            later = causal and j > i
            scores[i, j] = -math.inf if later else (q[i] * k[j]).sum() / divisor
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return q, k, v, weights, weights @ v


def by_hand(net: nn.Module, tokens: Tensor, layer: int) -> dict[str, Tensor]:
    """Every number of one block, from the tokens (N, D) that enter it, in float64."""
    config, block = net.config, copy.deepcopy(net.blocks[layer]).double()
    x = tokens.double()
    width = config.dim // config.heads
    divisor = {"head": math.sqrt(width), "width": math.sqrt(config.dim)}.get(config.scale_by, 1.0)
    gain = 1 / math.sqrt(config.dim) if config.scale_by == "after_softmax" else 1.0
    normed = layer_norm(block.norm_attention, x) if config.norm == "pre" else x
    heads = [attend(block.attention, normed, normed, h, divisor) for h in range(config.heads)]
    side = gain * torch.cat([mixed for *_, mixed in heads], -1)
    attention = linear(block.attention.proj, side)
    residual = x + attention
    after = residual if config.norm == "pre" else layer_norm(block.norm_attention, residual)
    inner = layer_norm(block.norm_mlp, after) if config.norm == "pre" else after
    mlp = block.mlp(inner[None])[0]
    end = after + mlp
    return {
        "token": x,
        "norm": normed,
        "query": torch.stack([q for q, *_ in heads]),
        "key": torch.stack([k for _, k, *_ in heads]),
        "value": torch.stack([v for _, _, v, *_ in heads]),
        "softmax": torch.stack([w for *_, w, _ in heads]),
        "mixed": torch.stack([m for *_, m in heads]),
        "heads": side,
        "projected": attention,
        "residual": residual,
        "norm_after": after,
        "mlp": mlp,
        "leaving": end if config.norm == "pre" else layer_norm(block.norm_mlp, end),
    }


def entering(net: nn.Module, layer: int) -> Tensor:
    """The tokens that enter a block, by torch's own hook."""
    seen = []
    hook = net.blocks[layer].register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    with torch.no_grad():
        net(IMAGES)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_each_step_is_the_models_own_number(name):
    net = preset(name)
    layer, head, query, key = 1, 2, 3, 5
    inside = inside_head(net, IMAGES, layer, head, query, key)
    truth = by_hand(net, entering(net, layer), layer)
    assert inside.missing == []
    close = {"atol": 1e-5, "rtol": 1e-5}
    for step in ("query", "softmax", "mixed"):
        torch.testing.assert_close(inside[step].double(), truth[step][head, query], **close)
    for step in ("key", "value"):
        torch.testing.assert_close(inside[step].double(), truth[step][head, key], **close)
    names = ["token", "heads", "projected", "residual", "mlp", "leaving"]
    names.append("norm_after" if net.config.norm == "post" else "norm")
    for step in names:
        torch.testing.assert_close(inside[step].double(), truth[step][query], **close)
    assert inside.difference < 1e-5 and inside.block_difference < 1e-5


@torch.no_grad()
def test_the_products_sum_to_the_score_and_the_softmax_to_one():
    net = preset("vit")
    inside = inside_head(net, IMAGES, 0, 1, 0, 7)
    q, k = inside["query"].double(), inside["key"].double()
    assert torch.equal(inside["products"], q * k)
    assert inside["product"].item() == pytest.approx(sum((q * k).tolist()))
    assert inside["scaled"][7].item() == pytest.approx(inside["product"].item() / 4)  # sqrt(16)
    assert inside["softmax"].sum().item() == pytest.approx(1)
    with pytest.raises(KeyError, match="There is no step 'masked': token, norm"):
        inside["masked"]


def test_the_net_is_the_same_afterwards():
    net = preset("vit")
    before, state = net(IMAGES), copy.deepcopy(net.state_dict())
    inside_head(net, IMAGES, 1)
    assert torch.equal(net(IMAGES), before)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert not net.training and not net.blocks[1].attention._forward_hooks


def test_layers_count_from_the_last_too_and_have_names():
    net = preset("vit")
    last = inside_head(net, IMAGES, -1)
    for layer in (2, "blocks.2.attention"):
        assert torch.equal(inside_head(net, IMAGES, layer)["leaving"], last["leaving"])


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        ({"head": 3}, IndexError, "There is no head 3: this layer has 3"),
        ({"query": 17}, IndexError, "There is no query 17"),
        ({"key": -1}, IndexError, "There is no key -1"),
        ({"layer": 3}, NothingRecorded, "No attention ran in layer 3"),
        ({"layer": -4}, NothingRecorded, "There is no layer -4: 3 modules attend"),
        ({"layer": "blocks.9"}, NothingRecorded, "No attention ran in layer blocks.9"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(asked, error, sentence):
    with pytest.raises(error, match=sentence):
        inside_head(preset("vit"), IMAGES, **asked)


def test_one_image_at_a_time():
    net = preset("vit")
    with pytest.raises(ValueError, match=r"Give one image, \(1, C, H, W\), not \(2, 3, 32, 32\)"):
        inside_head(net, IMAGES.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="attends in 2 images"):
        inside_head(net, lambda: net(IMAGES.expand(2, -1, -1, -1)))


# -- captioners -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1])
@torch.no_grad()
def test_a_captioners_words_and_patches(layer):
    """Masked self-attention, then cross-attention, then the MLP, all norms after."""
    net = captioners.captioner()
    memory = net.encode_image(captioners.images())
    words = torch.tensor([[1, 4, 5, 7, 6]])
    run = lambda: net.teacher_force(memory, words)  # noqa: E731
    own = inside_head(net, run, f"layers.{layer}.self_attention", 1, 2, 1)
    cross = inside_head(net, run, f"layers.{layer}.cross_attention", 2, 3, 6)
    assert own.missing == [] and cross.missing == []

    module = copy.deepcopy(net.layers[layer]).double()
    x, seen = own.layer.entering.double(), memory[0].double()
    divisor = math.sqrt(net.config.dim // net.config.heads)
    heads = [attend(module.self_attention, x, x, h, divisor, causal=True) for h in range(3)]
    *_, weights, mixed = heads[1]
    close = {"atol": 1e-5, "rtol": 1e-5}
    assert own["masked"][3:].isneginf().all() and own["masked"][:3].isfinite().all()
    torch.testing.assert_close(own["softmax"], weights[2], **close)
    torch.testing.assert_close(own["mixed"], mixed[2], **close)
    side = torch.cat([m for *_, m in heads], -1)
    stream = layer_norm(module.norm_self, x + linear(module.self_attention.proj, side))
    torch.testing.assert_close(own["norm_after"].double(), stream[2], **close)
    assert own.layer.between_sublayers == ["attention"]

    torch.testing.assert_close(cross.layer.entering.double(), stream, **close)
    heads = [attend(module.cross_attention, stream, seen, h, divisor) for h in range(3)]
    torch.testing.assert_close(cross["softmax"], heads[2][3][3], **close)
    side = torch.cat([m for *_, m in heads], -1)
    stream = layer_norm(module.norm_cross, stream + linear(module.cross_attention.proj, side))
    end = layer_norm(module.norm_mlp, stream + module.mlp(stream[None])[0])
    for inside, query in ((own, 2), (cross, 3)):
        torch.testing.assert_close(inside["leaving"].double(), end[query], **close)
        assert inside.difference < 1e-5
    assert cross.block_difference < 1e-5
    assert math.isnan(own.block_difference)  # the cross-attention lies between


@torch.no_grad()
def test_the_first_layer_gets_words_and_positions():
    net = captioners.captioner()
    memory = net.encode_image(captioners.images())
    words = torch.tensor([[1, 4, 5]])
    numbers = read_layer(net, lambda: net.teacher_force(memory, words), "layers.0.self_attention")
    expected = net.embed.weight[words[0]] + net.positions.code[:3]
    torch.testing.assert_close(numbers.entering, expected)
