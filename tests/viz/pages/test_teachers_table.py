"""The table for teachers in docs/lessons.md: each sentence stands where the table says."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from viz.components.payload import unpack
from viz.lessons.reading import read_folder

ROOT = Path(__file__).parents[3]
APP = str(ROOT / "viz/pages/navigation.py")
PAGES = {path.stem for path in (ROOT / "viz/pages").glob("*.py")}
LESSONS, MISTAKES = read_folder(ROOT / "viz/lessons/en", PAGES)


def sentences_by_place() -> dict[str, list[str]]:
    """The sentences of the table, by the place from which each is quoted."""
    table = (ROOT / "docs/lessons.md").read_text(encoding="utf-8")
    found = defaultdict(list)
    for place, sentence in re.findall(r"^\|[^|]*\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE):
        found[place].append(bare(sentence))
    return found


def bare(text: str) -> str:
    """A text as one reads it, without marks of Markdown."""
    return " ".join(re.sub(r"[*`]", "", text).split())


def strings_in(value: Any) -> Iterator[str]:
    """Every text in a component's header; one whose terms are explained is one text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and any(map(is_term, value)):
        yield "".join(part[0] if is_term(part) else part for part in value)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_in(part)


def is_term(part: Any) -> bool:
    """Whether a part of a text is a term: its words, its name and its meaning."""
    return isinstance(part, list) and len(part) == 3 and all(isinstance(each, str) for each in part)


@cache
def text_of_page(page: str, query: str) -> tuple[str, dict[str, str]]:
    """What a page shows, and the texts of its steps where it is shown step by step."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params.update(dict(parse_qsl(query)))
    app.switch_page(f"{page}.py").run()
    assert not app.exception
    parts = [part.value for part in (*app.markdown, *app.caption, *app.info)]
    steps = {}
    for component in app.get("bidi_component"):
        if component.proto.bytes:
            header = unpack(component.proto.bytes)[0]
            described = header.pop("steps", ()) if page == "inside_head" else ()
            steps |= {step["id"]: bare(step["text"]) for step in described}
            parts.extend(strings_in(header))
    return bare("\n".join(parts)), steps


def text_of_view(place: str) -> str:
    """What stands at a place; every step of Inside a head comes with one run of the page."""
    page, _, query = place.partition("?")
    step = dict(parse_qsl(query)).get("step")
    text, steps = text_of_page(page, re.sub(r"&step=\w+", "", query))
    return steps[step] if step else text


def text_of_step(place: str) -> str:
    name, _, number = place.removeprefix("?lesson=").partition(".")
    lesson, number = LESSONS[name], int(number)
    if number > len(lesson.step):
        return bare(" ".join(answer.reason for each in lesson.quiz for answer in each.answers))
    step = lesson.step[number - 1]
    return bare(f"{step.text} {step.then}")


def test_the_table_answers_the_course():
    assert len(sentences_by_place()) >= 18 and not MISTAKES


@pytest.mark.parametrize("place", sentences_by_place())
def test_each_sentence_stands_where_the_table_says(place):
    text = text_of_step(place) if place.startswith("?lesson=") else text_of_view(place)
    assert [each for each in sentences_by_place()[place] if each.lower() not in text.lower()] == []
