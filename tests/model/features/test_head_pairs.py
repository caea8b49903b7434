"""The closest heads of two models, against every pair compared by `compare_maps`."""

import itertools

import pytest
import torch
from PIL import Image
from scipy.spatial.distance import jensenshannon

from model.bundle import Bundle
from model.features.head_pairs import closest_heads, head_divergences
from model.features.map_distance import compare_maps
from model.preprocessing import Resize
from model.recorded_image import find_same_place, record_image
from model.vit import build

PHOTO = Image.effect_noise((64, 64), 80).convert("RGB")


def recorded(patch: int, depth: int, seed: int, heads: int = 3):
    torch.manual_seed(seed)
    size = {"img_size": 32, "patch_size": patch, "dim": 24, "num_classes": 2}
    net = build("vit", depth=depth, heads=heads, **size)
    bundle = Bundle("noise", net.eval(), net.tokens, (0.5,) * 3, (0.5,) * 3, Resize((32, 32)))
    return record_image(bundle, PHOTO)


def test_divergences_of_heads_are_scipy_s():
    maps = torch.rand(5, 4, 9, generator=torch.Generator().manual_seed(0)).double()
    maps /= maps.sum(-1, keepdim=True)
    found = head_divergences(maps[:2], maps[2:])
    wanted = [
        [(jensenshannon(one.numpy(), other.numpy(), axis=1) ** 2).mean() for other in maps[2:]]
        for one in maps[:2]
    ]
    torch.testing.assert_close(found, torch.tensor(wanted))


def test_the_pair_is_the_best_of_all_pairs_over_grids_of_different_size():
    a, b = recorded(8, 2, seed=1), recorded(4, 1, seed=2)
    pair = closest_heads(a, b, queries=16)
    coarse, fine = a.layers[0].tokens, b.layers[0].tokens
    places = [(token, find_same_place(token, coarse, fine)) for token in range(1, 17)]

    def apart(one, other):
        maps = [
            compare_maps(
                torch.from_numpy(a.layer_maps(one[0], here)[one[1]])[None],
                torch.from_numpy(b.layer_maps(other[0], there)[other[1]])[None],
            ).divergence
            for here, there in places
        ]
        return float(torch.cat(maps).mean())

    heads = itertools.product(itertools.product(range(2), range(3)), [(0, h) for h in range(3)])
    best = min(heads, key=lambda both: apart(*both))
    assert (pair.a, pair.b) == best
    assert pair.divergence == pytest.approx(apart(*best), abs=1e-9)


def test_no_head_is_its_own_partner():
    one = recorded(8, 2, seed=3)
    pair = closest_heads(one, one)
    assert pair.a != pair.b and pair.divergence > 0
    assert closest_heads(one, recorded(8, 2, seed=3)).divergence == pytest.approx(0, abs=1e-9)
    lonely = recorded(8, 1, seed=3, heads=1)
    with pytest.raises(ValueError, match="one head only"):
        closest_heads(lonely, lonely)
