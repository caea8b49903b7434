"""The Patches and Cost pages, run by Streamlit's own test runner."""

import base64
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import samples, torchvision_cpu, zoo
from model.costs import Timing
from model.vit import PRESETS
from viz.pages import shelf

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


@pytest.mark.parametrize("kind", ["Raw filters", "Principal components"])
def test_the_address_says_which_filters_are_shown(kind):
    app = open_page("patches", model="cs231n-cifar10", filters=kind)
    assert app.segmented_control(key="filters").value == kind
    usual = kind == "Principal components"
    assert app.query_params.get("filters") == (None if usual else kind)
    app.segmented_control(key="filters").set_value("Raw filters").run()
    assert app.query_params["filters"] == "Raw filters"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with a small ViT, random and on disk; nothing of it is open at the end."""
    torchvision_cpu.ensure()
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = ViTConfig(image_size=32, patch_size=8, num_attention_heads=2, **layers)
    ViTForImageClassification(config).save_pretrained("org/tiny")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained("org/tiny")
    yield "hf/org/tiny"
    for name in [name for name in shelf.load.cache if "org/tiny" in name]:
        shelf.load.cache.pop(name)


def open_from_hub(name: str, random: bool = False) -> AppTest:
    """The Patches page with a model that was opened by name on the Models page."""
    app = AppTest.from_file(APP, default_timeout=120).switch_page("viz/pages/models.py").run()
    app.text_input(key="hub_name").set_value(name)
    app.checkbox(key="hub_random").set_value(random)
    app.button[1].click().run()
    assert not app.error
    app.switch_page("viz/pages/patches.py").run()
    assert not app.exception and app.session_state["model"].startswith(name)
    return app


@pytest.mark.hubs
@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers")
@pytest.mark.filterwarnings("ignore")
def test_the_vectors_of_a_hugging_face_model(hub):
    app = open_from_hub(hub)
    assert "out, 16 numbers" in app.code[0].value
    assert not any("not known to this page" in text.value for text in app.caption)
    bundle = shelf.load(hub)
    image = bundle.prepare(samples.load(app.session_state["photo"]))
    with torch.inference_mode():
        tokens = bundle.net.model.vit.embeddings.patch_embeddings(image)[0]
    spec = json.loads(app.get("plotly_chart")[0].proto.spec)
    values = spec["data"][0]["z"]
    drawn = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).reshape(16, 16)
    np.testing.assert_allclose(drawn, tokens.T, atol=1e-5)


@pytest.mark.hubs
def test_the_vectors_of_torchvision_s_swin():
    app = open_from_hub("torchvision/swin_t", random=True)
    assert "out, 96 numbers" in app.code[0].value
    assert not any("not known to this page" in text.value for text in app.caption)


def test_a_patch_that_is_not_there_becomes_the_middle_one():
    app = open_page("patches", model="cs231n-cifar10", patch="99")
    assert app.slider(key="patch").value == 10


def test_the_patch_stays_with_another_grid():
    app = open_page("patches", model="cifar10", patch="20")
    app.selectbox(key="model_choice").set_value("photos").run()
    assert app.slider(key="patch").value == 20 and app.query_params["patch"] == "20"


def test_cost_counts_and_measures():
    app = open_page("cost", base="CS231n")
    table = app.markdown[1].value
    row = next(line for line in table.splitlines() if line.startswith("| Image side doubled"))
    _, _, tokens, linear, quadratic, together, _ = row.split("|")
    assert tokens.strip() == "64"
    assert "(×4.0)" in linear and "(×16)" in quadratic
    assert "(×16)" not in together
    app.button[0].click().run()
    assert not app.exception
    assert any("Milliseconds" in part.value for part in app.markdown)
    app.segmented_control(key="base").set_value("D2L").run()
    app.segmented_control(key="base").set_value("CS231n").run()
    assert any("Milliseconds" in part.value for part in app.markdown), "it is remembered"


def test_what_was_not_measured_yet_is_not_said_to_be_too_large(monkeypatch):
    monkeypatch.setattr("model.costs.measure", lambda config: Timing(1.0, 3.0))
    app = open_page("cost", base="ViT-B/16")
    app.button[0].click().run()
    app.segmented_control(key="base").set_value("ViT-B/32").run()
    table = next(part.value for part in app.markdown if "Milliseconds" in part.value)
    assert "not measured yet" in table and "too large" not in table


@pytest.mark.parametrize(
    ("config", "formula"),
    [
        (PRESETS["cs231n"], "$2 D K$"),
        (replace(PRESETS["cs231n"], num_classes=0), "none here"),
        (replace(PRESETS["cs231n"], projection=24), "$2 D E + 2 E K$ with $E$ = 24"),
        (replace(PRESETS["cs231n"], projection=24, num_classes=0), "$2 D E$ with $E$ = 24"),
    ],
)
def test_the_formulae_have_the_head(config, formula, monkeypatch):
    monkeypatch.setitem(PRESETS, "cs231n", config)
    app = open_page("cost", base="CS231n")
    rows = "\n".join(part.value for part in app.markdown).splitlines()
    row = next(row for row in rows if row.startswith("| Classification head"))
    assert formula in row and row.endswith("| not at all |")


def test_an_unknown_base_is_this_model():
    app = open_page("cost", base="ViT-Z")
    assert app.segmented_control(key="base").value == "This model"
