from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from model.attribution.registry import METHODS, why_unsuitable
from model.attribution.trace import trace_class
from model.bundle import Bundle
from model.datasets import samples
from model.errors import NothingToShow
from model.nets.vit import build
from model.preprocessing import Resize
from model.recorded_image import (
    bytes_of_layers,
    default_query,
    find_same_place,
    find_sinks,
    record_image,
)
from model.recording.recorder import AttentionRecord
from model.tokens import TokenLayout

PHOTO = samples.load("coffee")
FINE, COARSE = TokenLayout((8, 12)), TokenLayout((4, 6))
PREFIXED = TokenLayout((3, 5), ("cls", "reg0"))


def bundle(net: nn.Module, tokens: TokenLayout, **more) -> Bundle:
    return Bundle("tiny", net, tokens, (0.5,) * 3, (0.5,) * 3, Resize(tokens.image_size), **more)


@pytest.fixture
def tiny() -> Bundle:
    torch.manual_seed(0)
    net = build("vit", img_size=(32, 48), patch_size=8, dim=24, depth=3, heads=2, num_classes=4)
    return bundle(net.eval(), net.tokens, classes=list("abcd"))


def test_a_look_has_every_layer_and_the_models_own_answer(tiny):
    seen = record_image(tiny, PHOTO)
    assert [layer.heads for layer in seen.layers] == [2, 2, 2]
    assert seen.whole and not seen.windowed
    expected = tiny.net(tiny.prepare(PHOTO))[0].softmax(-1)
    for name, probability in seen.guesses:
        assert probability == pytest.approx(expected["abcd".index(name)].item(), abs=1e-6)
    assert sum(probability for _, probability in seen.guesses) == pytest.approx(1, abs=1e-5)


def test_rows_and_maps_are_the_records(tiny):
    seen = record_image(tiny, PHOTO)
    query = tiny.tokens.index_of(2, 3)
    rows, maps = seen.rows(query), seen.maps(1, query)
    assert rows.shape == (3, 2, 25) and maps.shape == (3, 2, 4, 6)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[..., 1:].reshape(3, 2, 4, 6), maps, atol=1e-6)
    for layer, record in enumerate(seen.records):
        np.testing.assert_allclose(rows[layer], record.weights()[0, :, query].numpy(), atol=1e-6)


class Doubled(nn.Module):
    """Every layer is two beside one another: the mean of two blocks that see the same tokens."""

    def __init__(self, block: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.block, self.other = block, other

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return (self.block(tokens) + self.other(tokens)) / 2


def test_why_a_look_has_no_rollout(tiny):
    assert record_image(tiny, PHOTO).no_rollout is None
    assert "only some" in record_image(tiny, PHOTO, layers=(0, 2)).no_rollout
    assert "before or between" in replace(record_image(tiny, PHOTO), skipped="stem").no_rollout
    tiny.net.blocks[1] = Doubled(tiny.net.blocks[1], tiny.net.blocks[2])
    assert "side by side" in record_image(tiny, PHOTO).no_rollout
    trace = trace_class(tiny.net, tiny.prepare(PHOTO), tiny.tokens, 1)
    refused = [method for method in METHODS if why_unsuitable(trace, method)]
    assert refused == ["rollout", "gradient_rollout", "chefer"]


def test_some_layers_only(tiny):
    seen = record_image(tiny, PHOTO, layers=(0, 2))
    assert seen.numbers == (0, 2) and not seen.whole
    everything = record_image(tiny, PHOTO)
    np.testing.assert_array_equal(seen.rows(0), everything.rows(0)[[0, 2]])


def record_of(weights: torch.Tensor) -> AttentionRecord:
    return AttentionRecord("attention", "self", tuple(weights.shape), map=weights)


def test_a_token_that_everybody_looks_at_is_a_sink():
    weights = torch.full((1, 2, 40, 40), 0.6 / 39)
    weights[..., 7] = 0.4
    assert find_sinks(record_of(weights)) == [(7, pytest.approx(0.4))]


def test_even_attention_has_no_sinks():
    assert find_sinks(record_of(torch.full((1, 2, 40, 40), 1 / 40))) == []


class Pooling(nn.Module):
    """Attends to the image from one learned query, never among patches."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 2, 1, 8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(2)[..., :128].reshape(1, 2, -1, 8)
        attended = nn.functional.scaled_dot_product_attention(self.query, tokens, tokens)
        return attended.flatten(1)


def test_a_model_without_attention_among_patches_is_a_sentence():
    with pytest.raises(NothingToShow, match="no layer does so among the 24 tokens"):
        record_image(bundle(Pooling(), TokenLayout((4, 6), (), (8, 8))), PHOTO)


class Crops(nn.Module):
    """Attends within each of two crops, which it folds into the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat((images, images.flip(-1))))[: len(images)]


def test_maps_of_more_than_the_picture_are_a_sentence(tiny):
    with pytest.raises(NothingToShow, match="a batch of 2 where the model was given a batch of 1"):
        record_image(bundle(Crops(tiny.net).eval(), tiny.tokens), PHOTO)


class PooledFirst(nn.Module):
    """A layer that does not attend among patches, and then three that do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.pooling, self.net = Pooling(), net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.pooling(images).mean()
        return self.net(images) + pooled


def test_a_plan_has_the_layers_that_are_looked_at_and_what_they_keep(tiny):
    pooled = bundle(PooledFirst(tiny.net).eval(), tiny.tokens)
    sizes = bytes_of_layers(pooled)
    assert tuple(sizes) == (1, 2, 3)
    for layer, kept in sizes.items():
        seen = record_image(pooled, PHOTO, layers=(layer,))
        assert seen.numbers == (layer,)
        assert sum(record.nbytes for record in seen.records) == kept > 0


@given(st.integers(0, 95))
def test_a_place_stays_itself_in_a_coarser_layer(token):
    row, column = FINE.position_of(token)
    assert COARSE.position_of(find_same_place(token, FINE, COARSE)) == (row // 2, column // 2)


@given(st.integers(0, 23))
def test_a_place_comes_back_from_a_finer_layer(token):
    assert find_same_place(find_same_place(token, COARSE, FINE), FINE, COARSE) == token


def test_a_token_without_a_place_keeps_its_name():
    assert find_same_place(1, PREFIXED, TokenLayout((2, 2), ("cls", "dist", "reg0"))) == 2
    assert find_same_place(1, PREFIXED, COARSE) == COARSE.index_of(2, 3)


def test_cls_asks_first_and_the_centre_where_there_is_none():
    assert default_query(PREFIXED) == 0
    assert COARSE.position_of(default_query(COARSE)) == (2, 3)


def test_a_windowed_model_has_maps_on_the_finest_grid():
    from model.nets import torchvision_cpu

    torchvision_cpu.ensure_operators()
    from torchvision.models import SwinTransformer

    torch.manual_seed(0)
    net = SwinTransformer([4, 4], 12, [2, 2], [2, 4], [4, 4], num_classes=3).eval()
    seen = record_image(bundle(net, TokenLayout((16, 24), (), (4, 4))), Image.new("RGB", (96, 64)))
    assert seen.windowed
    maps = seen.maps(0, 5 * 24 + 7)
    assert maps.shape == (4, 4, 16, 24)
    np.testing.assert_allclose(maps[0, :2].sum((-1, -2)), 1, atol=1e-5)
    assert maps[0, 0, 4:8, 4:8].sum() == pytest.approx(1, abs=1e-5), "its own window alone"
