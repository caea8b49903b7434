"""The Compare page, run by Streamlit's own test runner."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.analysis.position_codes import find_position_code
from model.datasets import samples
from model.errors import NothingToShow
from model.features import closest_heads
from model.nets.vit import build
from model.recorded_image import record_image
from model.rollout import rollout
from tests.viz.pages.shown import address_of, payloads
from viz.components.payload import unpack
from viz.pages.shared import model_variants
from viz.server.passes import find_pass

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
SMALL = {"model": "cifar10-plain", "photo": "coffee", "b_method": "attention"}


def opened(link: dict[str, str], page: str = "compare") -> AppTest:
    app = AppTest.from_file(APP, default_timeout=120).switch_page(f"{page}.py")
    app.query_params.update(link)
    app.run()
    assert not app.exception
    return app


def panes(app: AppTest) -> list[dict]:
    assert not app.exception
    return payloads(app)["compare"][0]["panes"]


def answered(app: AppTest, index: int, question: str) -> dict:
    """What the browser gets when a pane asks a question."""
    pane = panes(app)[index]
    source = find_pass(pane["key"]).source(pane["source"])
    return unpack(source.answer(question).body)[1]


def recorded(bundle):
    return record_image(bundle, samples.load("coffee"))


def test_b_begins_as_rollout_of_the_same_model_and_a_link_says_the_rest():
    app = opened({"model": "cifar10-plain"})
    a, b = panes(app)
    assert (a["method"], b["method"]) == ("attention", "rollout")
    assert a["source"] == b["source"] and payloads(app)["compare"][0]["samePhoto"]
    app.selectbox(key="b_photo").set_value("coffee").run()
    app.selectbox(key="b_model").set_value("photos").run()
    app.selectbox(key="b_method").set_value("attention").run()
    app.selectbox(key="b_head").set_value("2").run()
    a, b = panes(app)
    assert (a["grid"], b["grid"], b["head"]) == ([8, 8], [16, 16], 1)
    assert not payloads(app)["compare"][0]["samePhoto"]
    link = address_of(app)
    assert link.items() >= {"b_photo": "coffee", "b_model": "photos", "b_head": "2"}.items()
    assert panes(opened(link))[1]["source"] == b["source"]


def test_layer_and_head_of_a_are_those_of_every_page():
    app = opened(SMALL)
    app.selectbox(key="a_layer").set_value(1).run()
    app.selectbox(key="a_head").set_value("2").run()
    assert address_of(app).items() >= {"layer": "2", "head": "2"}.items()
    assert panes(app)[0]["layer"] == 1 and panes(app)[0]["head"] == 1


def test_the_answers_are_the_recorder_s():
    app = opened(SMALL | {"b_token": "mean"})
    shown = recorded(zoo.load("cifar10-plain"))
    rows = answered(app, 1, f"mean/{panes(app)[1]['layer']}")["rows"]
    wanted = shown.records[-1].weights()[0, :, 1:].mean(1)
    np.testing.assert_allclose(rows, wanted.numpy(), atol=1e-6)
    every = answered(app, 0, "rollouts/mean/0.00")["rows"]
    wanted = rollout(shown.records, query=list(range(65)))[0]
    np.testing.assert_allclose(every, wanted.numpy(), atol=1e-3)


def test_without_its_position_code_a_model_is_the_one_whose_code_is_zero():
    app = opened(SMALL | {"b_code": "no"})
    bundle = zoo.load("cifar10-plain")
    name = find_position_code(bundle.net, bundle.tokens).name
    with torch.no_grad():
        bundle.net.get_parameter(name).zero_()
    wanted = recorded(bundle).records[0]
    sent = answered(app, 1, "layer/0")
    np.testing.assert_array_equal(sent["query"], wanted.query[0].half().numpy())
    assert (answered(app, 0, "layer/0")["query"] != sent["query"]).any()


def test_b_may_be_an_earlier_moment_or_the_encoder_of_a_captioner():
    app = opened(SMALL | {"b_epoch": "0.25"})
    assert panes(app)[1]["title"].endswith("after 0.25 epoch")
    assert app.select_slider(key="b_epoch").value == 0.25
    app = opened(SMALL | {"b_model": "scenes-captioner"})
    captioner = zoo.load("scenes-captioner")
    encoder = model_variants.encoder_of(captioner)
    wanted = recorded(encoder).records[-1].query[0].half().numpy()
    np.testing.assert_array_equal(
        answered(app, 1, f"layer/{panes(app)[1]['layer']}")["query"], wanted
    )


def test_a_method_of_attribution_sends_its_map():
    app = opened(SMALL | {"b_method": "chefer"})
    header, arrays = payloads(app)["compare"]
    assert header["panes"][1]["method"] == "map" and arrays["map1"].shape == (64,)
    assert "Generic relevance for" in header["panes"][1]["about"]


def test_what_cannot_be_shown_is_a_sentence_in_its_place():
    a, b = panes(opened(SMALL | {"b_model": "scenes-captioner", "b_method": "chefer"}))
    assert "no classes" in b["missing"] and not a["missing"]


def test_what_a_link_names_and_is_not_here_is_a_sentence():
    app = opened(SMALL | {"b_model": "../../etc/passwd", "b_photo": "own", "b_head": "99"})
    texts = [caption.value for caption in app.caption]
    assert any("model of B is not open here" in text for text in texts)
    assert any("photo of B is not here" in text for text in texts)
    a, b = panes(app)
    assert a == b


def test_a_model_without_position_code_has_none_to_leave_out():
    net = build("vit", img_size=32, dim=8, depth=1, heads=1, num_classes=2, positions="none")
    bundle = replace(zoo.load("cifar10-plain"), net=net, tokens=net.tokens)
    with pytest.raises(NothingToShow, match="no position code"):
        model_variants.without_code(bundle)


def test_each_pair_is_one_click_and_its_address_opens_it_again():
    app = opened({"photo": "coffee"})
    buttons = [button.label for button in app.button if button.key.startswith("pair_")]
    assert len(buttons) == 6
    for number in range(6):
        app.button(key=f"pair_{number}").click().run()
        shown, link = panes(app), address_of(app)
        assert link["photo"] == "coffee" and shown[0] != shown[1]
        assert not any(pane["missing"] for pane in shown)
        again = panes(opened(link))
        assert [pane["about"] for pane in again] == [pane["about"] for pane in shown]
        assert [pane["source"] for pane in again] == [pane["source"] for pane in shown]


def test_the_two_heads_that_agree_most_are_named_and_shown():
    app = opened(SMALL | {"b_epoch": "0.25", "closest": "True"})
    bundle = zoo.load("cifar10-plain")
    early = model_variants.open_variant("cifar10-plain, after 0.25 epoch")
    pair = closest_heads(recorded(bundle), recorded(early))
    (layer, head), (layer_of_b, head_of_b) = pair.a, pair.b
    assert f"A: layer {layer + 1}, head {head + 1}. " in app.markdown[-1].value
    app.button(key="show_closest").click().run()
    a, b = panes(app)
    assert (a["layer"], a["head"], b["layer"], b["head"]) == (layer, head, layer_of_b, head_of_b)


@pytest.mark.parametrize("page", ["explore", "attribution", "heads"])
def test_a_view_of_another_page_becomes_b(page):
    link = {"model": "cifar10-plain", "photo": "coffee", "layer": "2", "head": "3"}
    app = opened(link, page)
    app.button(key="as_b").click().run()
    a, b = panes(app)
    assert a["source"] == b["source"] and (b["layer"], b["head"]) == (1, 2)
    assert b["method"] == ("map" if page == "attribution" else "attention")
    app.switch_page("compare.py").run()  # the runner stays on the page that it was told of
    app.pills(key="sample").set_value("chelsea").run()
    changed = panes(app)
    assert changed[0]["source"] != a["source"] and changed[1]["source"] == b["source"]


@pytest.mark.parametrize(
    ("page", "name", "link"),
    [
        ("captions", "captioner", {}),
        ("attribution", "model", {}),
        ("inside_head", "captioner", {"inside": "captioner"}),
    ],
)
def test_a_captioner_s_encoder_becomes_b_where_it_looks_at_a_photo(page, name, link):
    app = opened(link | {name: "flickr8k-captioner", "photo": "coffee"}, page)
    app.button(key="as_b").click().run()
    assert panes(app)[1]["title"].endswith("encoder")
    assert payloads(app)["compare"][0]["samePhoto"]
    scene = opened(link | {name: "scenes-captioner", "scene": "2"}, page)
    assert not [button for button in scene.button if button.key == "as_b"]
