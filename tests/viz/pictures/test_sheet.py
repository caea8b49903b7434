import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from viz.pictures.colors import subdue
from viz.pictures.overlay import overlay
from viz.pictures.sheet import margins, quantise, sheet

RNG = np.random.default_rng(0)
LEFT, TOP = margins(96)
PHOTO = Image.fromarray(RNG.integers(0, 256, (48, 96, 3), dtype=np.uint8))


@given(st.integers(0, 2**32 - 1))
def test_quantised_maps_give_the_weights_back(seed):
    weights = np.random.default_rng(seed).dirichlet(np.ones(12), size=(2, 3)).astype(np.float32)
    values, maxima = quantise(weights)
    np.testing.assert_allclose(
        values / 255 * maxima[..., None], weights, atol=float(maxima.max()) / 500
    )


def test_a_row_of_zeros_stays_zero():
    values, maxima = quantise(np.zeros((1, 1, 4), dtype=np.float32))
    assert not values.any() and not maxima.any()


def test_every_cell_is_the_overlay_of_its_own_map():
    weights = RNG.dirichlet(np.ones(8), size=(2, 3)).astype(np.float32)
    picture = np.asarray(sheet(PHOTO, weights, (2, 4), cell=96, gap=4)).astype(int)
    assert picture.shape == (TOP + 2 * 52, LEFT + 3 * 100, 3)
    for layer in range(2):
        for head in range(3):
            top, left = TOP + layer * 52, LEFT + head * 100
            cell = picture[top : top + 48, left : left + 96]
            alone = np.asarray(overlay(PHOTO, weights[layer, head].reshape(2, 4))).astype(int)
            assert np.abs(cell - alone).max() <= 2


def test_a_model_that_looks_nowhere_leaves_the_photo():
    picture = np.asarray(sheet(PHOTO, np.zeros((1, 1, 8), dtype=np.float32), (2, 4), cell=96))
    np.testing.assert_array_equal(
        picture[TOP : TOP + 48, LEFT : LEFT + 96], subdue(np.asarray(PHOTO))
    )


def test_heads_that_a_layer_does_not_have_stay_empty():
    weights = RNG.dirichlet(np.ones(8), size=(2, 3)).astype(np.float32)
    picture = np.asarray(sheet(PHOTO, weights, (2, 4), counts=[3, 1], background=(9, 9, 9)))
    assert (picture[TOP + 52 : TOP + 100, LEFT + 100 :] == 9).all()
    assert (picture[TOP : TOP + 48, LEFT + 200 : LEFT + 296] != 9).any()


def test_layers_are_called_what_they_are_in_the_model():
    weights = RNG.dirichlet(np.ones(8), size=(2, 3)).astype(np.float32)
    plain = np.asarray(sheet(PHOTO, weights, (2, 4)))
    same, other = (np.asarray(sheet(PHOTO, weights, (2, 4), numbers=n)) for n in ([1, 2], [3, 5]))
    assert np.array_equal(plain, same)
    assert np.array_equal(plain[:, LEFT:], other[:, LEFT:]) and not np.array_equal(plain, other)


def test_the_asking_patch_is_framed_in_every_map_and_the_caption_stands_below():
    weights = RNG.dirichlet(np.ones(8), size=(2, 3)).astype(np.float32)
    plain = np.asarray(sheet(PHOTO, weights, (2, 4)))
    framed = np.asarray(sheet(PHOTO, weights, (2, 4), asking=(0.25, 0.5, 0.5, 1.0)))
    changed = (plain != framed).any(axis=-1)
    for top in (TOP, TOP + 52):
        for left in (LEFT, LEFT + 100, LEFT + 200):
            cell = changed[top : top + 48, left : left + 96]
            assert cell[24:, 24:48].any() and not cell[:21].any() and not cell[:, 51:].any()
    words = np.asarray(sheet(PHOTO, weights, (2, 4), caption=["A title", "more"]))
    np.testing.assert_array_equal(words[: len(plain)], plain)
    assert len(words) > len(plain) and (words[len(plain) :] < 128).any()


def test_names_of_layers_fit_beside_the_maps():
    for cell in (64, 96, 200):
        picture = np.asarray(sheet(PHOTO, np.ones((1, 1, 8)), (2, 4), cell=cell, numbers=[48]))
        left, top = margins(cell)
        assert (picture[top:, 2 : left - 2] < 200).any()
        assert (picture[:, :2] == 255).all() and (picture[top:, left - 2 : left] == 255).all()
