"""Grids of stages, and maps whose keys lie on another grid than their queries."""

import pytest
import torch

from model.errors import NothingToShow
from model.image_layers import (
    Layer,
    find_grid,
    image_layers,
    lay_keys_out,
    name_others,
    name_skipped,
)
from model.recording.record import AttentionRecord
from model.recording.windows import Windows
from model.tokens import TokenLayout


def record(queries: int, keys: int, batch: int = 1, kind: str = "self", **more) -> AttentionRecord:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(batch, 2, queries, 4, generator=generator)
    key = torch.randn(batch, 2, keys, 4, generator=generator)
    shape = (batch, 2, queries, keys)
    return AttentionRecord("layer", kind, shape, query=query, grouped_key=key, **more)


@pytest.mark.parametrize(
    ("patches", "like", "grid"),
    [
        (196, (56, 56), (14, 14)),
        (14 * 14, (27, 27), (14, 14)),
        (4 * 4, (14, 14), (4, 4)),
        (6 * 10, (48, 80), (6, 10)),
        (15 * 31, (256, 128), (31, 15)),
        (195, (14, 14), None),
        (12, (14, 14), None),
        (0, (14, 14), None),
    ],
)
def test_a_stage_keeps_the_aspect_of_the_first(patches, like, grid):
    assert find_grid(patches, like) == grid


@pytest.mark.parametrize(
    ("asking", "answering", "prefix"),
    [
        ((4, 6), (2, 3), ()),
        ((5, 5), (2, 2), ("cls",)),
        ((2, 2), (4, 4), ()),
        ((3, 4), (6, 8), ("cls",)),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_keys_of_another_grid_share_out_or_collect_their_attention(
    asking, answering, prefix, masked
):
    """Cell by cell, in float64, from the map itself."""
    queries, keys = TokenLayout(asking, prefix, (8, 8)), TokenLayout(answering, prefix, (8, 8))
    mask = torch.rand(1, 2, queries.tokens, keys.tokens).log() if masked else None
    before = record(queries.tokens, keys.tokens, mask=mask)
    after = lay_keys_out(before, queries, keys).weights().double()
    weights = before.weights().double()
    start = len(prefix)
    expected = torch.zeros(1, 2, queries.tokens, queries.tokens, dtype=torch.float64)
    expected[..., :start] = weights[..., :start]
    finer, coarser = max(asking, answering), min(asking, answering)
    members = {}
    for row in range(finer[0]):
        for column in range(finer[1]):
            cell = row * coarser[0] // finer[0] * coarser[1] + column * coarser[1] // finer[1]
            members.setdefault(cell, []).append(row * finer[1] + column)
    for cell, patches in members.items():
        for patch in patches:
            if queries.patches > keys.patches:
                expected[..., start + patch] = weights[..., start + cell] / len(patches)
            else:
                expected[..., start + cell] += weights[..., start + patch]
    torch.testing.assert_close(after, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(after.sum(-1), torch.ones_like(after.sum(-1)), atol=1e-5, rtol=0)


def test_layers_over_the_picture_are_selected_and_the_others_named():
    tokens = TokenLayout((8, 8), ("cls",), (4, 4))
    records = [
        record(65, 65),
        record(64, 16),
        record(16, 16, batch=4),
        record(1, 65, kind="cross"),
        record(17, 17),
        record(64, 144),  # a block with a rim of keys around it, which lies beyond the picture
        record(64, 64, windows=Windows((8, 8), (8, 8))),
    ]
    found = image_layers(records, tokens)
    assert [each.place for each in found] == [0, 1, 4, 6]
    coarse = TokenLayout((4, 4), ("cls",), (8, 8))
    assert [each.layer for each in found] == [
        Layer(2, tokens),
        Layer(2, TokenLayout((8, 8), (), (4, 4)), TokenLayout((4, 4), (), (8, 8))),
        Layer(2, coarse),
        Layer(2, TokenLayout((8, 8), (), (4, 4))),
    ]
    assert found[3].record.windows is None, "one window alone is the whole picture"
    assert found[1].record.shape == (1, 2, 64, 64)
    named = name_others(records, found)
    assert named.startswith("3 layers attend otherwise") and "layer" in named
    assert name_skipped(records, found) == "layer" and name_skipped(records[:2], found[:2]) is None
    late = image_layers([record(64, 64), record(17, 17)], TokenLayout((8, 8)))
    assert [each.layer.tokens.prefix for each in late] == [(), ("cls",)]
    with pytest.raises(NothingToShow, match=r"layer \(1 to 65\)"):
        image_layers([records[3]], tokens)
