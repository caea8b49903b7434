"""The Positions page, tab by tab, run by Streamlit's own test runner."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model.nets.vit import build
from model.zoo import checkpoints
from tests.viz.pages.shown import address_of, components, notes
from viz.components.payload import unpack
from viz.pages import positions_order

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
PAGE = "positions.py"


def open_tab(tab: str, **words: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update({"tab": tab, **words})
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Ships a small model with random weights; its name."""
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)

    def save(**changes) -> str:
        name = f"made-up-{uuid4().hex}"  # models are kept for the whole server, by name
        torch.manual_seed(0)
        size = {"img_size": 32, "patch_size": 4, "dim": 16, "depth": 1, "heads": 2}
        net = build("vit", num_classes=2, **size | changes).eval()
        card = {
            "name": name,
            "title": "Made up",
            "task": "classify",
            "config": vars(net.config),
            "classes": ["one", "other"],
            "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        }
        checkpoints.save_checkpoint(net, tmp_path / f"{name}.safetensors", card)
        return name

    return save


def texts(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning]
    return " ".join([*(part.value for part in parts), *notes(app)])


def test_the_waves_follow_the_sliders():
    app = open_tab("Waves")
    app.slider(key="length").set_value(20)
    app.slider(key="width").set_value(8)
    app.run()
    assert not app.exception
    assert "it is 4, one for each pair" in texts(app)
    assert (address_of(app)["length"], address_of(app)["width"]) == ("20", "8")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"width": "7"}, "7 is not, 8 would be"),
        ({"width": "0"}, "0 is not, 2 would be"),
        ({"length": "0"}, "0 is not"),
        ({"length": "1"}, "at least 2 of them, not 1"),
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


def test_order_comes_first_and_older_links_to_the_waves_open_them():
    assert open_tab("").session_state["tab"] == "Does order matter?"
    app = open_tab("", width="8")
    assert app.session_state["tab"] == "Waves" and app.slider(key="width").value == 8


def test_a_width_that_four_does_not_divide_has_no_code_for_grids():
    app = open_tab("Waves", width="6")
    assert "four divides it" in texts(app)


@pytest.mark.parametrize("tab", ["Waves", "This model's code"])
def test_a_grid_too_long_for_waves_is_a_sentence(ship, tab):
    app = open_tab(tab, model=ship(img_size=260))  # 65 x 65 patches
    assert "4225 is not" in texts(app)


def test_the_models_own_code_as_tiles():
    app = open_tab("This model's code")
    header, arrays = unpack(components(app)[0].proto.bytes)
    rows, columns = header["grid"]
    assert arrays["values0"].shape == (rows * columns, rows * columns)
    np.testing.assert_allclose(np.diagonal(arrays["values0"]), 1, atol=1e-3)
    app.segmented_control(key="likeness").set_value("Dot product").run()
    header, arrays = unpack(components(app)[0].proto.bytes)
    assert header["unit"] == "dot product"
    assert np.ptp(np.diagonal(arrays["values0"])) > 0


def test_a_code_that_began_as_waves_is_said_to(ship):
    name = ship(init="mimetic")
    app = open_tab("This model's code", model=name)
    assert "began as waves along rows and columns" in texts(app)
    assert "was trained from there" in texts(app)
    header, _ = unpack(components(app)[0].proto.bytes)
    assert header["titles"][-1] == "Random, as most codes begin"


def test_a_code_that_began_at_random_is_said_to(ship):
    app = open_tab("This model's code", model=ship())
    assert "learned in training" in texts(app) and "began as waves" not in texts(app)
    header, _ = unpack(components(app)[0].proto.bytes)
    assert header["titles"][-1] == "Random, as before training"


def test_an_untrained_code_is_not_said_to_be_trained(ship):
    name = f"{ship(init='mimetic')} (random weights)"
    app = open_tab("This model's code", model=name)
    assert app.session_state["model"] == name
    assert "has not been trained yet" in texts(app)


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("Waves", {"first": "6", "second": "7", "position": "3"}),
        ("Waves", {"width": "8", "length": "20", "first": "1", "second": "2", "position": "4"}),
        ("This model's code", {"likeness": "Dot product"}),
        ("Rotation", {"turned": "64", "turn_base": "1000.0"}),
    ],
)
def test_what_a_link_says_stays_in_the_address(tab, words):
    app = open_tab(tab, **words)
    app.run()
    shown = {key: address_of(app).get(key) for key in words}
    assert shown == words


def test_a_tab_keeps_its_settings_while_others_are_open():
    app = open_tab("Waves")
    app.slider(key="length").set_value(128).run()
    assert app.slider(key="position").value == 31
    app.session_state["tab"] = "Rotation"
    app.run()
    app.select_slider(key="turn_base").set_value(100.0).run()
    app.session_state["tab"] = "Waves"
    app.run()
    assert app.slider(key="length").value == 128 and address_of(app)["length"] == "128"


def test_what_is_usual_is_not_in_the_address():
    app = open_tab("Waves", width="8")
    assert not {"first", "second", "position", "length"} & set(address_of(app))


def test_a_model_without_rotary_code_is_said_to_have_none():
    assert "has no rotary code" in texts(open_tab("Rotation"))


@pytest.mark.parametrize("way", ["Take the code away", "Both", "Shift the code"])
def test_order_matters_with_the_code_and_only_then(way):
    app = open_tab("Does order matter?", model="cs231n-cifar10", way=way)
    with_it, without = (metric.value for metric in app.metric)
    assert without == "below 0.0001" and float(with_it) > 1e-3
    assert "read from the mean of the patches" in texts(app)


def shuffle_again(app: AppTest) -> None:
    next(button for button in app.button if button.label == "Shuffle again").click().run()


def test_shuffling_again_is_another_shuffle():
    app = open_tab("Does order matter?")
    shuffle_again(app)
    assert not app.exception and address_of(app)["seed"] == "2"


def test_what_was_run_before_is_not_run_again(ship, monkeypatch):
    passes = []
    random_order = positions_order.random_order

    def counted(*args):
        passes.append(args)
        return random_order(*args)

    monkeypatch.setattr(positions_order, "random_order", counted)
    app = open_tab("Does order matter?", model=ship())
    first = len(passes)
    assert first == 1 + 2 * positions_order.SHUFFLES
    app.run()
    assert len(passes) == first
    shuffle_again(app)  # one more pass
    assert len(passes) == first + 1 and not app.exception


def test_another_head_is_another_picture_of_the_same_pass(ship, monkeypatch):
    name = ship(depth=2)
    open_tab("Does order matter?", model=name)
    drawn, overlay = [], positions_order.overlay

    def seen(photo, values, *rest):
        drawn.append(values)
        return overlay(photo, values, *rest)

    monkeypatch.setattr(positions_order, "overlay", seen)
    for head in ("1", "2"):
        open_tab("Does order matter?", model=name, head=head)
    one, _, other, _ = drawn
    assert one.shape == other.shape == (8, 8)
    assert not np.array_equal(one, other)
