"""The session's keys and the address's parameters, each in its one place."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from viz.pages.shared import address, state
from viz.pages.shared.address import Param
from viz.pages.shared.state import Key, Setting

PAGES = Path(state.__file__).parents[1]
FILES = sorted(PAGES.rglob("*.py"))
ELEMENTS = {"plotly_chart", "show_chart", "dataframe", "form"}
"""Calls whose ``key`` only tells one element from another, where nobody selects in them."""


def keys() -> list[Key]:
    pages = [page for page in vars(state).values() if isinstance(page, type)]
    return [entry for page in pages for entry in vars(page).values() if isinstance(entry, Key)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PAGES)))
def test_session_and_address_are_reached_through_their_own_files_alone(path):
    text = path.read_text(encoding="utf-8")
    assert "session_state" not in text or path.name == "state.py"
    assert "query_params" not in text or path.name == "address.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PAGES)))
def test_no_widget_names_its_key_itself(path):
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        bare = isinstance(given.get("key"), ast.Constant | ast.JoinedStr)
        name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
        element = name in ELEMENTS
        assert not bare or (element and "on_select" not in given), f"line {call.lineno}"


def test_every_key_is_listed_once():
    counts = Counter(key.name for key in keys())
    assert len(counts) > 90 and set(counts.values()) == {1}


def page() -> None:
    from viz.pages.shared.state import Setting

    size = Setting("size", 4, param_name="big")
    size.begin(range(10))
    state_before = size.get()
    size.set(99)
    size.begin(range(10), default=5)
    import streamlit as st

    st.text(f"{state_before} {size.get()} {size.url_params()} {size.url_params(default=5)}")


@pytest.mark.parametrize(
    ("link", "begun"), [({}, 4), ({"big": "7"}, 7), ({"big": "70"}, 4), ({"big": "x"}, 4)]
)
def test_a_setting_begins_from_the_link_and_stays_valid(link, begun):
    app = AppTest.from_function(page)
    app.query_params.update(link)
    app.run()
    assert not app.exception
    assert app.text[0].value == f"{begun} 5 {{'big': '5'}} {{}}"


def test_a_key_is_forgotten_when_it_is_taken():
    def script():
        import streamlit as st

        from viz.pages.shared.state import Key

        key = Key("sentence", "")
        key.set("once")
        st.text(f"{key.is_set} {key.take()} {key.is_set} {key.get()!r}")

    app = AppTest.from_function(script).run()
    assert app.text[0].value == "True once False ''"


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        (False, "yes", True),
        (True, "False", False),
        (1, "12", 12),
        (0.5, "0.25", 0.25),
        ("mean", "max", "max"),
        (1, "one", 1),
        (True, "maybe", True),
        ("mean", "m" * 201, "mean"),
    ],
)
def test_a_setting_reads_values_of_its_defaults_type(default, text, value):
    setting = Setting("name", default)
    assert setting.param.read({"name": text}) == value


@pytest.mark.parametrize(
    ("param", "value"),
    [
        (address.LAYER, 12),
        (address.HEAD, 3),
        (address.HEAD, "max"),
        (address.FROM, (3, 14)),
        (address.FROM, "reg0"),
        (address.OPACITY, 0.35),
        (address.HELD, True),
        (address.CAPTION_LAYER, 0),
        (address.CAPTION_HEAD, "mean"),
        (address.CAPTION_HEAD, 5),
        (address.WORD, 7),
        (address.BOX, (0, 10, 50, 100)),
        (address.PATCH, 20),
        (address.CLASS, "tench, Tinca tinca"),
    ],
)
def test_a_parameter_reads_what_it_writes(param, value):
    notes = []
    assert param.read(param.write(value), notes) == value and not notes


def test_a_parameter_that_cannot_be_read_is_the_default_and_a_sentence():
    notes = []
    param = Param("size", 4, int, wrong="The link's {name} is wrong; showing {default}.")
    assert param.read({"size": "{0}"}, notes) == 4
    assert notes == ["The link's size is wrong; showing 4."]
    assert param.write_changed(4) == param.write_changed(None) == {}
    assert param.write_changed(4, default=5) == {"size": "4"}
