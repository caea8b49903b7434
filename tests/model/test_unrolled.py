"""Hiera's tokens in their places, and whether every layer's tokens lie where its map is drawn."""

import importlib.util
import json
import math

import pytest
import torch
from torch import Tensor

from model import zoo
from model.bundle import Bundle
from model.image_layers import ImageLayer, image_layers
from model.recording.record import AttentionRecord
from model.recording.recorder import AttentionRecorder
from model.unrolled import find_places, roll_back

needs_hf = pytest.mark.skipif(
    not importlib.util.find_spec("transformers"), reason="no transformers"
)
SIZE = 128
SMALL = {"image_size": SIZE, "depths": [1, 1, 1, 1]}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2], **SMALL}
CONFIGS = {
    "hiera": {
        "architectures": ["HieraForImageClassification"],
        "embed_dim": 8,
        "num_heads": [1, 2, 2, 2],
        "image_size": [SIZE, SIZE],
        "depths": [1, 1, 2, 1],
    },
    "swin": {
        "architectures": ["SwinForImageClassification"],
        **{"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4},
        **{"image_size": SIZE, "patch_size": 8},
    },
    "pvt": {"architectures": ["PvtForImageClassification"], **STAGES},
    "segformer": {"architectures": ["SegformerForImageClassification"], **STAGES},
}


def unroll_step_by_step(rows: int, columns: int, times: int) -> list[int]:
    """Hiera's paper, appendix: of every second row and column a sequence, one after another."""
    parts = [[[row * columns + column for column in range(columns)] for row in range(rows)]]
    for _ in range(times):
        parts = [
            [line[x::2] for line in part[y::2]] for part in parts for y in (0, 1) for x in (0, 1)
        ]
    return [patch for part in parts for line in part for patch in line]


@pytest.mark.parametrize(("units", "times"), [((7, 7), 1), ((2, 3), 3), ((1, 1), 2), ((5, 4), 0)])
def test_each_patch_is_found_in_an_unrolled_sequence(units, times):
    rows, columns = (side * 2**times for side in units)
    sequence = unroll_step_by_step(rows, columns, times)
    places = find_places((rows, columns), units)
    assert [sequence[place] for place in places.tolist()] == list(range(rows * columns))
    assert find_places((rows + 1, columns), units) is None


@pytest.mark.parametrize("finished", [False, True])
def test_a_layer_within_mask_units_becomes_windows(finished):
    """Two pictures of 3 x 2 units with 4 x 4 patches, and queries of which four are pooled."""
    units, generator = (3, 2), torch.Generator().manual_seed(0)
    query, key = (torch.randn(12, 2, count, 4, generator=generator) for count in (4, 16))
    made = AttentionRecord("layer", "self", (12, 2, 4, 16), query=query, grouped_key=key)
    weights = made.weights()
    if finished:
        made = AttentionRecord("layer", "self", (12, 2, 4, 16), map=weights)
    found = roll_back(made, units, pictures=2)
    assert (found.windows.grid, found.windows.size) == ((6, 4), (2, 2))
    queries, keys = unroll_step_by_step(2, 2, 1), unroll_step_by_step(4, 4, 2)
    for place, patch in enumerate(queries):
        for other, seen in enumerate(keys):
            torch.testing.assert_close(
                found.weights()[:, :, patch, seen], weights[:, :, place, other]
            )
    assert roll_back(made, (7, 7), pictures=2) is made


def vectors(layer: ImageLayer) -> Tensor:
    """What each patch of a layer asks with, where its map is drawn: (rows, columns, numbers)."""
    record, tokens = layer.record, layer.layer.tokens
    asked = record.weights() if record.query is None else record.query
    if record.windows:
        asked = asked.unflatten(0, (-1, record.windows.count))[0]
        return record.windows.join(asked.permute(1, 3, 0, 2)).flatten(0, 1).permute(1, 2, 0)
    asked = asked[0][:, tokens.patch_slice]
    return asked.transpose(0, 1).flatten(1).unflatten(0, tokens.grid)


def layers_of(bundle: Bundle, images: Tensor) -> list[ImageLayer]:
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(images)
    return image_layers(recorder.records, bundle.tokens)


@pytest.mark.hubs
@needs_hf
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_change_in_the_picture_is_felt_where_the_map_is_drawn(kind, tmp_path):
    """The patch whose query changes most is the one that was painted over, in every layer."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **CONFIGS[kind]}))
    bundle = zoo.load(tmp_path, weights="random")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, SIZE, SIZE, generator=generator)
    before = layers_of(bundle, images)
    sizes = [each.layer.tokens.grid for each in before]
    assert len(before) == sum(CONFIGS[kind]["depths"])
    felt = 0
    for top, left in ((16, 80), (80, 16), (104, 104)):
        painted = images.clone()
        painted[..., top : top + 16, left : left + 16] = torch.randn(16, 16) * 4
        after = layers_of(bundle, painted)
        for old, new, (rows, columns) in zip(before, after, sizes, strict=True):
            change = (vectors(new) - vectors(old)).norm(dim=-1)
            if not change.max() > 3 * change.mean():
                continue  # by this depth the whole picture has changed
            row, column = divmod(int(change.argmax()), columns)
            off = math.hypot(
                row + 0.5 - (top + 8) * rows / SIZE, column + 0.5 - (left + 8) * columns / SIZE
            )
            assert off <= 12 * rows / SIZE + 1, (old.record.name, row, column)
            felt += 1
    assert felt >= 3
