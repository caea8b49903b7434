"""The vectors of patches against hooks on the nets themselves."""

import pytest
import torch
from torch import nn

from model.features import patch_features, similarity, token_norms
from model.features.token_length import norm_outliers
from model.nets.torchvision_cpu import ensure_operators
from model.nets.vit import build
from model.tokens import TokenLayout


def tiny(**settings):
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "dim": 12, "depth": 3, "heads": 3, "num_classes": 5}
    return build("vit", **sizes | settings).eval()


def photos(count=2):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", [0, 1, 2, -2, -3])
def test_tokens_of_a_layer_are_its_block_s_output(layer):
    net, seen = tiny(registers=2), []
    net.blocks[layer].register_forward_hook(lambda _, __, output: seen.append(output))
    net(photos())
    del seen[1:]
    net.blocks[layer]._forward_hooks.clear()
    whole = patch_features(net, photos(), layer, prefix=True)
    torch.testing.assert_close(whole, seen[0].detach())
    torch.testing.assert_close(patch_features(net, photos(), layer), whole[:, 3:])


@pytest.mark.parametrize("settings", [{}, {"norm_before_pool": True}, {"pool": "mean"}])
def test_the_last_tokens_come_after_the_last_norm(settings):
    net = tiny(**settings)
    tokens = patch_features(net, photos(), prefix=True)
    torch.testing.assert_close(tokens, net.norm(net.encode(photos())).detach())


@pytest.mark.parametrize("part", ["queries", "keys", "values"])
def test_parts_are_the_linear_layer_s_output(part):
    net, seen = tiny(), []
    linear = getattr(
        net.blocks[1].attention, {"queries": "query", "keys": "key", "values": "value"}[part]
    )
    handle = linear.register_forward_hook(lambda _, __, output: seen.append(output))
    net(photos())
    handle.remove()
    found = patch_features(net, photos(), 1, part)
    torch.testing.assert_close(found, seen[0].detach()[:, 1:])
    assert not found.requires_grad


def test_a_net_of_another_library_gives_its_tokens():
    ensure_operators()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=4
    ).eval()
    layout = TokenLayout((4, 4), ("cls",), (8, 8))
    tokens = patch_features(net, photos(), layout=layout, prefix=True)
    torch.testing.assert_close(tokens, net.forward_features(photos()).detach())
    keys = patch_features(net, photos(), 0, "keys", layout=layout)
    normed = net.blocks[0].norm1(
        net.norm_pre(net.pos_drop(net._pos_embed(net.patch_embed(photos()))))
    )
    wanted = net.blocks[0].attn.qkv(normed).detach().chunk(3, -1)[1][:, 1:]
    torch.testing.assert_close(keys, wanted)


def test_the_net_is_left_as_it_is():
    net = tiny()
    patch_features(net, photos())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_what_does_not_exist_is_a_sentence():
    net = tiny()
    with pytest.raises(ValueError, match="choose one of tokens"):
        patch_features(net, photos(), part="outputs")
    with pytest.raises(ValueError, match="no layer 3"):
        patch_features(net, photos(), 3)
    with pytest.raises(ValueError, match="layout=bundle"):
        patch_features(nn.Linear(2, 2), photos())


def test_similarity_is_the_cosine():
    cosine = torch.nn.CosineSimilarity(dim=-1)
    tokens = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(4)).double()
    torch.testing.assert_close(similarity(tokens, 3), cosine(tokens, tokens[:, 3:4]))
    vector = tokens[1, 2]
    torch.testing.assert_close(similarity(tokens, vector), cosine(tokens, vector))
    torch.testing.assert_close(similarity(tokens, tokens[:, 0]), similarity(tokens, 0))
    assert similarity(torch.zeros(1, 3, 2), 0).abs().max() == 0
    with pytest.raises(ValueError, match="a width of 5"):
        similarity(tokens, torch.ones(4))


def test_norms_and_the_tokens_far_above_the_rest():
    tokens = torch.randn(1, 200, 64, generator=torch.Generator().manual_seed(5))
    assert not norm_outliers(token_norms(tokens)).any()
    tokens[0, [7, 90]] *= 6
    norms = token_norms(tokens)
    torch.testing.assert_close(norms, tokens.square().sum(-1).sqrt())
    assert norm_outliers(norms)[0].nonzero().flatten().tolist() == [7, 90]
    assert not norm_outliers(torch.ones(1, 9)).any()
