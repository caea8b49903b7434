"""The Positions page, tab by tab, run by Streamlit's own test runner."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from viz.payload import unpack

APP = str(Path(__file__).parents[2] / "app.py")
PAGE = "viz/pages/positions.py"


def open_tab(tab: str, **words: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update({"tab": tab, **words})
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning]
    return " ".join(part.value for part in parts)


def test_the_waves_follow_the_sliders():
    app = open_tab("Waves")
    app.slider(key="length").set_value(20)
    app.slider(key="width").set_value(8)
    app.run()
    assert not app.exception
    assert "and 4 at distance 0" in texts(app)
    assert (app.query_params["length"], app.query_params["width"]) == ("20", "8")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"width": "7"}, "7 is not, 8 would be"),
        ({"width": "0"}, "0 is not, 2 would be"),
        ({"length": "0"}, "0 is not"),
        ({"length": "999999999"}, "999999999 is not"),
        ({"width": "4000"}, "at most 512"),
        ({"base": "0"}, "The base"),
        ({"base": "nan"}, "The base"),
        ({"base": "12"}, "This page has the bases"),
    ],
)
def test_a_link_to_an_impossible_code_is_a_sentence(words, sentence):
    app = open_tab("Waves", **words)
    assert sentence in " ".join(warning.value for warning in app.warning)
    assert app.slider(key="length").value == 64 and app.slider(key="width").value == 64


def test_words_that_are_no_numbers_are_left_alone():
    app = open_tab("Nowhere", length="long")
    assert app.session_state["tab"] == "Waves" and app.slider(key="length").value == 64


def test_a_width_that_four_does_not_divide_has_no_code_for_grids():
    app = open_tab("Waves", width="6")
    assert "four divides it" in texts(app)


def test_the_models_own_code_as_tiles():
    app = open_tab("This model's code")
    header, arrays = unpack(app.get("bidi_component")[0].proto.bytes)
    rows, columns = header["grid"]
    assert arrays["values0"].shape == (rows * columns, rows * columns)
    np.testing.assert_allclose(np.diagonal(arrays["values0"]), 1, atol=1e-3)
    app.segmented_control(key="likeness").set_value("Dot product").run()
    header, arrays = unpack(app.get("bidi_component")[0].proto.bytes)
    assert header["unit"] == "dot product"
    assert np.ptp(np.diagonal(arrays["values0"])) > 0


def test_a_model_without_rotary_code_is_said_to_have_none():
    assert "has no rotary code" in texts(open_tab("Rotation"))


@pytest.mark.parametrize("way", ["Take the code away", "Both", "Shift the code"])
def test_order_matters_with_the_code_and_only_then(way):
    app = open_tab("Does order matter?", model="cs231n-cifar10", way=way)
    with_it, without = (float(metric.value) for metric in app.metric)
    assert without < 1e-4 < 1e-3 < with_it
    assert "mean of its patches" in texts(app)


def test_shuffling_again_is_another_shuffle():
    app = open_tab("Does order matter?")
    app.button[0].click().run()
    assert not app.exception and app.query_params["seed"] == "2"
