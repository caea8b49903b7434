import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from viz.colors import COLOR_MAPS, GAMMA, lookup_table, subdue
from viz.overlay import normalise, overlay

PHOTO = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8), "RGB"
)


def test_where_there_is_no_attention_the_photo_is_only_muted():
    weights = np.zeros((4, 6))
    weights[0, 0] = 1
    picture = np.asarray(overlay(PHOTO, weights))
    muted = subdue(np.asarray(PHOTO))
    np.testing.assert_array_equal(picture[10:], muted[10:])
    assert (picture[:10, :10] != muted[:10, :10]).any()


def test_a_patch_is_blended_as_the_formula_says():
    weights = np.array([[0.5, 1.0]])
    picture = np.asarray(overlay(PHOTO, weights, "cividis", opacity=0.6)).astype(float)
    base = subdue(np.asarray(PHOTO)).astype(float)
    alpha = 0.6 * 0.5**GAMMA
    expected = base[:, :30] * (1 - alpha) + lookup_table("cividis")[128].astype(float) * alpha
    assert np.abs(picture[:, :30] - expected).max() <= 1


@pytest.mark.parametrize("weights", [np.zeros((2, 3)), np.full((2, 3), np.nan)])
def test_a_map_of_nothing_shows_the_photo(weights):
    picture = np.asarray(overlay(PHOTO, weights))
    np.testing.assert_array_equal(picture, subdue(np.asarray(PHOTO)))


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_normalised_values_lie_between_nothing_and_one(values):
    scaled = normalise(np.array(values))
    assert (scaled >= 0).all() and (scaled <= 1).all()
    assert max(values) == 0 or scaled.max() == pytest.approx(1)


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_color_maps_grow_lighter_from_low_to_high(name):
    luma = lookup_table(name) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luma) > -1).all() and luma[-1] - luma[0] > 100


def test_an_unknown_color_map_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"jet.*viridis"):
        lookup_table("jet")
