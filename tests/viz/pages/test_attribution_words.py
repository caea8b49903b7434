"""The Attribution page with captioners: words to explain, and where the object is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.attribution.registry import METHODS, ONE_VECTOR, explain
from model.attribution.trace import trace_class
from model.attribution.word_trace import trace_word
from model.captioning.caption import CaptionBundle
from model.card import Card
from model.datasets import samples, scenes
from model.preprocessing import Resize
from tests.model.captioners import captioner
from tests.viz.pages.shown import address_of
from viz.components.payload import unpack
from viz.pages.attribution_maps import curves_of
from viz.pages.shared import captions_written, open_models
from viz.pages.shared.captions_written import scene_of

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
PAGE = "attribution.py"
NAME = "scenes-captioner"


@pytest.fixture
def open_page():
    captions_written.caption_of.cache.clear()

    def open_(**words: str) -> AppTest:
        app = AppTest.from_file(APP, default_timeout=120).switch_page(PAGE)
        app.query_params.update(words)
        app.run()
        assert not app.exception
        return app

    return open_


@pytest.fixture(scope="module")
def told():
    """The captioner, the first scene, and what is said of it."""
    bundle, scene = zoo.load(NAME), scene_of(1)
    return bundle, scene, bundle.caption(scene.image)


def row(app):
    """The row of maps: header, and values by method."""
    for part in app.get("bidi_component"):
        header, arrays = unpack(part.proto.bytes)
        if "cells" in header:
            drawn = [c["id"] for c in header["cells"] if not c["missing"]]
            step = len(header["variants"])
            return header, dict(zip(drawn, arrays["values"][::step], strict=True))
    raise AssertionError("no row of maps")


def notes(app):
    return {cell["id"]: cell["notes"][0] for cell in row(app)[0]["cells"]}


def texts(app) -> str:
    return " ".join(part.value for part in [*app.caption, *app.info, *app.markdown])


def close(shown, expected):
    expected = expected / expected.max().clamp_min(1e-30)
    np.testing.assert_allclose(shown, expected, atol=1e-4)


def first_of(caption, scene, kind):
    """Place in the caption, and object, of the first word of a kind."""
    found = scenes.find_named_objects(caption.words, scene)
    return next((place, scene.objects[thing]) for place, thing, of in found if of == kind)


def test_the_words_of_the_caption_are_offered_and_one_is_explained(open_page, told):
    bundle, scene, caption = told
    app = open_page(model=NAME)
    pills = app.button_group(key="word_choice").options
    assert [pill.split()[0] for pill in pills] == caption.words
    place, _ = first_of(caption, scene, "colour")
    word = bundle.word(caption.words, place)
    trace = trace_word(bundle.net, bundle.prepare(scene.image), bundle.tokens, word)
    header, maps = row(app)
    assert list(maps) == list(METHODS) and header["grid"] == [12, 12]
    for method, shown in maps.items():
        close(shown, explain(trace, method)[0])
    assert [c["title"] for c in header["cells"]][:2] == ["Cross-attention", "Rollout"]
    assert address_of(app)["word"] == str(place + 1) and address_of(app)["model"] == NAME


def test_a_link_says_how_to_draw(open_page):
    words = {"colors": "magma", "opacity": "0.5", "smooth": "yes"}
    app = open_page(model=NAME, scene="1", **words)
    assert words.items() <= address_of(app).items()
    header, _ = row(app)
    style = header["style"]
    assert (style["colors"], style["opacity"], style["smooth"]) == ("magma", 0.5, True)
    app.button_group(key="word_choice").set_value(0).run()
    assert words.items() <= address_of(app).items()
    assert "unknown colors" in texts(open_page(model=NAME, scene="1", colors="rainbow"))


def test_what_is_looked_at_decides_who_looks(open_page):
    app = open_page(model="flickr8k-captioner", photo="coffee")
    app.segmented_control(key="subject").set_value("scene").run()
    assert address_of(app)["model"] == NAME and address_of(app)["scene"] == "1"
    app.segmented_control(key="subject").set_value("photo").run()
    assert address_of(app)["model"] == "flickr8k-captioner" and not app.exception
    assert "captioner" not in app.session_state  # that is of another page


def test_another_word_changes_its_maps(open_page, told):
    _, scene, caption = told
    place, _ = first_of(caption, scene, "shape")
    app = open_page(model=NAME)
    _, before = row(app)
    app.button_group(key="word_choice").set_value(place).run()
    assert not app.exception
    _, after = row(app)
    same = [m for m in METHODS if np.allclose(before[m], after[m])]
    assert "random_map" in same and {"attention", "chefer", "input_gradient"}.isdisjoint(same)
    again = open_page(model=NAME, word=str(place + 1), scene="1")
    for method, shown in row(again)[1].items():
        np.testing.assert_allclose(shown, after[method], atol=1e-5)


def test_maps_are_scored_by_the_box_of_what_the_word_names(open_page, told):
    _, scene, caption = told
    place, thing = first_of(caption, scene, "shape")
    app = open_page(model=NAME, word=str(place + 1))
    header, maps = row(app)
    assert header["box"] == pytest.approx([edge / 96 for edge in thing.box])
    left, top, right, bottom = thing.box
    inside = np.zeros((96, 96))
    inside[top:bottom, left:right] = 1
    mask = inside.reshape(12, 8, 12, 8).mean((1, 3)) >= 0.5
    for method, note in notes(app).items():
        values = maps[method]
        if not values.any():
            assert "zero" in note
            continue
        y, x = divmod(int(values.argmax()), 12)
        hit = scenes.inside_box(8 * x + 4, 8 * y + 4, thing.box)
        best = np.zeros(144, bool)
        best[np.argsort(-values.ravel(), kind="stable")[: mask.sum()]] = True
        overlap = (best.reshape(12, 12) & mask).sum() / (best.reshape(12, 12) | mask).sum()
        said, value = note.split(", IoU ")
        assert said == ("hit" if hit else "miss"), method
        if (values > 0).sum() >= mask.sum():  # equal values come in any order
            assert float(value) == pytest.approx(overlap, abs=0.006), method
    assert " ".join(thing.words) in texts(app)


def test_a_word_that_names_nothing_has_no_box(open_page):
    app = open_page(model=NAME, word="1")
    assert row(app)[0]["box"] is None and not notes(app)["input_gradient"]
    assert "names nothing that was drawn" in texts(app)


def test_curves_are_of_the_words_log_probability(open_page, told):
    _, scene, caption = told
    place, _ = first_of(caption, scene, "colour")
    app = open_page(model=NAME, background="zeroed")
    next(button for button in app.button if button.label.startswith("Measure")).click().run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 3
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert "Log-probability" in figure["layout"]["yaxis"]["title"]["text"]
    legend = [line["name"].rsplit("  ", 1) for line in figure["data"]]
    assert {"Cross-attention", "Attention Grad-CAM"} < {name for name, _ in legend}
    assert all(area.startswith("−") for _, area in legend)
    table = app.dataframe[0].value
    assert table["Method"][0] == "Cross-attention" and len(table) == len(METHODS)
    assert {"Deletion ↓", "Positive ↓", "Negative ↑", "Peak", "IoU ↑"} <= set(table.columns)
    assert table["Deletion ↓"].between(0, 1).all()
    starts = {
        round(float(m.deletion[0]), 4) for key, m in curves_of.cache.items() if key[1] == "scene 1"
    }
    assert round(float(caption.logprobs[place]), 4) in starts


def test_the_settings_are_the_captioners(open_page):
    app = open_page(model=NAME, method="rollout")
    keys = {slider.key for slider in app.slider}
    assert {"rollout_stop", "rollout_start"} <= keys
    assert app.slider(key="rollout_stop").max == zoo.load(NAME).net.config.encoder.depth
    assert "rollout_compat" not in {toggle.key for toggle in app.toggle}
    _, before = row(app)
    app.slider(key="rollout_stop").set_value(1).run()
    assert not app.exception
    assert not np.allclose(before["rollout"], row(app)[1]["rollout"])


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_its_formula(open_page, method):
    app = open_page(model=NAME, method=method)
    assert "gathered" in app.latex[0].value and "<" not in app.latex[0].value
    assert "cls" not in app.latex[0].value


def test_from_a_classifier_to_a_captioner_and_back(open_page):
    app = open_page(method="rollout")
    usual = zoo.names()[0]
    depth = app.slider(key="rollout_stop").value
    _, before = row(app)
    app.selectbox(key="model_choice").select(NAME).run()
    assert not app.exception and "word" in address_of(app)
    assert app.slider(key="rollout_stop").value == zoo.load(NAME).net.config.encoder.depth
    app.selectbox(key="model_choice").select(usual).run()
    assert not app.exception and "word" not in address_of(app)
    assert app.slider(key="rollout_stop").value == depth
    np.testing.assert_allclose(row(app)[1]["rollout"], before["rollout"])
    app.switch_page("explore.py").run()
    assert not app.exception and address_of(app)["model"] == usual


def test_a_photo_for_a_captioner_of_scenes_is_strange(open_page):
    app = open_page(model=NAME, photo=samples.names()[0])
    assert "drawn scenes alone" in texts(app)
    header, _ = row(app)
    assert header["box"] is None and app.toggle(key="box_on").value is False


def test_beside_random_weights(open_page):
    app = open_page(model=NAME, compare="True")
    header, _ = row(app)
    assert header["variants"] == ["trained", "random weights"]


@pytest.fixture
def one_vector(monkeypatch):
    """A captioner whose memory is one vector."""
    net = captioner(seed=4, memory="one")
    bundle = CaptionBundle(
        "tiny",
        net,
        net.tokens,
        (0.5,) * 3,
        (0.25,) * 3,
        Resize((32, 32)),
        card=Card(task="caption"),
    )
    names, load = zoo.names, zoo.load
    monkeypatch.setattr(
        zoo, "names", lambda task="classify": ["tiny"] if task == "caption" else names()
    )

    def fake(name, **how):
        return replace(bundle, name=name) if str(name).startswith("tiny") else load(name, **how)

    monkeypatch.setattr(zoo, "load", fake)
    yield bundle
    for name in ("tiny", "tiny" + open_models.RANDOM):
        open_models.open_model_named.cache.pop(name, None)


def test_where_a_method_makes_no_sense_the_page_says_why(open_page, one_vector):
    app = open_page(model="tiny", photo=samples.names()[0], method="chefer")
    header, maps = row(app)
    assert set(maps) == {"legrad", "input_gradient", "integrated_gradients", "random_map"}
    missing = {cell["id"]: cell["missing"] for cell in header["cells"] if cell["missing"]}
    assert set(missing.values()) == {ONE_VECTOR} and len(missing) == 6
    assert any(info.value == ONE_VECTOR for info in app.info)
    assert header["grid"] == [4, 4]


# -- the box of a photo ---------------------------------------------------------------------------


def test_a_box_for_a_photo_scores_a_classifiers_maps(open_page):
    app = open_page()
    said = " ".join(notes(app).values())
    assert "hit" not in said and "miss" not in said
    app.toggle(key="box_on").set_value(True).run()
    app.slider(key="box_across").set_range(0, 50).run()
    app.slider(key="box_down").set_range(0, 100).run()
    assert not app.exception
    header, maps = row(app)
    assert header["box"] == [0, 0, 0.5, 1]
    bundle = zoo.load(zoo.names()[0])
    images = bundle.prepare(samples.load(samples.names()[0]))
    with torch.no_grad():
        target = int(bundle.net(images)[0].argmax())
    trace = trace_class(bundle.net, images, bundle.tokens, target)
    columns = bundle.tokens.grid[1]
    for method in maps:
        peak = int(explain(trace, method)[0].argmax()) % columns
        said = notes(app)[method].split(",")[0]
        assert said == ("hit" if peak + 0.5 < columns / 2 else "miss") or "zero" in said
    assert "50 % of all cases" in texts(app)
    assert address_of(app)["box"] == "0-0-50-100"
    again = open_page(box="0-0-50-100")
    assert notes(again) == notes(app)


def test_a_box_belongs_to_its_photo(open_page):
    app = open_page(box="10-20-40-80")
    assert row(app)[0]["box"] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    app.button_group(key="sample").set_value(samples.names()[1]).run()
    assert not app.exception
    assert row(app)[0]["box"] is None and "box" not in address_of(app)


@pytest.mark.parametrize("text", ["10-20-5-80", "a-b-c-d", "1-2-3", "0-0-101-50", "٣-1-2-3"])
def test_a_strange_box_in_the_link_is_none(open_page, text):
    app = open_page(box=text)
    assert row(app)[0]["box"] is None


@pytest.mark.parametrize("text", ["0", "999", "-1", "x", "²"])
def test_a_strange_word_in_the_link_is_the_usual_one(open_page, told, text):
    _, scene, caption = told
    app = open_page(model=NAME, word=text)
    assert address_of(app)["word"] == str(first_of(caption, scene, "colour")[0] + 1)


def test_a_captioner_that_says_nothing_leaves_nothing_to_explain(open_page, one_vector):
    with torch.no_grad():
        one_vector.net.head.bias[2] = 100.0  # <end>
    app = open_page(model="tiny", photo=samples.names()[0])
    assert any("no word to explain" in info.value for info in app.info)
