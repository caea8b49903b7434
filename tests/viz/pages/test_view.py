from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.recorded_image import Layer
from model.recording.rollout import FUSIONS
from model.tokens import TokenLayout
from viz.export.names import token_name
from viz.pages.shared.address import HEADS_FUSED, SCALINGS
from viz.pages.shared.view import (
    View,
    carry_over,
    fit_view,
    go_to_layer,
    view_from_address,
    view_url_params,
)
from viz.pictures.colors import COLOR_MAPS

LAYERS, HEADS = 4, 3
TOKENS = TokenLayout(grid=(3, 5), prefix=("cls", "reg0"), patch=(16, 16))
PLAIN = TokenLayout(grid=(3, 5))
MODEL = [Layer(HEADS, TOKENS)] * LAYERS
STAGES = [Layer(3, TokenLayout(grid=(8, 12))), Layer(6, TokenLayout(grid=(4, 6)))]

views = st.builds(
    View,
    layer=st.integers(0, LAYERS - 1),
    head=st.integers(0, HEADS - 1) | st.sampled_from(HEADS_FUSED),
    query=st.integers(0, TOKENS.tokens - 1),
    held=st.booleans(),
    opacity=st.integers(0, 20).map(lambda n: n / 20),
    colors=st.sampled_from(COLOR_MAPS),
    scaling=st.sampled_from(SCALINGS),
    lines=st.booleans(),
    smooth=st.booleans(),
    fusion=st.sampled_from(FUSIONS),
    discard=st.integers(0, 19).map(lambda n: n / 20),
)


@given(views)
def test_a_link_opens_the_same_view(view):
    assert view_from_address(view_url_params(view, MODEL), MODEL) == (view, [])


@given(views, st.permutations(range(9)).map(lambda order: sorted(order[:LAYERS])))
def test_a_view_carried_over_to_the_same_layers_is_the_same(view, numbers):
    assert carry_over(view, (MODEL, numbers), (MODEL, numbers)) == view


def test_a_view_goes_along_to_another_model_and_to_fewer_layers():
    at = View(layer=3, query=TOKENS.index_of(2, 4))
    two = [Layer(1, TokenLayout(grid=(6, 10), prefix=("cls",)))] * 2
    there = carry_over(at, (MODEL, range(4)), (two, range(2)))
    assert (there.layer, two[0].tokens.position_of(there.query)) == (1, (5, 9))
    from_cls = carry_over(View(layer=0, query=0), (MODEL, range(4)), ([Layer(1, PLAIN)], [0]))
    assert PLAIN.position_of(from_cls.query) == (1, 2)
    fewer = carry_over(at, (MODEL, range(4)), (MODEL[:2], [1, 3]))
    assert (fewer.layer, fewer.query) == (1, at.query)


@given(st.dictionaries(st.sampled_from([*View.__dataclass_fields__, "from"]), st.text()))
def test_any_address_opens_some_valid_view(words):
    view, notes = view_from_address(words, MODEL)
    assert view == fit_view(view, MODEL)
    assert 0 <= view.opacity <= 1 and view.colors in COLOR_MAPS and view.fusion in FUSIONS
    assert all(note.endswith(".") for note in notes)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"layer": "99"}, {"layer": 3}),
        ({"layer": "0"}, {"layer": 0}),
        ({"head": "7"}, {"head": 2}),
        ({"layer": "last"}, {"layer": 3}),
        ({"from": "r4c1"}, {"query": 0}),
        ({"from": "dist"}, {"query": 0}),
        ({"opacity": "2.5"}, {"opacity": 1.0}),
        ({"colors": "jet"}, {"colors": "viridis"}),
    ],
)
def test_a_wrong_link_opens_the_nearest_view_with_one_note(words, expected):
    view, notes = view_from_address(words, MODEL)
    assert view == replace(view, **expected)
    assert len(notes) == 1


@given(views, st.sets(st.integers(0, 40), min_size=len(MODEL), max_size=len(MODEL)).map(sorted))
def test_a_link_names_the_models_own_layer(view, numbers):
    words = view_url_params(view, MODEL, numbers)
    assert words["layer"] == str(numbers[view.layer] + 1)
    assert view_from_address(words, MODEL, numbers) == (view, [])


def test_a_layer_that_is_not_recorded_opens_the_nearest():
    view, notes = view_from_address({"layer": "9"}, MODEL, [1, 5, 7, 11])
    assert view.layer == 2 and notes == ["Layer 9 is not recorded here; showing layer 8."]


def test_the_first_view_is_the_last_layer_from_cls():
    view, notes = view_from_address({}, MODEL)
    assert (view.layer, view.head, view.query, notes) == (3, "mean", 0, [])


def test_without_cls_the_centre_patch_asks():
    view, _ = view_from_address({}, [Layer(HEADS, PLAIN)])
    assert PLAIN.position_of(view.query) == (1, 2)


def test_a_smaller_model_keeps_what_it_can_of_a_view():
    view = View(layer=11, head=9, query=190)
    assert fit_view(view, MODEL) == replace(view, layer=3, head=2, query=0)


def test_the_browser_changes_only_what_a_view_has():
    view = View.from_browser({"layer": 2, "revision": 9}, View(1, 0, colors="magma"))
    assert view == View(2, 0, colors="magma")


def test_tokens_are_named_as_people_count():
    assert token_name(0, TOKENS) == "CLS"
    assert token_name(1, TOKENS) == "register 0"
    assert token_name(TOKENS.index_of(0, 0), TOKENS) == "row 1, column 1"


def test_another_layer_is_entered_at_the_same_place():
    view = fit_view(View(layer=1, query=23), STAGES)
    assert STAGES[0].tokens.position_of(go_to_layer(view, 0, STAGES).query) == (7, 11)
