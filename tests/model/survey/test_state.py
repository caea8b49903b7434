from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import SurveyError
from model.survey.fingerprint import Fingerprint
from model.survey.picture_measures import SURVEYED, BatchMeasures, Shape
from model.survey.rankings import KEPT, RANKINGS
from model.survey.state import EFFECTS, LISTED, SurveyState

SHAPE = Shape(("a", "b"), (0, 1), (2, 3), ((4, 4), (4, 4)), (None, (2, 2)), False)
TABLE, PLACES = SHAPE.table, len(SHAPE.places)
BLOCKS, PICTURES = 12, 5
PRINT = Fingerprint("w", "d", BLOCKS * PICTURES, PICTURES, 4, 1, "CPU", 3, ("m",), ("torch 1",))


def block_state(number, fingerprint=PRINT):
    """The state of one block with made-up measures; costs are coarse, so that many are equal."""
    chance = np.random.default_rng(number)
    state = SurveyState("made up", fingerprint, SHAPE, {number})
    pictures = list(range(number * PICTURES, (number + 1) * PICTURES))
    size = (PICTURES, *TABLE)
    best = {
        name: (chance.integers(0, 3, size).astype(float), chance.integers(0, 16, size))
        for name in RANKINGS
    }
    measured = BatchMeasures(
        chance.normal(size=(PICTURES, len(SURVEYED), *TABLE)).astype(np.float32).astype(float),
        chance.integers(-1, 6, size),
        chance.random((PICTURES, PLACES, PLACES)),
        best,
    )
    state.add(measured, pictures, [chance.choice(["x", "y", None]) for _ in pictures])
    state.effects.add(chance.normal(size=(1, len(EFFECTS), *TABLE)))
    if number % 3 == 0:
        state.add_damaged(1000 - number, f"picture {1000 - number}")
    return state


def merged(states):
    whole = SurveyState("made up", PRINT, SHAPE)
    for state in states:
        whole.merge(state)
    return whole


WHOLE = merged(map(block_state, range(BLOCKS))).to_bytes()


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(BLOCKS)), st.lists(st.integers(0, 3), min_size=BLOCKS))
def test_any_workers_in_any_order_give_the_state_of_one_pass_to_the_bit(order, worker_of):
    workers = [
        merged(block_state(block) for block in order if worker_of[block] == worker)
        for worker in range(4)
    ]
    assert merged(workers).to_bytes() == WHOLE


def test_a_state_survives_its_file(tmp_path):
    state = merged(map(block_state, range(BLOCKS)))
    state.save(tmp_path / "state")
    assert SurveyState.load(tmp_path / "state").to_bytes() == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_rankings_are_the_first_of_all_places():
    states = [block_state(number) for number in range(BLOCKS)]
    whole = merged(states)
    for name in RANKINGS:
        for place in range(PLACES):
            every = sorted(p for state in states for p in state.rankings[name][place])
            assert len(every) == BLOCKS * PICTURES > KEPT
            assert whole.rankings[name][place] == every[:KEPT]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batch": 8}, "the pictures in a batch .* 8 there and 4 here"),
        ({"threads": 2}, "the threads of a process"),
        ({"weights": "other"}, "the model's weights"),
        ({"versions": ("torch 2",)}, "versions of the libraries differ, torch 2 there"),
    ],
)
def test_parts_that_were_made_otherwise_are_refused_in_a_sentence(changed, told):
    other = block_state(1, Fingerprint(**(vars(PRINT) | changed)))
    with pytest.raises(SurveyError, match=told):
        block_state(0).merge(other)


def test_a_block_is_not_counted_twice():
    whole = merged(map(block_state, range(3)))
    with pytest.raises(SurveyError, match="added already"):
        whole.merge(block_state(2))
    assert whole.pictures == 3 * PICTURES


def test_a_million_damaged_pictures_are_counted_and_the_first_are_listed():
    halves = [SurveyState("made up", PRINT, SHAPE) for _ in range(2)]
    for picture in reversed(range(2 * LISTED)):
        halves[picture % 2].add_damaged(picture, str(picture))
    reduce(lambda a, b: a.merge(b) or a, halves)
    assert halves[0].damaged == 2 * LISTED
    assert list(halves[0].reasons) == list(range(LISTED))


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"anything", WHOLE[:-20]])
def test_a_damaged_file_is_told(tmp_path, data):
    (tmp_path / "state").write_bytes(data)
    with pytest.raises(SurveyError, match="state: This is no state of a survey"):
        SurveyState.load(tmp_path / "state")
