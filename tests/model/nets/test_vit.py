"""The vision transformer against plain readings of the published forward passes.

Each reference below takes a state dict under the published names and computes with explicit
softmax matrices. `*_keys` says where each of its tensors stands in our model.
"""

import json
import math
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import model
from model.analysis.patch_filters import find_patch_filters
from model.nets.patch_embedding import StemPatches
from model.nets.vit import (
    PRESETS,
    Block,
    DropPath,
    PatchDropout,
    VisionTransformer,
    ViTConfig,
    build,
)
from model.tokens import patchify

SMALL = {"img_size": 16, "patch_size": 4, "dim": 24, "depth": 2, "heads": 3, "num_classes": 5}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def scramble(net):
    """Weights of order one, norms and biases included, so that nothing can hide."""
    with torch.no_grad():
        for parameter in net.parameters():
            spread = parameter.flatten(1).shape[1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.normal_(std=spread)
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return net.eval()


def attend(query, key, value, heads, divisor, gain=1.0):
    """(B, N, D) each -> (B, N, D), one explicit matrix a head."""
    parts = []
    for q, k, v in zip(*(x.chunk(heads, dim=-1) for x in (query, key, value)), strict=True):
        parts.append((q @ k.mT / divisor).softmax(dim=-1) * gain @ v)
    return torch.cat(parts, dim=-1)


def norm(x, weights, name):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * weights[name + ".weight"] + weights[
        name + ".bias"
    ]


def linear(x, weights, name):
    out = x @ weights[name + ".weight"].T
    return out + weights[name + ".bias"] if name + ".bias" in weights else out


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def with_class_token(tokens, token):
    return torch.cat((token.reshape(1, 1, -1).expand(len(tokens), -1, -1), tokens), dim=1)


def convolved_patches(images, weight, bias):
    out = F.conv2d(images, weight, bias, stride=weight.shape[-1])
    return out.reshape(*out.shape[:2], -1).permute(0, 2, 1)


# --- CS231n ------------------------------------------------------------------------------------


def cs231n_keys(depth):
    names = {"patch_embed.proj": "embed.proj", "head": "head"}
    for i in range(depth):
        ours, theirs = f"blocks.{i}.", f"transformer.layers.{i}."
        for part in ("query", "key", "value", "proj"):
            names[f"{theirs}self_attn.{part}"] = f"{ours}attention.{part}"
        names[theirs + "norm_self"] = ours + "norm_attention"
        names[theirs + "norm_ffn"] = ours + "norm_mlp"
        names[theirs + "ffn.fc1"] = ours + "mlp.fc1"
        names[theirs + "ffn.fc2"] = ours + "mlp.fc2"
    return names


def cs231n(images, weights, patch, depth, heads):
    size, dim = images.shape[-1], len(weights["patch_embed.proj.weight"])
    flat = [
        images[:, :, y : y + patch, x : x + patch].flatten(1)
        for y in range(0, size, patch)
        for x in range(0, size, patch)
    ]
    x = linear(torch.stack(flat, dim=1), weights, "patch_embed.proj")
    for i in range(x.shape[1]):
        for j in range(0, dim, 2):
            angle = i * math.exp(-j * math.log(10000.0) / dim)
            x[:, i, j] += math.sin(angle)
            x[:, i, j + 1] += math.cos(angle)
    for i in range(depth):
        at = f"transformer.layers.{i}."
        parts = (linear(x, weights, f"{at}self_attn.{part}") for part in ("query", "key", "value"))
        mixed = attend(*parts, heads, math.sqrt(dim / heads))
        x = norm(x + linear(mixed, weights, at + "self_attn.proj"), weights, at + "norm_self")
        hidden = gelu(linear(x, weights, at + "ffn.fc1"))
        x = norm(x + linear(hidden, weights, at + "ffn.fc2"), weights, at + "norm_ffn")
    return linear(x.mean(dim=1), weights, "head")


# --- Dive into Deep Learning -------------------------------------------------------------------


def d2l_keys(depth):
    names = {
        "patch_embedding.conv": "embed.proj",
        "cls_token": "cls_token",
        "pos_embedding": "positions.code",
        "head.0": "norm",
        "head.1": "head",
    }
    for i in range(depth):
        ours, theirs = f"blocks.{i}.", f"blks.{i}."
        for letter, part in zip("qkvo", ("query", "key", "value", "proj"), strict=True):
            names[f"{theirs}attention.W_{letter}"] = f"{ours}attention.{part}"
        names[theirs + "ln1"] = ours + "norm_attention"
        names[theirs + "ln2"] = ours + "norm_mlp"
        names[theirs + "mlp.dense1"] = ours + "mlp.fc1"
        names[theirs + "mlp.dense2"] = ours + "mlp.fc2"
    return names


def d2l(images, weights, patch, depth, heads):
    x = convolved_patches(
        images, weights["patch_embedding.conv.weight"], weights["patch_embedding.conv.bias"]
    )
    x = with_class_token(x, weights["cls_token"]) + weights["pos_embedding"]
    for i in range(depth):
        at = f"blks.{i}."
        normed = norm(x, weights, at + "ln1")
        parts = (linear(normed, weights, f"{at}attention.W_{letter}") for letter in "qkv")
        mixed = attend(*parts, heads, math.sqrt(x.shape[-1] / heads))
        x = x + linear(mixed, weights, at + "attention.W_o")
        hidden = gelu(linear(norm(x, weights, at + "ln2"), weights, at + "mlp.dense1"))
        x = x + linear(hidden, weights, at + "mlp.dense2")
    return linear(norm(x[:, 0], weights, "head.0"), weights, "head.1")


# --- the einops tutorial -----------------------------------------------------------------------


def einops_keys(depth):
    names = {
        "0.projection.0": "embed.proj",
        "0.cls_token": "cls_token",
        "0.positions": "positions.code",
        "2.1": "norm",
        "2.2": "head",
    }
    for i in range(depth):
        ours, first, second = f"blocks.{i}.", f"1.{i}.0.fn.", f"1.{i}.1.fn."
        names[first + "0"] = ours + "norm_attention"
        names[first + "1.projection"] = ours + "attention.proj"
        names[second + "0"] = ours + "norm_mlp"
        names[second + "1.0"] = ours + "mlp.fc1"
        names[second + "1.3"] = ours + "mlp.fc2"
    return names


def einops(images, weights, patch, depth, heads, scores_divided=True):
    x = convolved_patches(images, weights["0.projection.0.weight"], weights["0.projection.0.bias"])
    x = with_class_token(x, weights["0.cls_token"]) + weights["0.positions"]
    batch, tokens, dim = x.shape
    for i in range(depth):
        at = f"1.{i}.0.fn."
        qkv = linear(norm(x, weights, at + "0"), weights, at + "1.qkv")
        qkv = qkv.reshape(batch, tokens, heads, dim // heads, 3)  # (h d qkv)
        parts = (qkv[..., part].reshape(batch, tokens, dim) for part in range(3))
        root = math.sqrt(dim)
        mixed = (
            attend(*parts, heads, root) if scores_divided else attend(*parts, heads, 1, 1 / root)
        )
        x = x + linear(mixed, weights, at + "1.projection")
        at = f"1.{i}.1.fn."
        hidden = gelu(linear(norm(x, weights, at + "0"), weights, at + "1.0"))
        x = x + linear(hidden, weights, at + "1.3")
    return linear(norm(x.mean(dim=1), weights, "2.1"), weights, "2.2")


# --- CLIP --------------------------------------------------------------------------------------


def clip_keys(depth):
    names = {
        "conv1": "embed.proj",
        "class_embedding": "cls_token",
        "positional_embedding": "positions.code",
        "ln_pre": "norm_embedding",
        "ln_post": "norm",
    }
    for i in range(depth):
        ours, theirs = f"blocks.{i}.", f"transformer.resblocks.{i}."
        names[theirs + "attn.out_proj"] = ours + "attention.proj"
        names[theirs + "ln_1"] = ours + "norm_attention"
        names[theirs + "ln_2"] = ours + "norm_mlp"
        names[theirs + "mlp.c_fc"] = ours + "mlp.fc1"
        names[theirs + "mlp.c_proj"] = ours + "mlp.fc2"
    return names


def clip(images, weights, patch, depth, heads):
    x = convolved_patches(images, weights["conv1.weight"], None)
    x = with_class_token(x, weights["class_embedding"]) + weights["positional_embedding"]
    x = norm(x, weights, "ln_pre")
    for i in range(depth):
        at = f"transformer.resblocks.{i}."
        qkv = norm(x, weights, at + "ln_1") @ weights[at + "attn.in_proj_weight"].T
        qkv = qkv + weights[at + "attn.in_proj_bias"]
        mixed = attend(*qkv.chunk(3, dim=-1), heads, math.sqrt(x.shape[-1] / heads))
        x = x + linear(mixed, weights, at + "attn.out_proj")
        hidden = linear(norm(x, weights, at + "ln_2"), weights, at + "mlp.c_fc")
        hidden = hidden / (1 + torch.exp(-1.702 * hidden))
        x = x + linear(hidden, weights, at + "mlp.c_proj")
    return norm(x[:, 0], weights, "ln_post") @ weights["proj"]


# --- our weights under the published names ------------------------------------------------------


def published(net, names):
    """Our state dict under published names; the tensors that have one name each."""
    ours, theirs = net.state_dict(), {}
    for name, here in names.items():
        for suffix in ("", ".weight", ".bias"):
            if here + suffix in ours:
                theirs[name + suffix] = ours.pop(here + suffix)
    return theirs, ours


def qkv_of(rest, depth, suffix):
    """The three tensors of each block that the published layout keeps as one."""
    for i in range(depth):
        yield [
            rest.pop(f"blocks.{i}.attention.{part}.{suffix}") for part in ("query", "key", "value")
        ]


def as_cs231n(net):
    return published(net, cs231n_keys(net.config.depth))


def as_d2l(net):
    return published(net, d2l_keys(net.config.depth))


def as_einops(net):
    weights, rest = published(net, einops_keys(net.config.depth))
    for suffix in ("weight", "bias"):
        for i, parts in enumerate(qkv_of(rest, net.config.depth, suffix)):
            weights[f"1.{i}.0.fn.1.qkv.{suffix}"] = torch.stack(parts, dim=1).flatten(0, 1)
    return weights, rest


def as_clip(net):
    weights, rest = published(net, clip_keys(net.config.depth))
    for suffix in ("weight", "bias"):
        for i, parts in enumerate(qkv_of(rest, net.config.depth, suffix)):
            weights[f"transformer.resblocks.{i}.attn.in_proj_{suffix}"] = torch.cat(parts)
    weights["proj"] = rest.pop("projection.weight").T
    return weights, rest


SMALLER = {"img_size": 32, "patch_size": 8, "dim": 96, "depth": 3}
PUBLISHED = [
    ("cs231n", cs231n, as_cs231n, {}),
    ("d2l", d2l, as_d2l, {}),
    ("einops_b16", einops, as_einops, {**SMALLER, "num_classes": 7}),
    ("clip_b32", clip, as_clip, {**SMALLER, "projection": 20}),
]


def largest_difference(preset, forward, rename, overrides, **reading):
    net = scramble(build(preset, **overrides))
    weights, rest = rename(net)
    assert not rest, "a tensor of ours has no published name"
    config = net.config
    images = torch.randn(2, 3, config.img_size, config.img_size)
    expected = forward(images, weights, config.patch_size, config.depth, config.heads, **reading)
    assert expected.std() > 0.1
    return (net(images) - expected).abs().max().item()


@torch.no_grad()
@pytest.mark.parametrize(
    ("preset", "forward", "rename", "overrides"), PUBLISHED, ids=[row[0] for row in PUBLISHED]
)
def test_computes_what_the_published_code_computes(preset, forward, rename, overrides):
    assert largest_difference(preset, forward, rename, overrides) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize(
    ("row", "default"),
    [
        (0, {"norm": "pre"}),
        (2, {"scale_by": "head"}),
        (2, {"pool": "cls"}),
        (2, {"pool": "mean"}),
        (3, {"activation": "gelu"}),
    ],
)
def test_each_oddity_matters(row, default):
    preset, forward, rename, overrides = PUBLISHED[row]
    assert largest_difference(preset, forward, rename, {**overrides, **default}) > 1e-3


@torch.no_grad()
def test_the_einops_listing_that_divides_after_the_softmax():
    _, forward, rename, overrides = PUBLISHED[2]
    after = {**overrides, "scale_by": "after_softmax"}
    unlike = largest_difference("einops_b16", forward, rename, after)
    alike = largest_difference("einops_b16", forward, rename, after, scores_divided=False)
    assert alike <= 1e-5
    assert unlike > 1e-2


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("cs231n", 820_874),
        ("d2l", 6_720_010),
        ("einops_b16", 86_567_656),
        ("clip_b32", 87_849_216),
        ("vit", 86_567_656),
    ],
)
def test_parameters(preset, parameters):
    with torch.device("meta"):
        net = build(preset)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


@torch.no_grad()
@pytest.mark.parametrize("order", ["pre", "post"])
def test_a_block_agrees_with_torch(order):
    config = ViTConfig(**SMALL, norm=order, norm_eps=1e-5)
    block = scramble(Block(config))
    theirs = nn.TransformerEncoderLayer(
        24, 3, 96, activation="gelu", batch_first=True, norm_first=order == "pre"
    ).eval()
    own = block.attention
    parts = (own.query, own.key, own.value)
    theirs.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.self_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    pairs = [
        (theirs.self_attn.out_proj, own.proj),
        (theirs.linear1, block.mlp.fc1),
        (theirs.linear2, block.mlp.fc2),
        (theirs.norm1, block.norm_attention),
        (theirs.norm2, block.norm_mlp),
    ]
    for copy, original in pairs:
        copy.load_state_dict(original.state_dict())
    tokens = torch.randn(2, 7, 24)
    assert torch.allclose(block(tokens), theirs(tokens), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["cs231n", "d2l", "einops_b16", "clip_b32", "vit"])
def test_images_need_not_be_square(preset):
    net = build(preset, img_size=(32, 64), patch_size=16, depth=1, dim=24, heads=2).eval()
    assert net.tokens.grid == (2, 4)
    assert net.tokens.image_size == (32, 64)
    images = torch.randn(2, 3, 32, 64)
    assert net.encode(images).shape == (2, net.tokens.tokens, 24)
    assert net(images).shape == (2, net.config.num_classes or net.config.projection)


@torch.no_grad()
def test_registers_stand_between_class_token_and_patches():
    net = scramble(build("vit", **SMALL, registers=2))
    assert net.tokens.prefix == ("cls", "reg0", "reg1")
    first = []
    net.blocks[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
    images = torch.randn(2, 3, 16, 16)
    net(images)
    cls, registers, patches = first[0].split([1, 2, 16], dim=1)
    assert torch.equal(registers, net.registers.expand(2, -1, -1))
    assert torch.equal(cls, (net.cls_token + net.positions.code[:1]).expand(2, -1, -1))
    assert torch.equal(patches, net.embed(images) + net.positions.code[1:])


@torch.no_grad()
@pytest.mark.parametrize(("pool", "prefix"), [("mean", 3), ("mean_all", 0)])
def test_pools_average_the_tokens_they_name(pool, prefix):
    net = scramble(build("vit", **SMALL, registers=2, pool=pool))
    images = torch.randn(2, 3, 16, 16)
    pooled = net.encode(images)[:, prefix:].mean(dim=1)
    assert torch.allclose(net(images), net.head(net.norm(pooled)), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("pool", ["mean", "mean_all", "cls_and_mean"])
def test_a_norm_before_the_pooling_norms_every_token(pool):
    net = scramble(build("vit", **SMALL, registers=2, pool=pool, norm_before_pool=True))
    images = torch.randn(2, 3, 16, 16)
    tokens = norm(net.encode(images), {f"n.{k}": t for k, t in net.norm.state_dict().items()}, "n")
    mean = tokens[:, 0 if pool == "mean_all" else 3 :].mean(dim=1)
    pooled = torch.cat((tokens[:, 0], mean), dim=1) if pool == "cls_and_mean" else mean
    expected = pooled @ net.head.weight.T + net.head.bias
    torch.testing.assert_close(net(images), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("pool", "width"), [("cls", 24), ("cls_and_mean", 48)])
def test_without_a_head_the_output_is_the_pooled_vector(pool, width):
    changes = {"num_classes": 0, "pool": pool, "norm_before_pool": True}
    images = torch.randn(2, 3, 16, 16)
    assert build("vit", **SMALL | changes).eval()(images).shape == (2, width)
    assert build("vit", **SMALL | changes, projection=7).eval()(images).shape == (2, 7)


@torch.no_grad()
def test_patches_are_normed_before_and_after_their_linear():
    net = scramble(build("vit", **SMALL, embed="linear", patch_norms=True, norm_eps=1e-5))
    images, weights = torch.randn(2, 3, 16, 16), net.embed.state_dict()
    expected = norm(patchify(images, 4), weights, "norm_pixels")
    expected = norm(linear(expected, weights, "proj"), weights, "norm_tokens")
    torch.testing.assert_close(net.embed(images), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_filters_of_normed_patches_are_what_the_pixels_meet():
    """The answer before the second norm is linear in the pixels but for the patch's deviation."""
    net = scramble(build("vit", **SMALL, embed="linear", patch_norms=True))
    filters = find_patch_filters(net, net.tokens).weight.flatten(1)
    patches = patchify(torch.randn(1, 3, 16, 16), 4)[0]
    deviations = patches.std(dim=1, unbiased=False, keepdim=True)
    answers = net.embed.proj(net.embed.norm_pixels(patches))
    shift = net.embed.proj(net.embed.norm_pixels.bias)
    torch.testing.assert_close(patches @ filters.T / deviations + shift, answers, atol=1e-4, rtol=0)


def test_an_older_card_s_config_still_makes_its_model():
    """Written before the settings existed that vit-pytorch's and DINOv2's models need."""
    old = asdict(build("cs231n").config)
    for name in ("patch_norms", "norm_before_pool"):
        del old[name]
    assert ViTConfig(**old) == PRESETS["cs231n"]
    assert "embed.norm_pixels.weight" not in VisionTransformer(ViTConfig(**old)).state_dict()


@torch.no_grad()
def test_a_stem_trains_the_same_grid():
    net = build("cs231n", embed="stem", stem=(8, 8, 16), patch_size=4)
    assert isinstance(net.embed, StemPatches)
    assert net.tokens.grid == (8, 8)
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_every_parameter_learns():
    net = build("vit", **SMALL, registers=1, embed="stem", stem=(4, 8), projection=6)
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name.endswith("key.bias"), name


def test_initial_weights():
    net = build("cs231n")
    weights = torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Linear)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert weights.abs().max() > 0.05
    assert all(m.bias.abs().max() == 0 for m in net.modules() if isinstance(m, nn.Linear))
    cut = build("vit", **SMALL)
    assert all(p.abs().max() <= 0.04 for p in cut.parameters() if p.ndim > 1)
    assert cut.embed.proj.weight.std() > 0.01


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    branch = torch.ones(4000, 3, 2)
    dropped = DropPath(0.25)(branch)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(branch), branch)
    net = build("vit", **{**SMALL, "depth": 3}, drop_path=0.2)
    assert [block.drop_path.probability for block in net.blocks] == pytest.approx([0, 0.1, 0.2])


def test_patch_dropout_leaves_whole_patches_out_and_keeps_class_token_and_order():
    drop = PatchDropout(0.25, prefix=2)
    tokens = torch.arange(10.0)[None, :, None].expand(500, 10, 3)
    kept = drop(tokens)
    assert kept.shape == (500, 8, 3)
    assert torch.equal(kept[..., :1].expand_as(kept), kept)
    assert kept[:, :2, 0].unique().tolist() == [0, 1]
    assert (kept[:, 1:, 0] > kept[:, :-1, 0]).all()
    patches = kept[:, 2:, 0].flatten().long().bincount(minlength=10)[2:]
    assert (patches / 500).tolist() == pytest.approx([0.75] * 8, abs=0.1)
    assert drop.eval()(tokens) is tokens


@pytest.mark.parametrize("pool", ["cls", "mean", "mean_all", "cls_and_mean"])
def test_patch_dropout_trains_with_every_pooling(pool):
    changes = {"pool": pool, "norm_before_pool": pool == "cls_and_mean"}
    net = build("vit", **SMALL, registers=2, patch_drop=0.5, **changes)
    assert net(torch.randn(2, 3, 16, 16)).isfinite().all()
    patches = net.tokens.patches
    assert net.encode(torch.randn(2, 3, 16, 16)).shape[1] == 3 + patches // 2


RANDOM = ["dropout", "embed_dropout", "attention_dropout", "drop_path", "patch_drop"]


@pytest.mark.parametrize("setting", RANDOM)
def test_randomness_only_in_training(setting):
    net = build("vit", **SMALL, **{setting: 0.5})
    images = torch.randn(8, 3, 16, 16)
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_goes_through_json(preset):
    for config in (PRESETS[preset], build(preset, img_size=(32, 64), **TINY).config):
        assert ViTConfig(**json.loads(json.dumps(asdict(config)))) == config


TINY = {"patch_size": 16, "dim": 8, "heads": 2, "depth": 1, "embed": "stem", "stem": (4, 4, 4, 4)}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"patch_size": 5}, "patches of 1, 2, 4, 8, 16, 32 pixels would"),
        ({"patch_size": 0}, "whole pixels"),
        ({"img_size": "32"}, "number of pixels"),
        ({"img_size": (32, 32, 3)}, "number of pixels"),
        ({"heads": 5}, "1, 2, 4, 8, 16, 32, 64 heads would do"),
        ({"dim": 129, "heads": 3}, "130 would be"),
        ({"dim": "128"}, "dim is of type int"),
        ({"cls_token": 1}, "cls_token is of type bool"),
        ({"dropout": 1.0}, "dropout is a probability"),
        ({"patch_drop": 1.0}, "patch_drop is a probability"),
        ({"drop_path": float("nan")}, "drop_path is a probability"),
        ({"norm_eps": -1e-6}, "norm_eps is a small number"),
        ({"norm_eps": float("nan")}, "norm_eps is a small number"),
        ({"depth": 0}, "depth is at least 1"),
        ({"registers": -1}, "registers is 0 or more"),
        ({"norm": "rms"}, "choose pre, post"),
        ({"activation": "swish"}, "choose gelu, quick_gelu, relu"),
        ({"pool": "max"}, "choose cls, mean, mean_all"),
        ({"pool": "cls"}, "choose pool='mean'"),
        ({"pool": "cls_and_mean"}, "choose pool='mean'"),
        ({"pool": "cls_and_mean", "cls_token": True, "final_norm": True}, "norm_before_pool=True"),
        ({"embed": "conv", "patch_norms": True}, "give both or neither"),
        ({"embed": "stem", "stem": (8,)}, "3 or more stages"),
        ({"stem": (8,)}, "embed='stem'"),
        ({"width": 3}, "no setting 'width': choose from img_size, patch_size"),
    ],
)
def test_what_makes_no_model_is_a_sentence(overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        build("cs231n", **overrides)


def test_an_unknown_preset_is_a_sentence():
    with pytest.raises(ValueError, match="choose one of vit, cs231n, d2l, einops_b16, clip_b32"):
        build("vit_huge")


@pytest.mark.parametrize("shape", [(2, 3, 16, 32), (2, 1, 16, 16), (3, 16, 16), (2, 3, 32, 32)])
def test_another_size_of_image_is_a_sentence(shape):
    net = VisionTransformer(ViTConfig(**SMALL))
    with pytest.raises(ValueError, match=r"shape \(batch, 3, 16, 16\).*Resize"):
        net(torch.zeros(shape))


def test_importing_is_quick():
    heavy = "torchvision", "timm", "transformers", "streamlit", "plotly", "matplotlib"
    program = (
        "import sys, model; assert 'torch' not in sys.modules; import model.vit; "
        f"assert not set({heavy}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_names_what_it_offers():
    assert {"AttentionRecorder", "zoo"} <= set(dir(model))
    with pytest.raises(AttributeError, match="'nonsense'"):
        model.nonsense  # noqa: B018
