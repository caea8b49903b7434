import numpy as np
import pytest

from viz.pictures.patches import as_colors, clickable, component_colors, enlarge, join, mosaic

RNG = np.random.default_rng(0)
TILES = RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


def test_joined_tiles_lie_row_by_row():
    picture = np.asarray(join(TILES, (2, 3)))
    assert picture.shape == (8, 15, 3)
    for index in range(6):
        row, column = divmod(index, 3)
        part = picture[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(part, TILES[index])


@pytest.mark.parametrize("marked", [None, 4])
def test_a_mosaic_has_transparent_gaps_and_every_tile(marked):
    picture = np.asarray(mosaic(TILES, 4, scale=2, gap=3, marked=marked))
    assert picture.shape == (2 * 11 + 3, 4 * 13 + 3, 4)
    assert (picture[:3, :, 3] == 0).all() and (picture[14:, 29:, 3] == 0).all()
    np.testing.assert_array_equal(picture[3:11:2, 16:26:2, :3], TILES[1])
    if marked is not None:
        assert picture[11, 3, 3] == 255, "the outline lies in the gap"


def test_enlarging_copies_pixels():
    small = join(TILES[:1], (1, 1))
    large = enlarge(small, 12)
    assert large.size == (15, 12)
    assert np.array_equal(np.asarray(large)[1::3, 1::3], np.asarray(small))


def test_filters_are_grey_at_zero_and_scaled_to_their_largest():
    filters = np.zeros((2, 3, 2, 2))
    filters[0, 0, 0, 0], filters[0, 1, 1, 1] = -2.0, 1.0
    colors = as_colors(filters)
    assert colors.shape == (2, 2, 2, 3)
    assert colors[0, 0, 0].tolist() == [0, 128, 128]
    assert colors[0, 1, 1].tolist() == [128, 191, 128]
    assert (colors[1] == 128).all()
    assert as_colors(np.ones((1, 1, 2, 2))).tolist() == np.full((1, 2, 2, 3), 255).tolist()


def test_components_span_the_colours():
    coordinates = RNG.normal(size=(6, 3))
    picture = np.asarray(component_colors(coordinates, (2, 3)))
    assert picture.shape == (2, 3, 3)
    assert picture.reshape(-1, 3).min(axis=0).tolist() == [0, 0, 0]
    assert picture.reshape(-1, 3).max(axis=0).tolist() == [255, 255, 255]
    flat = np.asarray(component_colors(np.ones((6, 2)), (2, 3)))
    assert not flat.any()


def test_the_points_of_a_clickable_mosaic_lie_in_their_tiles():
    picture = mosaic(TILES, 3, scale=2, gap=3)
    figure = clickable(picture, (2, 3), 170)
    (points,) = figure.data
    pixels = np.asarray(picture)
    for index, (x, y) in enumerate(zip(points.x, points.y, strict=True)):
        top, left = index // 3 * 11 + 3, index % 3 * 13 + 3
        assert (left + 4.5, top + 3.5) == pytest.approx((x, y), abs=1)
        assert pixels[int(y), int(x), 3] == 255
        assert list(points.customdata[index]) == [index // 3 + 1, index % 3 + 1]
    assert points.marker.opacity == points.unselected.marker.opacity == 0
    assert figure.layout.width == 170
    aspect = figure.layout.height / figure.layout.width
    assert aspect == pytest.approx(picture.height / picture.width, abs=0.01)
    assert tuple(figure.layout.yaxis.range) == (picture.height, 0)
