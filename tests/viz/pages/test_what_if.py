"""The What if page, run by Streamlit's own test runner, against the model run by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.intervention import intervene, scan_heads
from model.recorded_image import Layer
from model.tokens import TokenLayout
from viz.components.payload import unpack
from viz.pages.what_if_experiment import (
    Experiment,
    History,
    read_patches,
    read_places,
    write_patches,
    write_places,
)

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
    header, arrays = payload(app, "stage")
    plain = probabilities()
    for name, before, after in header["classes"]:
        assert before == after == pytest.approx(plain[name], abs=1e-6)
    assert not header["changed"] and "photo" in arrays
    assert max(plain, key=plain.get) in header["words"]
    assert payload(app, "spread") is None


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


# -- the experiment and its address ------------------------------------------------------------

LAYERS = [Layer(4, TokenLayout((4, 4))) for _ in range(3)]


def test_heads_and_patches_come_back_from_an_address():
    places, numbers = [(0, 1), (2, 3)], (0, 3, 5)
    assert read_places(write_places(places, numbers), numbers, LAYERS) == places
    patches = [0, 1, 2, 7, 9, 10, 15]
    assert write_patches(patches) == "0-2,7,9-10,15"
    assert read_patches(write_patches(patches), 16) == patches


@pytest.mark.parametrize("text", ["", "1", "0.1", "1.0", "1.5", "2.1", "1.1;2.2", "1.1," * 4000])
def test_heads_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        read_places(text, (0, 3, 5), LAYERS)


def test_steps_are_undone_and_made_again():
    one, two = Experiment(hidden=(1,)), Experiment(hidden=(1, 2))
    history = History().add(one).add(two).add(two)
    assert len(history.steps) == 3
    assert history.move(-1).now == one
    assert history.move(-9).now == Experiment()
    assert history.move(-1).move(1).now == two
    assert not history.move(-1).add(Experiment(off=((0, 0),))).can_redo


def test_what_a_browser_reports_of_another_model_is_left_out():
    changed = Experiment().with_off([[0, 1], [7, 0], [0, 9], [-1, 0]], LAYERS)
    assert changed.off == ((0, 1),)
    assert Experiment().with_hidden([3, 99, -1], 16).hidden == (3,)
