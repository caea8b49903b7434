"""The Heads page, run by Streamlit's own test runner."""

import io
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from model import samples

APP = str(Path(__file__).parents[2] / "app.py")
PAGE = "viz/pages/heads.py"


@pytest.fixture
def app():
    app = AppTest.from_file(APP, default_timeout=60)
    return app.switch_page(PAGE)


def photo(name: str) -> bytes:
    buffer = io.BytesIO()
    samples.load(name).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("measure", ["entropy", "content", "diagonal"])
@pytest.mark.parametrize("over", ["This photo", "The samples"])
def test_every_head_is_a_dot(app, measure, over):
    app.query_params.update({"measure": measure, "over": over})
    app.run()
    assert not app.exception
    assert app.selectbox(key="measure").value == measure
    assert len(app.get("plotly_chart")) == 1


def test_a_measure_that_the_model_does_not_have_is_not_offered(app):
    app.query_params.update({"model": "cs231n-cifar10", "measure": "cls"})
    app.run()
    assert app.selectbox(key="measure").value == "distance"
    assert "To CLS" not in app.selectbox(key="measure").options


STEM, MIMETIC = "stem of convolutions", "before any training"


@pytest.mark.parametrize(
    ("model", "told"),
    [("cs231n-challenge", STEM), ("cifar10", MIMETIC), ("cs231n-cifar10", None)],
)
def test_how_far_the_heads_looked_from_the_start_is_told(app, model, told):
    app.query_params["model"] = model
    app.run()
    for part in (STEM, MIMETIC):
        assert any(part in text.value for text in app.caption) == (part == told)


def test_photos_of_ones_own_are_averaged_and_bad_ones_told_of(app):
    app.query_params["over"] = "Many of yours"
    app.run()
    assert not app.get("plotly_chart")
    app.file_uploader(key="many").set_value(
        [
            ("cat.jpg", photo("chelsea"), "image/jpeg"),
            ("notes.jpg", b"These are my notes.", "image/jpeg"),
        ]
    )
    app.run()
    assert not app.exception and len(app.get("plotly_chart")) == 1
    assert app.warning[0].value.startswith("1 could not be opened.")


def test_a_head_found_by_what_it_does_opens_in_explore(app):
    app.run()
    button = next(b for b in app.button if b.label.startswith("Layer"))
    layer, head = (int(part.split()[-1]) for part in button.label.split(":")[0].split(","))
    button.click().run()
    assert not app.exception
    view = app.session_state["view"]
    assert (view.layer, view.head) == (layer - 1, head - 1)
    assert app.title[0].value == "Where does this patch look?"
