"""The lens against the nets' own answers."""

import pytest
import torch

from model.errors import NothingToShow
from model.features import lens
from model.features.class_lens import read_layers
from model.nets.torchvision_cpu import ensure_operators
from model.tokens import TokenLayout
from tests.model.features.test_patch_vectors import photos, tiny

CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.mark.parametrize(
    "settings", [{}, {"registers": 2}, {"norm_before_pool": True}, {"norm": "post"}]
)
def test_the_class_token_of_the_last_layer_gives_the_answer(settings):
    net = tiny(**settings)
    read = lens(net, photos())
    assert read.shape == (3, 2, net.tokens.tokens, 5)
    torch.testing.assert_close(read[-1, :, 0], net(photos()).detach(), **CLOSE)


def test_any_token_is_read_by_norm_and_head():
    net = tiny()
    tokens = photos()
    tokens = net.positions(torch.cat((net.cls_token.expand(2, -1, -1), net.embed(tokens)), 1))
    with torch.no_grad():
        for block, read in zip(net.blocks, lens(net, photos()), strict=True):
            tokens = block(tokens)
            torch.testing.assert_close(read, net.head(net.norm(tokens)), **CLOSE)


def test_a_model_that_averages_answers_by_the_mean():
    net = tiny(pool="mean", cls_token=False)
    read = read_layers(net, photos())
    torch.testing.assert_close(read.mean[-1], net(photos()).detach(), **CLOSE)
    torch.testing.assert_close(read.answer[-1], net(photos()).detach(), **CLOSE)


def test_a_model_that_reads_two_vectors_is_read_with_the_token_twice():
    net = tiny(pool="cls_and_mean", norm_before_pool=True)
    read = read_layers(net, photos())
    torch.testing.assert_close(read.answer[-1], net(photos()).detach(), **CLOSE)
    with torch.no_grad():
        token = net.norm(net.encode(photos()))[:, 4]
        wanted = net.head(torch.cat((token, token), -1))
    torch.testing.assert_close(read.tokens[-1, :, 4], wanted, **CLOSE)


def test_a_net_of_another_library():
    ensure_operators()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=4
    ).eval()
    read = lens(net, photos(), layout=TokenLayout((4, 4), ("cls",), (8, 8)))
    torch.testing.assert_close(read[-1, :, 0], net(photos()).detach(), **CLOSE)


def test_a_net_of_windows_has_no_lens():
    ensure_operators()
    timm = pytest.importorskip("timm")
    net = timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2).eval()
    with pytest.raises(NothingToShow, match="windows"):
        lens(net, torch.randn(1, 3, 64, 64), layout=TokenLayout((2, 2), (), (32, 32)))
