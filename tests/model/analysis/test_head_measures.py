"""Measures of heads against closed forms and against loops in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.analysis.head_measures import (
    KINDS,
    MEASURES,
    RunningMean,
    chance_measures,
    dominant_kind,
    measure_heads,
    measure_layers,
    score_kinds,
)
from model.nets.vit import build
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.windows import Windows
from model.tokens import TokenLayout

LAYOUT = TokenLayout((3, 4), (), (8, 5))
PREFIXED = TokenLayout((3, 4), ("cls", "reg0", "reg1"), (8, 5))


def record_of(map: torch.Tensor, **more) -> AttentionRecord:
    """(H, N, N) or (B, H, N, N) as a record"""
    map = map.float() if map.ndim == 4 else map[None].float()
    return AttentionRecord("layer", "self", tuple(map.shape), map=map, **more)


def random_map(layout: TokenLayout, heads: int = 2, batch: int = 1, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shape = batch, heads, layout.tokens, layout.tokens
    return (3 * torch.randn(shape, generator=generator)).softmax(-1)


def by_hand(map: torch.Tensor, layout: TokenLayout) -> dict[str, float]:
    """Every measure but content, of one head's map (N, N), in plain loops."""
    first, columns, (height, width) = len(layout.prefix), layout.grid[1], layout.patch
    totals = dict.fromkeys(MEASURES, 0.0)
    for query in range(layout.patches):
        row = map[first + query].double().tolist()
        totals["entropy"] -= sum(p * math.log(p) for p in row if p > 0)
        for name, value in zip(layout.prefix, row, strict=False):
            totals["registers" if name.startswith("reg") else "cls"] += value
        totals["diagonal"] += row[first + query]
        mass = sum(row[first:])
        for key in range(layout.patches):
            share = row[first + key] / mass
            down, across = key // columns - query // columns, key % columns - query % columns
            totals["distance"] += share * math.hypot(down * height, across * width)
            totals["distance_patches"] += share * math.hypot(down, across)
            totals["neighbours"] += share * (max(abs(down), abs(across)) == 1)
            totals["row"] += share * (down == 0 and across != 0)
            totals["column"] += share * (across == 0 and down != 0)
    means = {name: total / layout.patches for name, total in totals.items()}
    return means | {"spread": math.exp(means["entropy"]) / layout.tokens}


@pytest.mark.parametrize("layout", [LAYOUT, PREFIXED])
@pytest.mark.parametrize("chunk", [1 << 20, 40])
def test_the_measures_are_their_definitions(layout, chunk, monkeypatch):
    monkeypatch.setattr("model.analysis.head_measures.CHUNK", chunk)
    map = random_map(layout, batch=2)
    found = measure_heads(record_of(map), layout)
    assert set(found) == set(MEASURES)
    for image in range(2):
        for head in range(2):
            expected = by_hand(map[image, head], layout)
            for name in set(MEASURES) - {"content"}:
                value = found[name][image, head].item()
                assert value == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("layout", [LAYOUT, PREFIXED])
def test_identity_has_no_distance_and_no_entropy(layout):
    found = measure_heads(record_of(torch.eye(layout.tokens)[None]), layout)
    for name in ("distance", "distance_patches", "entropy", "neighbours", "row", "content"):
        assert found[name].item() == pytest.approx(0, abs=1e-6)
    assert found["diagonal"].item() == 1


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
def test_uniform_attention_has_the_mean_distance_of_the_grid(rows, columns, height, width):
    layout = TokenLayout((rows, columns), (), (height, width))
    uniform = torch.full((1, layout.tokens, layout.tokens), 1 / layout.tokens)
    found = measure_heads(record_of(uniform), layout)
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    brute = [math.hypot((r - s) * height, (c - t) * width) for r, c in cells for s, t in cells]
    assert found["distance"].item() == pytest.approx(sum(brute) / len(brute), rel=1e-5)
    assert found["entropy"].item() == pytest.approx(math.log(layout.tokens), abs=1e-5)
    assert found["spread"].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("layout", [LAYOUT, PREFIXED])
def test_chance_is_what_a_uniform_head_gives(layout):
    uniform = torch.full((1, layout.tokens, layout.tokens), 1 / layout.tokens)
    found = measure_heads(record_of(uniform), layout)
    usual = chance_measures(layout)
    assert set(usual) == set(MEASURES)
    for name in MEASURES:
        assert found[name].item() == pytest.approx(usual[name], abs=1e-5), name


def test_prefix_tokens_are_dropped_and_rows_renormalised():
    patches = random_map(LAYOUT, heads=1)[0]
    shared = torch.zeros(1, PREFIXED.tokens, PREFIXED.tokens)
    shared[:, 3:, 3:] = 0.25 * patches
    shared[:, :, 0] = 0.75
    found = measure_heads(record_of(shared), PREFIXED)
    alone = measure_heads(record_of(patches), LAYOUT)
    for name in ("distance", "neighbours", "row", "column", "content"):
        assert found[name].item() == pytest.approx(alone[name].item(), rel=1e-4)
    assert found["cls"].item() == pytest.approx(0.75)


def test_content_is_the_variance_that_offsets_do_not_explain():
    map = random_map(LAYOUT, heads=1)[0, 0].double()
    columns, patches = LAYOUT.grid[1], LAYOUT.patches
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i in range(patches):
        for j in range(patches):
            offset = j // columns - i // columns, j % columns - i % columns
            groups.setdefault(offset, []).append((i, j))
    predicted = torch.zeros_like(map)
    for pairs in groups.values():
        mean = sum(map[pair].item() for pair in pairs) / len(pairs)
        for pair in pairs:
            predicted[pair] = mean
    expected = (map - predicted).square().sum() / (map - map.mean()).square().sum()
    found = measure_heads(record_of(map[None]), LAYOUT)["content"].item()
    assert found == pytest.approx(expected.item(), rel=1e-4)


def test_attention_by_offset_alone_has_no_content():
    """On a torus each patch could look at the next; on a grid the last column looks at itself."""
    rows, columns = 6, 6
    layout = TokenLayout((rows, columns))
    below = torch.zeros(layout.tokens, layout.tokens)
    for query in range(layout.tokens):
        below[query, query + columns if query + columns < layout.tokens else query] = 1
    by_photo = torch.zeros_like(below)
    by_photo[:, 7] = 1
    found = measure_heads(record_of(torch.stack((below, by_photo))), layout)["content"][0]
    assert found[0] < 0.2 < 0.8 < found[1]


def test_kinds_are_found_by_what_heads_do():
    layout = TokenLayout((6, 6), ("cls",))
    rows, columns = (torch.arange(36) // 6), (torch.arange(36) % 6)
    down, across = rows - rows[:, None], columns - columns[:, None]
    patterns = {
        "neighbours": (down.abs() <= 1) & (across.abs() <= 1) & ((down != 0) | (across != 0)),
        "row": (down == 0) & (across != 0),
        "column": (across == 0) & (down != 0),
        "uniform": torch.ones(36, 36),
        "cls": torch.zeros(36, 36),
        "content": (torch.arange(36) % 7 == 3).expand(36, 36),
    }
    maps = torch.zeros(6, 37, 37)
    for head, kind in enumerate(KINDS):
        maps[head, 1:, 1:] = patterns[kind]
        maps[head, :, 0] += {"cls": 1.0, "uniform": 1.0}.get(kind, 0.0)
    maps[:, 0, 0] = 1
    maps = maps / maps.sum(-1, keepdim=True)
    measured = measure_layers([record_of(maps)], layout)
    assert dominant_kind(score_kinds(measured, layout)) == [list(KINDS)]


def test_layers_of_a_model_and_their_mean_over_photos():
    net = build("vit", img_size=32, patch_size=8, dim=32, depth=2, heads=4, num_classes=3).eval()
    mean, tables = RunningMean(), []
    with torch.inference_mode():
        for seed in range(3):
            image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
            with AttentionRecorder(net) as recorder:
                net(image)
            tables.append(measure_layers(recorder.records, net.tokens))
            mean.add(tables[-1])
    for name in MEASURES:
        assert tables[0][name].shape == (2, 4)
        expected = torch.stack([table[name] for table in tables]).mean(0)
        torch.testing.assert_close(mean.mean()[name], expected)


def test_layers_with_fewer_heads_have_gaps_and_other_tokens_none():
    cross = AttentionRecord("cross", "cross", (1, 1, 12, 5), map=torch.full((1, 1, 12, 5), 0.2))
    records = [record_of(random_map(LAYOUT, heads=3)), cross, record_of(random_map(LAYOUT))]
    measured = measure_layers(records, LAYOUT)
    assert measured["entropy"].isnan().tolist() == [[False, False, False], [False, False, True]]
    kinds = dominant_kind(score_kinds(measured, LAYOUT))
    assert kinds[1][2] is None and None not in kinds[0]


def test_windows_are_measured_inside():
    """Two windows of 2 x 2 tokens, in each of which everyone looks everywhere."""
    windows = Windows(grid=(2, 4), size=(2, 2))
    record = record_of(torch.full((2, 1, 4, 4), 0.25), windows=windows)
    found = measure_heads(record, TokenLayout((4, 8), (), (4, 4)))
    measured = measure_layers([record], TokenLayout((4, 8), (), (4, 4)))
    scores = score_kinds(measured, [TokenLayout((2, 2))])
    assert [scores[kind].item() for kind in ("neighbours", "row")] == pytest.approx(
        [0, 0], abs=1e-6
    )
    assert found["distance"].shape == (1, 1)
    assert found["distance"].item() == pytest.approx(8 * (1 + 1 + math.sqrt(2)) / 4, rel=1e-5)


def test_other_tokens_and_no_photos_are_sentences():
    with pytest.raises(ValueError, match="12 to 12 tokens, and the image has 15"):
        measure_heads(record_of(random_map(LAYOUT)), PREFIXED)
    with pytest.raises(ValueError, match="add one first"):
        RunningMean().mean()
