import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from viz.pictures.animation import KINDS
from viz.pictures.caption_strip import animation, strip
from viz.pictures.overlay import overlay

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8))
WORDS = ["a", "small", "red", "circle"]
MAPS = RNG.dirichlet(np.ones(12), size=len(WORDS)).reshape(-1, 3, 4).astype(np.float32)


def test_every_picture_of_the_strip_is_the_overlay_of_its_word():
    picture = np.asarray(strip(PHOTO, MAPS, WORDS, cell=80, gap=4, columns=3))
    assert picture.shape == (2 * (60 + 24 + 4) + 4, 3 * 84 + 4, 3)
    np.testing.assert_array_equal(picture[4:64, 4:84], np.asarray(PHOTO))
    for i, weights in enumerate(MAPS, start=1):
        top, left = 4 + i // 3 * 88, 4 + i % 3 * 84
        cell = picture[top : top + 60, left : left + 80]
        np.testing.assert_array_equal(cell, np.asarray(overlay(PHOTO, weights)))


def test_words_and_probabilities_are_written_under_the_maps():
    bare = np.asarray(strip(PHOTO, MAPS, [""] * 4, cell=80))
    named = np.asarray(strip(PHOTO, MAPS, WORDS, cell=80))
    assert (bare != named).any(axis=-1).sum() > 50
    sure = np.asarray(strip(PHOTO, MAPS, WORDS, [0.9, 0.5, 0.1, 1.0], cell=80))
    assert sure.shape[0] == named.shape[0] + 16


@pytest.mark.parametrize("kind", KINDS)
def test_an_animation_has_one_frame_a_word_and_the_last_stays(kind):
    picture = Image.open(io.BytesIO(animation(PHOTO, MAPS, WORDS, kind, side=120)))
    assert picture.format == kind.upper() and picture.n_frames == len(WORDS)
    assert picture.info.get("loop") == 0
    frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)]
    assert frames[0].shape[1] == 120 and frames[0].shape[0] > 90
    for one, other in pairwise(frames):
        assert (one != other).any(axis=-1).mean() > 0.05


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(max_size=120), min_size=1, max_size=6))
def test_any_words_can_be_drawn(words):
    """Emoji, line breaks, other scripts, words longer than the picture."""
    maps = np.full((len(words), 2, 2), 0.25, np.float32)
    strip(PHOTO, maps, words, [0.5] * len(words), cell=40)
    assert animation(PHOTO, maps, words, side=40)


def test_a_long_caption_breaks_into_lines():
    short = Image.open(io.BytesIO(animation(PHOTO, MAPS[:1], ["a"], side=120)))
    long = Image.open(io.BytesIO(animation(PHOTO, np.repeat(MAPS, 5, 0), WORDS * 5, side=120)))
    assert long.height > short.height + 60 and long.width == short.width


def test_a_caption_without_words():
    none = np.zeros((0, 3, 4), np.float32)
    assert strip(PHOTO, none, []).size == (160 + 16, 120 + 24 + 16)
    with pytest.raises(ValueError, match="without words"):
        animation(PHOTO, none, [])


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="4 words, but maps for 3"):
        strip(PHOTO, MAPS[:3], WORDS)
    with pytest.raises(ValueError, match="gif, webp"):
        animation(PHOTO, MAPS, WORDS, "mp4")
