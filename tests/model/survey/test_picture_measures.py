"""Every measure of a survey against plain loops over 200 photos, in float64, from whole maps."""

import math

import numpy as np
import pytest
import torch

from model.analysis.head_measures import KINDS
from model.bundle import Bundle
from model.nets import torchvision_cpu
from model.nets.vit import build
from model.preprocessing import Resize
from model.recording.recorder import AttentionRecorder
from model.survey.blocks import Prepared, Survey
from model.survey.fingerprint import take_fingerprint
from model.survey.picture_measures import SURVEYED, find_shape, measure_batch
from model.survey.rankings import RANKINGS
from model.tokens import TokenLayout
from tests.model.survey.conftest import crops

# The plain loops take half a minute, once in each process of the tests.
pytestmark = pytest.mark.slow

PHOTOS, BATCH, GRID, PATCH, FIRST = 200, 7, 8, 4, 2
BOXES = [None if n % 3 == 0 else (0.1, 0.2, 0.4 + n / 400, 0.9) for n in range(PHOTOS)]
LABELS = [("cat", "dog", None)[number % 3] for number in range(PHOTOS)]


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(0)
    net = build("vit", img_size=32, patch_size=PATCH, dim=24, depth=2, heads=3, registers=1)
    for parameter in net.parameters():  # maps of an untrained net are all but uniform
        parameter.data *= 3
    half = (0.5,) * 3
    return Bundle("small", net.eval(), net.tokens, half, half, Resize((32, 32)))


@pytest.fixture(scope="module")
def images(bundle):
    return torch.cat([bundle.prepare(photo) for photo in crops(PHOTOS)])


@pytest.fixture(scope="module")
def state(bundle, images):
    shape = find_shape(bundle)
    sizes = {"block": PHOTOS, "batch": BATCH, "sample": 5}
    fingerprint = take_fingerprint(bundle, "data", PHOTOS, **sizes)
    survey = Survey("small", "cpu", shape, fingerprint, bundle)
    numbers = list(range(PHOTOS))
    return survey.measure(bundle, Prepared(0, images.numpy(), numbers, LABELS, BOXES, {}))


@pytest.fixture(scope="module")
def maps(bundle, images):
    """float64 (photos, layers, heads, N, N), one photo at a time."""
    found = []
    for image in images:
        with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
            bundle.net(image[None])
        found.append(
            np.stack([record.weights()[0].double().numpy() for record in recorder.records])
        )
    return np.stack(found)


def measures_of(map, box):
    """Every measure of one map (N, N), by the definitions in words, query by query."""
    count = GRID * GRID
    places = [divmod(patch, GRID) for patch in range(count)]
    rows = {name: [] for name in ("distance", "entropy", "peak", *SURVEYED)}
    outside = np.zeros((count, count))
    for query, (y, x) in enumerate(places):
        row = map[FIRST + query]
        patches = row[FIRST:] / row[FIRST:].sum()
        outside[query] = patches
        down = np.array([abs(a - y) for a, _ in places])
        across = np.array([abs(b - x) for _, b in places])
        steps = np.hypot(down, across)
        rows["entropy"].append(-sum(a * math.log(a) for a in row if a > 0))
        rows["cls"].append(row[0])
        rows["registers"].append(row[1])
        rows["diagonal"].append(row[FIRST + query])
        rows["distance"].append(patches @ steps * PATCH)
        rows["distance_patches"].append(patches @ steps)
        rows["neighbours"].append(patches[np.maximum(down, across) == 1].sum())
        rows["row"].append(patches[(down == 0) & (across > 0)].sum())
        rows["column"].append(patches[(across == 0) & (down > 0)].sum())
        rows["peak"].append(patches.max())
    found = {name: np.mean(values) for name, values in rows.items() if values}
    found["spread"] = math.exp(found["entropy"]) / (count + FIRST)
    found["content"] = unexplained(outside, places)
    found["object"], found["object_from_cls"] = on_object(map, outside, box)
    return found, rows


def unexplained(outside, places):
    """1 - R² of the map, explained by the mean over all pairs at the same offset."""
    offsets = [[(c - a, d - b) for c, d in places] for a, b in places]
    by_offset = {}
    for query, row in enumerate(offsets):
        for key, offset in enumerate(row):
            by_offset.setdefault(offset, []).append(outside[query, key])
    means = {offset: np.mean(values) for offset, values in by_offset.items()}
    explained = np.array([[means[offset] for offset in row] for row in offsets])
    return ((outside - explained) ** 2).sum() / ((outside - outside.mean()) ** 2).sum()


def on_object(map, outside, box):
    if box is None:
        return math.nan, math.nan
    left, top, right, bottom = (side * GRID for side in box)
    cover = np.array(
        [
            max(0, min(bottom, y + 1) - max(top, y)) * max(0, min(right, x + 1) - max(left, x))
            for y in range(GRID)
            for x in range(GRID)
        ]
    )
    cls = map[0, FIRST:] / map[0, FIRST:].sum()
    return (outside @ cover).mean() - cover.mean(), cls @ cover - cover.mean()


@pytest.fixture(scope="module")
def reference(maps):
    """For each photo, layer and head: the measures, and those of each query."""
    return [
        [[measures_of(map, box) for map in layer] for layer in photo]
        for photo, box in zip(maps, BOXES, strict=True)
    ]


def table_of(reference, name, photos=range(PHOTOS)):
    return np.array([[[h[0][name] for h in layer] for layer in reference[p]] for p in photos])


@pytest.mark.parametrize("name", SURVEYED)
def test_mean_and_deviation_of_each_measure(state, reference, name):
    values, place = table_of(reference, name), SURVEYED.index(name)
    np.testing.assert_allclose(state.values.mean()[place], np.nanmean(values, 0), atol=3e-5)
    np.testing.assert_allclose(state.values.deviation()[place], np.nanstd(values, 0), atol=3e-5)


@pytest.mark.parametrize("label", ["cat", "dog"])
def test_means_of_a_class(state, reference, label):
    photos = [number for number in range(PHOTOS) if LABELS[number] == label]
    for place, name in enumerate(SURVEYED):
        expected = table_of(reference, name, photos)
        found = state.classes[label].mean()[place]
        if np.isnan(expected).all():
            assert np.isnan(found).all()
        else:
            np.testing.assert_allclose(found, np.nanmean(expected, 0), atol=3e-5)
    assert sorted(state.classes) == ["cat", "dog"]


@pytest.mark.parametrize("ranking", RANKINGS)
def test_top_pictures_are_those_of_sorting_them_all(state, reference, ranking):
    measure, sign = RANKINGS[ranking]
    for place, (layer, head) in enumerate(state.shape.places):
        rows = [-sign * np.array(reference[p][layer][head][1][measure]) for p in range(PHOTOS)]
        best = np.sort([row.min() for row in rows])
        found = state.rankings[ranking][place]
        np.testing.assert_allclose([each.cost for each in found], best[: len(found)], atol=1e-4)
        for each in found:
            query = each.query - FIRST
            assert rows[each.picture][query] == pytest.approx(rows[each.picture].min(), abs=1e-4)
        assert len(found) == 16 == len({each.picture for each in found})


def test_heads_are_compared_by_the_bhattacharyya_coefficient(state, maps):
    heads = maps.reshape(PHOTOS, -1, *maps.shape[3:])[:, :, FIRST:, FIRST:]
    asked = np.round(np.linspace(0, GRID * GRID - 1, 16)).astype(int)
    rows = heads[:, :, asked] / heads[:, :, asked].sum(-1, keepdims=True)
    for one in range(heads.shape[1]):
        for other in range(heads.shape[1]):
            expected = np.sqrt(rows[:, one] * rows[:, other]).sum(-1).mean()
            assert state.alike.mean()[one, other] == pytest.approx(expected, abs=1e-5)


def test_kinds_are_counted_picture_by_picture(state, reference):
    counted = np.zeros_like(state.kinds)
    for photo in reference:
        for layer, heads in enumerate(photo):
            for head, (found, _) in enumerate(heads):
                counted[KINDS.index(kind_of(found)), layer, head] += 1
    assert np.abs(counted - state.kinds).sum() <= 2, "but for a tie that rounding decides"
    assert (state.kinds.sum(0) == PHOTOS).all()


def kind_of(found):
    """The kind with the highest score, as the docstring of `score_kinds` defines it."""
    count = GRID * GRID
    places = [divmod(patch, GRID) for patch in range(count)]
    pairs = [(abs(a - c), abs(b - d)) for a, b in places for c, d in places]
    chance = {
        "neighbours": np.mean([max(pair) == 1 for pair in pairs]),
        "row": np.mean([down == 0 and across > 0 for down, across in pairs]),
        "column": np.mean([across == 0 and down > 0 for down, across in pairs]),
        "cls": 1 / (count + FIRST),
    }
    scores = {kind: max(0, (found[kind] - c) / (1 - c)) for kind, c in chance.items()}
    scores["uniform"] = found["spread"]
    on_patches = 1 - found["cls"] - found["registers"]
    scores["content"] = found["content"] * (1 - found["spread"]) * on_patches
    return max(KINDS, key=lambda kind: scores[kind])


def test_effects_are_those_of_a_zeroed_head(state, bundle, images):
    """Each head's slice of the output projection is zeroed in the net itself."""
    sample = range(0, PHOTOS, PHOTOS // 5)
    blocks = bundle.net.blocks
    changes = np.zeros((len(sample), 2, 3))
    for row, number in enumerate(sample):
        with torch.no_grad():
            plain = bundle.net(images[number : number + 1])[0].double()
            first, second = plain.topk(2).indices
            for layer in range(2):
                for head in range(3):
                    projection = named_projection(blocks[layer])
                    kept, part = projection.weight.clone(), slice(8 * head, 8 * head + 8)
                    projection.weight[:, part] = 0
                    changed = bundle.net(images[number : number + 1])[0].double()
                    projection.weight.copy_(kept)
                    before, after = (y[first] - y[second] for y in (plain, changed))
                    changes[row, layer, head] = after - before
    np.testing.assert_allclose(state.effects.mean()[0], changes.mean(0), atol=1e-4)
    np.testing.assert_allclose(state.effects.deviation()[0], changes.std(0), atol=1e-4)
    assert (state.effects.count == len(sample)).all()


def named_projection(block):
    return block.attention.proj


@pytest.mark.hubs
def test_layers_within_windows_have_every_measure_but_of_cls():
    torchvision_cpu.ensure_operators()
    timm = pytest.importorskip("timm")
    net = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, window_size=7).eval()
    half = (0.5,) * 3
    layout = TokenLayout((14, 14), (), (4, 4))
    bundle = Bundle("swin", net, layout, half, half, Resize((56, 56)))
    shape = find_shape(bundle)
    boxes = [(0.2, 0.2, 0.7, 0.9)] * 2
    measured = measure_batch(bundle, torch.randn(2, 3, 56, 56), shape, boxes)
    assert shape.windows[:2] == ((7, 7), (7, 7))
    heads = slice(0, shape.heads[0])
    for name in SURVEYED:
        known = np.isfinite(measured.values[:, SURVEYED.index(name), 0, heads])
        assert known.all() == (name != "object_from_cls"), name
    assert np.isfinite(measured.best["local"][0][:, 0, heads]).all()
    same = [
        place for place, (layer, _) in enumerate(shape.places) if shape.grids[layer] == (14, 14)
    ]
    alike = measured.alike[0][np.ix_(same, same)]
    np.testing.assert_allclose(alike.diagonal(), 1, atol=1e-5)
    within, across = alike[: heads.stop, : heads.stop], alike[: heads.stop, heads.stop :]
    assert (across < within.min()).all(), "other windows, other patches"
