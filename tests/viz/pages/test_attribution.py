"""The Attribution page, run by Streamlit's own test runner."""

from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.attribution import registry
from model.attribution.registry import METHODS, explain
from model.attribution.trace import trace_class
from model.datasets import samples
from viz.components.payload import unpack
from viz.pages import attribution_settings

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
PAGE = "attribution.py"


@pytest.fixture
def app():
    return AppTest.from_file(APP, default_timeout=120).switch_page(PAGE)


def row(app):
    """The row of maps: header, and values by method and variant."""
    for part in app.get("bidi_component"):
        header, arrays = unpack(part.proto.bytes)
        if "cells" in header:
            drawn = [c["id"] for c in header["cells"] if not c["missing"]]
            values = arrays["values"].reshape(len(drawn), len(header["variants"]), *header["grid"])
            return header, dict(zip(drawn, values, strict=True))
    raise AssertionError("no row of maps")


def test_every_method_has_its_map(app):
    app.run()
    assert not app.exception
    header, maps = row(app)
    assert list(maps) == list(METHODS)
    bundle = zoo.load(zoo.names()[0])
    images = bundle.prepare(samples.load(samples.names()[0]))
    with torch.no_grad():
        target = int(bundle.net(images)[0].argmax())
    trace = trace_class(bundle.net, images, bundle.tokens, target)
    for method, shown in maps.items():
        expected = explain(trace, method)[0]
        np.testing.assert_allclose(shown[0], expected / expected.max().clamp_min(1e-30), atol=1e-4)
    assert header["chosen"] == "chefer"
    same = {cell["id"] for cell in header["cells"] if "same for every class" in cell["notes"]}
    assert same == {"attention", "rollout", "random_map"}


def test_the_method_shown_first_suits_the_model_and_a_chosen_one_stays(app, monkeypatch):
    app.run()
    told = registry.why_unsuitable

    def without_relevance(trace, method):
        return "This model has no such maps." if method == "chefer" else told(trace, method)

    monkeypatch.setattr(registry, "why_unsuitable", without_relevance)
    assert row(app.run())[0]["chosen"] == "attention"
    linked = AppTest.from_file(APP, default_timeout=120).switch_page(PAGE)
    linked.query_params["method"] = "chefer"
    assert row(linked.run())[0]["chosen"] == "chefer"


def test_another_class_changes_the_maps_that_know_of_classes(app):
    _, before = row(app.run())
    second = app.button_group(key="likely_class").options[1]
    names = zoo.load(zoo.names()[0]).classes
    app.query_params["class"] = next(name for name in names if name in second)
    del app.session_state["target"]
    app.run()
    assert not app.exception
    _, after = row(app)
    same = [m for m in METHODS if np.allclose(before[m], after[m])]
    assert same == ["attention", "rollout", "random_map"]


def test_an_unknown_class_in_the_link_is_a_note(app):
    app.query_params["class"] = "unicorn"
    app.run()
    assert not app.exception
    assert any("does not have" in caption.value for caption in app.caption)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_its_formula_and_its_settings(app, method):
    app.query_params["method"] = method
    app.run()
    assert not app.exception
    assert "gathered" in app.latex[0].value and "<" not in app.latex[0].value


def titles(header):
    return {cell["id"]: cell["title"] for cell in header["cells"]}


def test_a_setting_acts_on_the_map_and_shows_in_the_formula_and_the_title(app):
    app.query_params["method"] = "rollout"
    header, before = row(app.run())
    assert titles(header)["rollout"] == "Rollout"
    app.slider(key="rollout_stop").set_value(1).run()
    app.slider(key="rollout_residual").set_value(0.2).run()
    assert not app.exception
    header, after = row(app)
    assert titles(header)["rollout"] == "Rollout (changed)"
    assert titles(header)["gradient_rollout"] == "Gradient rollout"
    assert not np.allclose(before["rollout"], after["rollout"])
    assert np.allclose(before["chefer"], after["chefer"])
    assert "{0.2}" in app.latex[0].value and "{0.8}" in app.latex[0].value
    app.toggle(key="rollout_compat").set_value(True).run()
    assert not app.exception
    header, theirs = row(app)
    assert titles(header)["rollout"] == "Rollout (vit-explain)"
    assert not np.allclose(after["rollout"], theirs["rollout"])


@pytest.mark.parametrize(("word", "open_"), [("True", True), ("False", False), ("no", False)])
def test_a_link_opens_what_it_says(app, word, open_):
    app.query_params["compare"] = word
    app.run()
    assert not app.exception
    assert app.toggle(key="compare").value is open_


@pytest.mark.parametrize(
    ("readers", "read"), [((5, 9), "the mean of its patches"), ((0, 9), "CLS and all")]
)
def test_where_no_class_token_decides_the_method_says_what_does(readers, read):
    size = attribution_settings.Size(2, 2, 2, class_token=False, prefix_too=readers[0] == 0)
    assert read in attribution_settings.describe_method("gradient_rollout", size)[0].text
    described, formula = attribution_settings.describe_method("attention_gradcam", size)
    assert read in described.text and "cls" not in formula


def test_beside_random_weights(app):
    app.query_params["compare"] = "True"
    app.run()
    assert not app.exception
    header, maps = row(app)
    assert header["variants"] == ["trained", "random weights"]
    assert not np.allclose(*maps["chefer"])
    notes = {cell["id"]: cell["notes"][1] for cell in header["cells"]}
    assert notes["random_map"] == "agreement 1.00"


def test_curves_are_measured_when_asked_for(app):
    app.query_params["model"] = "cs231n-cifar10"  # few patches, hence few passes
    app.run()
    assert len(app.get("plotly_chart")) == 1
    next(button for button in app.button if button.label.startswith("Measure")).click().run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 3
