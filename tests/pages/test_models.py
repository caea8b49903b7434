"""The Models page, and Explore with models that nobody foresaw."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from model import zoo
from viz.payload import unpack

APP = str(Path(__file__).parents[2] / "app.py")
PAGE = "viz/pages/models.py"


@pytest.fixture
def app():
    return AppTest.from_file(APP, default_timeout=120).run().switch_page(PAGE).run()


def explorer(app):
    """What Explore sends to the browser for the model that is chosen now."""
    app.switch_page("viz/pages/explore.py").run()
    assert not app.exception
    return unpack(app.get("bidi_component")[0].proto.bytes)


def test_the_card_of_every_embedded_model_is_shown(app):
    for name in zoo.names():
        app.selectbox(key="model_choice").select(name).run()
        assert not app.exception
        card = zoo.load(name).card
        assert card["title"] in [heading.value for heading in app.subheader]
        assert f"{card['parameters']:,}" in app.table[0].value.to_string()


def test_the_same_model_untrained_can_be_opened_and_looked_at(app):
    app.button[0].click().run()
    name = app.session_state["model"]
    assert name == f"{zoo.names()[0]} (random weights)"
    header, _ = explorer(app)
    assert header["model"] == name
    assert app.query_params["model"] == name


def test_layers_can_be_chosen_before_recording(app):
    name = app.session_state["model"]
    app.button_group(key=f"layers of {name}").set_value([2, 4]).run()
    header, _ = explorer(app)
    assert header["numbers"] == [2, 4] and len(header["layers"]) == 2
    assert any("Rollout goes through every layer" in info.value for info in app.info)


@pytest.mark.hubs
def test_a_windowed_model_of_a_hub_opens_in_explore(app):
    app.text_input(key="hub_name").set_value("torchvision/swin_t")
    app.checkbox(key="hub_random").check()
    app.button[1].click().run()
    assert not app.error
    header, arrays = explorer(app)
    assert header["kind"] == "windows"
    assert [layer[1:] for layer in header["layers"][:3]] == [[56, 56], [56, 56], [28, 28]]
    assert arrays["maps"].shape[-1] == 49
    assert any("rollout is not defined" in info.value for info in app.info)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("resnet", "hub's name first"), ("torchvision/no_such_net", "no_such_net")],
)
def test_a_name_that_is_none_is_a_sentence(app, name, sentence):
    app.text_input(key="hub_name").set_value(name)
    app.button[1].click().run()
    assert not app.exception
    assert sentence in app.error[0].value
    assert app.session_state["model"] == zoo.names()[0]


def test_a_file_that_is_no_model_is_a_sentence(app):
    app.file_uploader(key="own_file").upload("mine.pt", b"not a model", "application/octet-stream")
    app.button[2].click().run()
    assert not app.exception
    assert app.error[0].value.endswith(".")


def test_a_students_own_model_opens(app):
    from model.vit import build

    torch.manual_seed(0)
    weights = build("cs231n", img_size=32, patch_size=8).state_dict()
    blob = save({name: tensor.contiguous() for name, tensor in weights.items()})
    app.file_uploader(key="own_file").upload("mine.safetensors", blob, "application/octet-stream")
    app.number_input(key="own_heads").set_value(2)
    app.button[2].click().run()
    assert not app.exception and not app.error
    assert app.session_state["model"].startswith("your mine.safetensors")
    header, _ = explorer(app)
    assert header["layers"] == [[2, 4, 4]] * 6
