"""Rows of layers that attend within windows, against each token's map laid out over the picture."""

import math

import numpy as np
import pytest
import torch

from model.analysis.head_measures import measure_heads
from model.attribution.metrics.localisation import box_cover
from model.image_layers import ImageLayer, Layer
from model.recording.record import attention_in_image
from model.recording.recorder import AttentionRecord
from model.recording.windows import Windows
from model.survey.layer_rows import rows_of
from model.survey.rankings import RANKINGS
from model.tokens import TokenLayout

LAYOUT = TokenLayout((5, 6), (), (4, 8))
"""Two windows of 4 x 4 down, the lower ones padded, and two across, the right ones padded."""
BOX = (0.1, 0.2, 0.55, 0.9)


def layer_of(windows, pictures=2, heads=3):
    """A layer with random maps that keep to their windows."""
    shape = pictures * windows.count, heads, windows.area, windows.area
    map = (3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).softmax(-1)
    record = AttentionRecord("layer", "self", shape, map=map, windows=windows)
    return ImageLayer(0, record, Layer(heads, LAYOUT))


@pytest.fixture(params=[(0, 0), (2, 2)], ids=["straight", "shifted"])
def case(request, monkeypatch):
    windows = Windows(grid=LAYOUT.grid, size=(4, 4), shift=request.param)
    layer = layer_of(windows)
    rows = rows_of(layer, [BOX, None])
    monkeypatch.setattr("model.analysis.head_measures.CHUNK", 3 * rows.record.map[0, 0].numel())
    measure_heads(rows.record, LAYOUT, rows.take)
    columns = range(LAYOUT.grid[1])
    maps = torch.stack(
        [
            attention_in_image(layer.record, row, column)
            for row in range(LAYOUT.grid[0])
            for column in columns
        ],
        2,
    )
    return layer, rows, maps.flatten(3).double().numpy()  # (B, H, queries, patches)


def test_top_queries_go_by_the_rows_over_the_picture(case):
    layer, rows, maps = case
    inside = maps / maps.sum(-1, keepdims=True)
    places = np.array([divmod(token, LAYOUT.grid[1]) for token in range(LAYOUT.patches)])
    down, across = (places[:, None] - places[None]).transpose(2, 0, 1)
    windows, record = layer.record.windows, layer.record
    spots = [windows.locate(int(row), int(column)) for row, column in places]
    whole = np.stack(
        [record.weights(None, at).unflatten(0, (2, -1))[:, w, :, 0] for w, at in spots], 2
    ).astype(float)
    measures = {
        "distance": (inside * np.hypot(4 * down, 8 * across)).sum(-1),
        "peak": inside.max(-1),
        "entropy": -(whole * np.log(whole)).sum(-1),
    }
    for name, (cost, query) in rows.best().items():
        measure, sign = RANKINGS[name]
        expected = (-sign * measures[measure]).min(-1)
        np.testing.assert_allclose(cost, expected, atol=1e-5, err_msg=name)
        at = np.take_along_axis(-sign * measures[measure], query[..., None], -1)[..., 0]
        np.testing.assert_allclose(at, expected, atol=1e-5, err_msg=name)


def test_maps_to_compare_lie_over_the_picture(case):
    _, rows, maps = case
    asked = np.round(np.linspace(0, LAYOUT.patches - 1, 16)).astype(int)
    expected = np.sqrt(maps[:, :, asked] / maps[:, :, asked].sum(-1, keepdims=True))
    np.testing.assert_allclose(rows.roots().unflatten(-1, (16, -1)), expected, atol=1e-6)


def test_attention_on_the_object_is_counted_above_its_share(case):
    _, rows, maps = case
    cover = box_cover(torch.tensor([BOX]), (1.0, 1.0), LAYOUT.grid).flatten().numpy()
    inside = maps[0] / maps[0].sum(-1, keepdims=True)
    of_patches, of_cls = rows.on_object()
    np.testing.assert_allclose(of_patches[0], (inside @ cover).mean(-1) - cover.mean(), atol=1e-6)
    assert np.isnan(of_patches[1]).all() and np.isnan(of_cls).all(), "no box, and no CLS"


def test_even_attention_within_windows_gives_a_box_its_share():
    windows = Windows(grid=(4, 6), size=(2, 2))
    map = torch.full((6, 1, 4, 4), 0.25)
    record = AttentionRecord("layer", "self", (6, 1, 4, 4), map=map, windows=windows)
    layout = TokenLayout((4, 6), (), (4, 4))
    rows = rows_of(ImageLayer(0, record, Layer(1, layout)), [(0.0, 0.0, 0.4, 0.3)])
    measure_heads(rows.record, layout, rows.take)
    assert rows.on_object()[0].item() == pytest.approx(0, abs=1e-7)
    far = rows.best()["far"]
    assert -far[0].item() == pytest.approx(4 * (1 + 1 + math.sqrt(2)) / 4, rel=1e-6)
