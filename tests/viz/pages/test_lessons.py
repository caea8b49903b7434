"""The page Lessons: the list, a teacher's own folder with its mistakes, notes and sheet."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from viz.components.payload import unpack
from viz.lessons import library
from viz.pages.shared.running_lesson import find_place, payload_of

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
ROOM = """
import streamlit as st
from viz.pages.shared.state import Shared
Shared.page_names.set(("explore", "lessons"))
import runpy
runpy.run_path("viz/pages/lessons.py")
"""


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "01-mine.toml").write_text("title = 3\n", encoding="utf-8")
    monkeypatch.setenv(library.VARIABLE, str(tmp_path))
    library.library.cache_clear()
    yield tmp_path
    library.library.cache_clear()


def test_a_broken_lesson_is_a_sentence_and_the_others_are_listed(own_folder):
    page = AppTest.from_string(ROOM, default_timeout=60).run()
    assert not page.exception
    sentences = " ".join(warning.value for warning in page.warning)
    assert "01-mine.toml, line 1: title: Input should be a valid string" in sentences


def test_a_link_to_an_unknown_lesson_names_those_there_are():
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["lesson"] = "wrong.2"
    page.run()
    assert not page.exception
    (told,) = (info.value for info in page.info if "lesson" in info.value)
    assert "There is no lesson “wrong” here" in told and "(.?lesson=scale)" in told
    assert told in [info.value for info in page.run().info]


def test_a_place_is_found_and_a_wrong_one_is_the_nearest():
    shelf = library.open_library(None, {"explore", "inside_head", "what_if"}).lessons
    lesson = shelf["several-heads"]
    for text, place in {"": 1, ".2": 2, ".0": 1, ".99": 5, ".x": 1, ".99999": 1}.items():
        assert find_place(f"several-heads{text}", shelf) == (lesson, place)
    assert find_place("nothing.1", shelf) is None
    step = unpack(payload_of(lesson, 1, ""))[0]
    assert step["step"]["title"] == "One layer, several heads" and step["quiz"] is None
    assert step["ways"][0] == ["", lesson.step[0].query] and step["ways"][3][0] == "what_if"
    quiz = unpack(payload_of(lesson, 5, ""))[0]
    assert quiz["step"] is None and len(quiz["quiz"]) == 3
