"""The What if page, run by Streamlit's own test runner, against the model run by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.intervention import head_means, intervene, keep_activations, scan_heads
from model.recorded_image import record_image
from viz.components.payload import unpack
from viz.pages.shared.captions_written import scene_of
from viz.pages.what_if_experiment import (
    Experiment,
    History,
    read_patches,
    read_places,
    write_patches,
    write_places,
)
from viz.server.passes import NoSuchQuestion

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
MODEL = "cs231n-cifar10"  # 4 x 4 patches, 6 layers of 4 heads
LINK = {"photo": "coffee", "model": MODEL}


def opened(**link):
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params.update(LINK | link)
    app.switch_page("what_if.py").run()
    assert not app.exception
    return app


def payload(app, name):
    for component in app.get("bidi_component"):
        header, arrays = unpack(component.proto.bytes)
        if {"stage": "hides", "switches": "numbers", "spread": "caption"}[name] in header:
            return header, arrays
    return None


def probabilities(**changes):
    bundle = zoo.load(MODEL)
    images = bundle.prepare(samples.load("coffee"))
    with torch.no_grad(), intervene(bundle.net, **changes):
        return dict(zip(bundle.classes, bundle.net(images)[0].softmax(0).tolist(), strict=True))


def test_the_first_screen_changes_nothing():
    app = opened()
    header, _ = payload(app, "stage")
    plain = probabilities()
    for name, before, after in header["classes"]:
        assert before == after == pytest.approx(plain[name], abs=1e-6)
    assert not header["changed"] and header["photo"]
    assert max(plain, key=plain.get) in header["words"]
    assert payload(app, "spread") is None
    ideas = [button for button in app.button if button.key and button.key.startswith("idea_")]
    assert [idea.label for idea in ideas][2] == "Switch off the first layer's heads"
    ideas[0].click().run()
    header, _ = payload(app, "stage")
    recorded = record_image(zoo.load(MODEL), samples.load("coffee"))
    looked = recorded.layer_maps(5, app.session_state["view"].query).mean(0).ravel()
    assert set(header["hidden"]) == set(np.argsort(-looked)[:2].tolist())
    assert payload(app, "spread") is not None


def test_a_link_switches_off_and_hides():
    app = opened(off="2.3,5.1", hidden="1-2,9", hide="blur")
    header, _ = payload(app, "stage")
    changes = {"heads_off": {1: [2], 4: [0]}, "hide_patches": [1, 2, 9], "hide": "blur"}
    changed, plain = probabilities(**changes), probabilities()
    for name, before, after in header["classes"]:
        assert before == pytest.approx(plain[name], abs=1e-6)
        assert after == pytest.approx(changed[name], abs=1e-6)
    assert "head 3 of layer 2, head 1 of layer 5 and 3 of 16 patches" in header["words"]
    assert dict(app.query_params)["off"] in ("2.3,5.1", ["2.3,5.1"])
    assert dict(app.query_params)["hidden"] in ("1-2,9", ["1-2,9"])
    spread, draws = payload(app, "spread")
    assert len(draws["draws"]) == 20 and spread["before"] != spread["after"]


def test_the_maps_are_of_the_changed_run():
    app = opened(hidden="0-7", hide="remove")
    _, arrays = payload(app, "switches")
    assert (arrays["after"][..., :8] == 0).all()
    assert arrays["after"][..., 8:].any()
    assert arrays["before"][..., :8].any()


def test_what_cannot_be_done_is_a_sentence_and_the_page_stays():
    app = opened(hidden="0-15", hide="remove")  # this model has no class token to be left
    header, _ = payload(app, "stage")
    assert "leave one patch" in header["words"]
    app = opened(hidden="0-15", off=",".join(f"{n}.{h}" for n in range(1, 7) for h in range(1, 5)))
    header, _ = payload(app, "stage")
    assert "any head of any layer and any patch" in header["words"]


@pytest.mark.parametrize("link", [{"off": "9.1"}, {"off": "x"}, {"hidden": "99"}, {"off": "1.7"}])
def test_a_link_of_another_model_is_told(link):
    app = opened(**link)
    assert any("does not have" in caption.value for caption in app.caption)
    header, _ = payload(app, "stage")
    assert not header["changed"]


def test_the_scan_of_heads_is_shown():
    app = opened(scan_heads="yes")
    _, arrays = payload(app, "switches")
    bundle = zoo.load(MODEL)
    scan = scan_heads(bundle.net, bundle.prepare(samples.load("coffee")))
    wanted = scan.effects.effect("log_odds").numpy()
    np.testing.assert_allclose(arrays["effects"].reshape(6, 4), wanted, atol=1e-4)


def test_the_browser_asks_for_the_same_answer_without_a_rerun():
    app = opened(off="2.3,5.1", hidden="1-2,9", hide="blur")
    header, _ = payload(app, "stage")
    source = app.session_state["browser_pass"].source(header["source"])
    answer, _ = unpack(source.answer(header["question"]).body)
    for name in ("words", "classes", "changed"):
        assert answer[name] == header[name]
    refused, _ = unpack(source.answer("0/-/zero/0-15/remove").body)
    assert "leave one patch" in refused["words"] and not refused["changed"]
    for question in (
        "0/9.1/zero/-/mean",
        "0/-/zero/16/mean",
        "0/-/photo/-/mean",
        "x",
        "99/-/-/-/-",
    ):
        with pytest.raises(NoSuchQuestion):
            source.answer(question)


def test_heads_and_tokens_are_taken_from_a_second_photo():
    app = opened(off="2.3,5.1", heads_by="photo", hidden="1-2,9", hide="after3", other="chelsea")
    header, _ = payload(app, "stage")
    bundle = zoo.load(MODEL)
    other = keep_activations(bundle.net, bundle.prepare(samples.load("chelsea")))
    changed = probabilities(source=other, heads_from={1: [2], 4: [0]}, tokens_from={2: [1, 2, 9]})
    for name, _, after in header["classes"]:
        assert after == pytest.approx(changed[name], abs=1e-6)
    assert len(payload(app, "spread")[1]["draws"]) == 20


def test_heads_become_their_mean_over_the_samples():
    app = opened(off="2.3", heads_by="mean")
    bundle = zoo.load(MODEL)
    batches = [bundle.prepare(samples.load(name)) for name in samples.names(bundle.classes)]
    means = head_means(bundle.net, batches, "the samples")
    changed = probabilities(heads_off={1: [2]}, replace_by=means)
    for name, _, after in payload(app, "stage")[0]["classes"]:
        assert after == pytest.approx(changed[name], abs=1e-6)


def test_a_way_that_needs_a_second_photo_falls_back_without_one():
    app = opened(off="2.3", heads_by="photo", hidden="1", hide="after3")
    header, _ = payload(app, "stage")
    assert (header["hide"], header["by"]) == ("mean", "zero")


def test_a_captioner_shows_which_words_change():
    link = {"of": "captioner", "captioner": "scenes-captioner", "scene": "3", "photo": ""}
    app = opened(**link, off="2.1", hidden="40-42", scan_heads="yes")
    header, _ = payload(app, "stage")
    bundle, image = zoo.load("scenes-captioner"), scene_of(3).image
    before = bundle.caption(image)
    with intervene(
        bundle.net, heads_off={"layers.0.cross_attention": [0]}, hide_patches=[40, 41, 42]
    ):
        after = bundle.caption(image)
        forced = bundle.score(image, before.text)
    assert [row[0] for row in header["classes"]] == before.words
    np.testing.assert_allclose(
        [r[1] for r in header["classes"]], np.exp(before.logprobs), rtol=1e-4
    )
    np.testing.assert_allclose(
        [r[2] for r in header["classes"]], np.exp(forced.logprobs), rtol=1e-4
    )
    assert [word for word, _ in header["captions"][1][1]] == after.words
    _, arrays = payload(app, "switches")
    assert np.isfinite(arrays["effects"]).all() and len(payload(app, "spread")[1]["draws"]) == 20


# -- the experiment and its address ------------------------------------------------------------

HEADS = (4, 4, 4)


def test_heads_and_patches_come_back_from_an_address():
    places, numbers = [(0, 1), (2, 3)], (0, 3, 5)
    assert read_places(write_places(places, numbers), numbers, HEADS) == places
    patches = [0, 1, 2, 7, 9, 10, 15]
    assert write_patches(patches) == "0-2,7,9-10,15"
    assert read_patches(write_patches(patches), 16) == patches


@pytest.mark.parametrize("text", ["", "1", "0.1", "1.0", "1.5", "2.1", "1.1;2.2", "1.1," * 4000])
def test_heads_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        read_places(text, (0, 3, 5), HEADS)


def test_steps_are_undone_and_made_again():
    one, two = Experiment(hidden=(1,)), Experiment(hidden=(1, 2))
    history = History().add(one).add(two).add(two)
    assert len(history.steps) == 3
    assert history.move(-1).now == one
    assert history.move(-9).now == Experiment()
    assert history.move(-1).move(1).now == two
    assert not history.move(-1).add(Experiment(off=((0, 0),))).can_redo


def test_what_a_browser_reports_of_another_model_is_left_out():
    changed = Experiment().with_off([[0, 1], [7, 0], [0, 9], [-1, 0]], HEADS)
    assert changed.off == ((0, 1),)
    assert Experiment().with_hidden([3, 99, -1], 16).hidden == (3,)
