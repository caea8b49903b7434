import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from viz.pictures.colors import COLOR_MAPS, GAMMA, lookup_table, subdue
from viz.pictures.lettering import MARGIN, break_lines, font, percent, text
from viz.pictures.overlay import SIDE, figure, frame, overlay, scaled_to_maximum

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


DARK, LIGHT = (0, 16, 32, 48), (64, 96, 128, 255)


@pytest.mark.parametrize(
    ("grey", "colors"),
    [(grey, name) for name in COLOR_MAPS for grey in (*DARK, *(() if name == "gray" else LIGHT))],
)
def test_weak_patches_are_seen_on_dark_photos_and_light_ones_and_no_weight_changes_nothing(
    grey, colors
):
    photo = Image.new("RGB", (80, 10), (grey, grey, grey))
    weights = np.array([[0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0]])
    patches = np.asarray(overlay(photo, weights, colors))[5, 5::10].astype(float)
    assert (patches[0] == grey).all()
    seen = rgb2lab(patches[None] / 255)[0]
    differences = np.linalg.norm(seen[1:] - seen[0], axis=1)
    assert differences.min() > 2.3, "the just noticeable difference of CIELAB"


@pytest.mark.parametrize("weights", [np.zeros((2, 3)), np.full((2, 3), np.nan)])
def test_a_map_of_nothing_shows_the_photo(weights):
    picture = np.asarray(overlay(PHOTO, weights))
    np.testing.assert_array_equal(picture, subdue(np.asarray(PHOTO)))


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_normalised_values_lie_between_nothing_and_one(values):
    scaled = scaled_to_maximum(np.array(values))
    assert (scaled >= 0).all() and (scaled <= 1).all()
    assert max(values) == 0 or scaled.max() == pytest.approx(1)


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_color_maps_grow_lighter_from_low_to_high(name):
    luma = lookup_table(name) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luma) > -1).all() and luma[-1] - luma[0] > 100


def test_an_unknown_color_map_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"jet.*viridis"):
        lookup_table("jet")


@pytest.mark.parametrize("size", [(60, 40), (40, 40), (30, 60)])
def test_a_lettered_map_is_the_overlay_enlarged_on_white(size):
    photo = PHOTO.resize(size)
    weights = np.arange(6.0).reshape(2, 3)
    picture = figure(photo, weights, ["A title", "More"], "magma", opacity=0.5)
    scale = SIDE / max(size)
    large = photo.resize([round(side * scale) for side in size], Image.Resampling.LANCZOS)
    assert max(large.size) == SIDE
    box = (MARGIN, MARGIN, MARGIN + large.width, MARGIN + large.height)
    drawn = np.asarray(picture.crop(box))
    np.testing.assert_array_equal(drawn, np.asarray(overlay(large, weights, "magma", 0.5)))
    pixels = np.asarray(picture)
    for edge in (pixels[:MARGIN], pixels[-MARGIN:], pixels[:, :MARGIN], pixels[:, -MARGIN:]):
        assert (edge == 255).all()
    assert (pixels[box[3] + MARGIN :] < 128).any(), "there is text below"


def test_the_colour_scale_has_all_colours_of_the_map_and_its_maximum():
    weights = np.array([[0.01, 0.04]])
    below = {
        top: np.asarray(figure(PHOTO, weights, color_map="magma", top=top))[SIDE * 40 // 60 :]
        for top in (None, 0.04, 0.08)
    }
    for color in lookup_table("magma")[[0, 64, 128, 255]]:
        assert (below[None][2 * MARGIN :] == color).all(axis=-1).any()
    assert np.array_equal(below[None][2 * MARGIN :], below[0.04][2 * MARGIN :])
    assert not np.array_equal(below[None][2 * MARGIN :], below[0.08][2 * MARGIN :])


def test_the_asking_patch_is_framed_and_no_other():
    weights = np.full((4, 6), 0.1)
    bare = np.asarray(figure(PHOTO, weights)).astype(int)
    framed = np.asarray(figure(PHOTO, weights, asking=(1 / 6, 1 / 4, 2 / 6, 2 / 4))).astype(int)
    changed = np.argwhere((bare != framed).any(axis=-1)) - MARGIN
    side = SIDE // 6
    assert (changed.min(axis=0) < side).all() and (changed.max(axis=0) >= 2 * side).all()
    assert (changed.min(axis=0) >= side - 5).all() and (changed.max(axis=0) < 2 * side + 5).all()
    edge = framed[MARGIN + side - 5 : MARGIN + side + 5, MARGIN + 3 * side // 2]
    np.testing.assert_array_equal(edge[:5], 255)
    np.testing.assert_array_equal(edge[5:], 0)


def test_a_frame_leaves_the_smallest_patch_its_middle():
    picture = Image.new("RGB", (60, 40), "red")
    frame(picture, (0.5, 0.5, 0.6, 0.65))
    pixels = np.asarray(picture)
    assert (pixels[21:25, 31:35] == (255, 0, 0)).all()
    assert (pixels[20, 30:36] == 0).all() and (pixels[19, 29:37] == 255).all()


@pytest.mark.parametrize(("columns", "drawn"), [(6, True), (300, False)])
def test_lines_lie_between_patches_unless_these_are_too_small(columns, drawn):
    weights = np.zeros((4, columns))
    bare, lined = (np.asarray(figure(PHOTO, weights, lines=lines)) for lines in (False, True))
    changed = (bare != lined).any(axis=-1)
    assert changed.any() == drawn
    assert not drawn or (changed.all(axis=0).sum() == 0 and changed[:, MARGIN + SIDE // 6].any())


def test_text_is_broken_where_it_is_too_long():
    one = text(["a title"], 400)
    assert text(["a title " * 20], 400).height >= 5 * one.height
    endless = text(["W" * 200, "second"], 800)
    assert endless.height >= 5 * one.height and endless.width == 800
    assert text([], 400).height == 1


@pytest.mark.parametrize(
    "line", ["hf/some-organisation/a_model-of-a-long_name takes 67.0 %", "W" * 95, "a\n\tb", ""]
)
@pytest.mark.parametrize("width", [300, 1152])
def test_broken_text_is_the_same_text(line, width):
    parts = break_lines(line, 16, width)
    assert "".join(parts).split() == line.split()
    assert all(font(16).getlength(part.rstrip()) <= max(width, 500) for part in parts)
    assert not any(part.strip().startswith("%") for part in parts)


@pytest.mark.parametrize(
    ("share", "words"), [(0.0062, "0.62 %"), (0.019, "1.9 %"), (0.43, "43.0 %"), (0, "0.00 %")]
)
def test_shares_are_written_as_on_the_pages(share, words):
    assert percent(share) == words
