from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.datasets import scenes
from model.tokens import TokenLayout

SEEDS = st.integers(0, 2**40)
GRID = TokenLayout((12, 12), patch=(8, 8))


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_caption_says_exactly_what_was_drawn(seed):
    scene = scenes.draw_scene(seed)
    parsed = scenes.parse(scene.caption)
    assert list(parsed.objects) == [thing.words for thing in scene.objects]
    assert 2 <= len(parsed.objects) <= 4
    for name, first, second in zip(
        parsed.relations, scene.objects[:-1], scene.objects[1:], strict=True
    ):
        across = sum(second.box[::2]) / 2 - sum(first.box[::2]) / 2
        down = sum(second.box[1::2]) / 2 - sum(first.box[1::2]) / 2
        assert down > 0
        if name == "above":
            assert down > abs(across)
        else:
            assert abs(across) > down and (name == "left of") == (across > 0)


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_boxes_hold_their_objects_and_nothing_else(seed):
    scene = scenes.draw_scene(seed)
    pixels = np.asarray(scene.image).astype(int)
    for a, b in combinations(scene.objects, 2):
        assert a.words[1:] != b.words[1:]
        assert (
            a.box[2] < b.box[0]
            or b.box[2] < a.box[0]
            or a.box[3] < b.box[1]
            or (b.box[3] < a.box[1])
        )
    for thing in scene.objects:
        left, top, right, bottom = thing.box
        side = right - left
        low, high = scenes.SIZES[thing.size]
        assert low <= side == bottom - top <= high
        assert min(left, top) > 0 and max(right, bottom) < scenes.SIDE
        like = np.abs(pixels - scenes.COLOURS[thing.colour]).max(-1) <= 13
        inner = like[top:bottom, left:right]
        assert inner.mean() > 0.25  # a star fills the least of its box
        near = 5  # pixels: the tip of a star is too thin to have its full colour
        assert inner[:near].any() and inner[-near:].any()
        assert inner[:, :near].any() and inner[:, -near:].any()


def test_a_seed_is_a_scene():
    one, same, other = scenes.draw_scene(5), scenes.draw_scene(5), scenes.draw_scene(6)
    assert one.objects == same.objects and one.image.tobytes() == same.image.tobytes()
    assert one.image.tobytes() != other.image.tobytes()


def test_the_vocabulary_is_what_captions_use():
    used = {word for seed in range(300) for word in scenes.draw_scene(seed).caption.split()}
    assert used == set(scenes.vocabulary())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a small red",
        "small red circle",
        "a red small circle",
        "a small red circle above",
        "a small red circle beside a large blue square",
        "a small red circle left a large blue square",
        "a small red circle a large blue square",
        "a small red circle above a large blue square and",
    ],
)
def test_other_sentences_are_not_parsed(text):
    assert scenes.parse(text) is None


def test_parsing_minds_neither_case_nor_spaces():
    parsed = scenes.parse("  A small RED circle left of a  large blue square ")
    assert parsed.objects == (("small", "red", "circle"), ("large", "blue", "square"))
    assert parsed.relations == ("left of",)
    assert parsed.text == "a small red circle left of a large blue square"


@dataclass
class Looks:
    words: list[str]
    maps: np.ndarray

    def attention(self, layer=-1, head=None):
        return self.maps


def test_pointing_counts_peaks_in_the_box_of_the_object_named():
    scene = scenes.draw_scene(1)
    words = scene.caption.split()
    named = scenes.find_named_objects(words, scene)
    assert [kind for _, _, kind in named] == list(scenes.KINDS) * len(scene.objects)
    assert [words[i] for i, _, _ in named] == [w for thing in scene.objects for w in thing.words]

    maps = np.zeros((len(words), GRID.patches))
    for word, number, _ in named:
        left, top, right, bottom = scene.objects[number].box
        row, column = int((top + bottom) / 2 // 8), int((left + right) / 2 // 8)
        maps[word, GRID.index_of(row, column)] = 1
    assert scenes.score_pointing_game(Looks(words, maps), scene, GRID) == [
        (w, n, True) for w, n, _ in named
    ]
    elsewhere = Looks(words, np.roll(maps, maps.shape[1] // 2, 1))
    assert not all(hit for *_, hit in scenes.score_pointing_game(elsewhere, scene, GRID))


def test_names_of_other_objects_are_left_out():
    scene = scenes.draw_scene(1)
    first = scene.objects[0]
    colour = next(c for c in scenes.COLOURS if all(c != thing.colour for thing in scene.objects))
    assert scenes.find_named_objects(["a", first.size, colour, first.shape], scene) == []
    assert scenes.find_named_objects(["a", "small", first.colour, first.shape], scene)
