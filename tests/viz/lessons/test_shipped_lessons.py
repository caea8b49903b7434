"""The lessons that are shipped: nothing in them names a page or a setting that there is not."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from model.datasets import samples
from viz.lessons.lesson import CONDITION
from viz.lessons.library import open_library
from viz.pages.shared import address, state

ROOT = Path(__file__).parents[3]
PAGES = {
    path.stem
    for path in (ROOT / "viz/pages").glob("*.py")
    if path.read_text(encoding="utf-8").endswith("\npage()\n")
}
LIBRARY = open_library(None, PAGES)
SUBJECTS = (
    *("patches", "queries-keys-values", "several-heads", "scale", "output-projection"),
    *("position-codes", "cls-or-mean", "decoder-mask", "cross-attention", "rollout"),
    *("small-data", "cost", "not-explanation", "training"),
)
ADDRESSED = {"off", "hidden", "hide"}
"""What the page What if writes by itself."""


def settings() -> list[state.Setting]:
    rooms = [each for each in vars(state).values() if isinstance(each, type)]
    return [
        each for room in rooms for each in vars(room).values() if isinstance(each, state.Setting)
    ]


def known_names() -> set[str]:
    params = [each for each in vars(address).values() if isinstance(each, address.Param)]
    return {each.param.name for each in settings()} | {each.name for each in params} | ADDRESSED


def test_there_are_fourteen_and_a_tour_without_a_mistake():
    assert not LIBRARY.mistakes
    assert tuple(name for name, each in LIBRARY.lessons.items() if each.kind == "lesson") == (
        SUBJECTS
    )
    assert LIBRARY.tour is not None and LIBRARY.tour.places == 6


@pytest.mark.parametrize("name", ["tour", *SUBJECTS])
def test_steps_name_settings_that_there_are_and_end_with_something_to_do(name):
    lesson, known = LIBRARY.lessons[name], known_names()
    for step in lesson.step:
        asked = {entry for entry, _ in parse_qsl(step.query)}
        conditions = {CONDITION.match(each)["name"] for each in step.done}
        assert asked | conditions <= known, step.title
        photo = dict(parse_qsl(step.query)).get("photo")
        assert photo is None or samples.is_known(photo), step.title
    assert any(step.do or step.guess for step in lesson.step)
    if lesson.kind == "lesson":
        assert lesson.teacher is not None and lesson.teacher.misconceptions


def test_what_a_step_asks_to_change_begins_as_the_app_writes_it():
    """Otherwise the app's own address would differ from the step's, and seem to be changed."""
    by_name = {each.param.name: each.param for each in settings()}
    begun = [
        (by_name[name], entry)
        for lesson in LIBRARY.lessons.values()
        for step in lesson.step
        for name, entry in parse_qsl(step.query)
        if f"{name} changed" in step.done and name in by_name
    ]
    assert begun
    for param, entry in begun:
        assert param.write_changed(param.read({param.name: entry})) == {param.name: entry}
