"""The Patches and Cost pages, run by Streamlit's own test runner."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from model import zoo

APP = str(Path(__file__).parents[2] / "app.py")


def open_page(page: str, **words: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update(words)
    app.switch_page(f"viz/pages/{page}.py").run()
    assert not app.exception
    return app


@pytest.mark.parametrize("model", zoo.names())
def test_patches_of_every_embedded_model(model):
    app = open_page("patches", model=model)
    assert app.slider(key="patch").value > 0
    assert "numbers" in app.code[0].value
    app.segmented_control(key="filters").set_value("Raw filters").run()
    assert not app.exception


def test_a_patch_that_is_not_there_becomes_the_middle_one():
    app = open_page("patches", model="cs231n-cifar10", patch="99")
    assert app.slider(key="patch").value == 10


def test_cost_counts_and_measures():
    app = open_page("cost", base="CS231n")
    table = app.markdown[1].value
    assert "Image side doubled" in table and "(×16)" not in table.split("Patch side")[0][:60]
    app.button[0].click().run()
    assert not app.exception
    assert any("Milliseconds" in part.value for part in app.markdown)


def test_an_unknown_base_is_this_model():
    app = open_page("cost", base="ViT-Z")
    assert app.segmented_control(key="base").value == "This model"
