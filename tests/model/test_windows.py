"""Windows against the image that the model itself makes of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.recorder import AttentionRecord, AttentionRecorder
from model.torchvision_cpu import ensure
from model.windows import Windows, attention_in_image

sides = st.integers(1, 9)


@given(rows=sides, columns=sides, height=st.integers(1, 4), width=st.integers(1, 4), data=st.data())
def test_join_puts_every_token_where_locate_found_it(rows, columns, height, width, data):
    shift = data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)))
    windows = Windows((rows, columns), (height, width), shift)
    numbered = torch.arange(windows.count * windows.area).reshape(windows.count, windows.area)
    joined = windows.join(numbered)
    assert joined.shape == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            window, place = windows.locate(row, column)
            assert joined[row, column] == numbered[window, place]


@pytest.mark.parametrize("shift", [[0, 0], [2, 1]])
@pytest.mark.parametrize("grid", [(8, 9), (7, 5), (4, 3)], ids=str)
def test_a_tokens_map_over_the_image_makes_its_output(shift, grid):
    """Values in image space, weighted by the map in image space: what Swin's layer returns."""
    ensure()
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    torch.manual_seed(0)
    layer = ShiftedWindowAttention(8, [4, 3], shift, num_heads=2).eval()
    layer.relative_position_bias_table.data.normal_()
    layer.qkv.weight.data.normal_()
    layer.qkv.bias.data.zero_()  # so that padding has no value
    layer.proj.weight.data, layer.proj.bias.data = torch.eye(8), torch.zeros(8)
    tokens = torch.randn(2, *grid, 8)
    with torch.no_grad(), AttentionRecorder(layer) as recorder:
        output = layer(tokens)
        values = layer.qkv(tokens)[..., 16:].unflatten(-1, (2, 4))  # (B, rows, columns, H, d)
    record = recorder.records[0]
    for row in range(grid[0]):
        for column in range(grid[1]):
            weights = attention_in_image(record, row, column)
            mixed = torch.einsum("bhrc,brchd->bhd", weights, values).flatten(1)
            assert torch.allclose(mixed, output[:, row, column], atol=1e-5)


def test_what_has_no_windows_or_no_such_token_is_a_sentence():
    with pytest.raises(ValueError, match="no windows"):
        attention_in_image(AttentionRecord("layer", "self", (1, 1, 4, 4)), 0, 0)
    with pytest.raises(IndexError, match="2 x 3"):
        Windows((2, 3), (2, 2)).locate(2, 0)
