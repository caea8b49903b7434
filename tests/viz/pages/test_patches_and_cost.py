"""The Patches and Cost pages, run by Streamlit's own test runner."""

import base64
import importlib.util
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.analysis.cost import Timing
from model.datasets import samples
from model.nets import torchvision_cpu
from model.nets.vit import PRESETS
from tests.model.hub_cache import cache, use_cache
from tests.viz.pages.shown import address_of, notes
from viz.pages.cost_measured import timings
from viz.pages.shared import open_models

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


def open_page(page: str, **words: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update(words)
    app.switch_page(f"{page}.py").run()
    assert not app.exception
    return app


def place_of(app: AppTest) -> tuple[int, int]:
    """The row and the column that are chosen, from one."""
    return app.number_input(key="patch_row").value, app.number_input(key="patch_column").value


def ask(app: AppTest, query: int) -> None:
    """As if a token had been chosen on another page."""
    app.session_state["view"] = replace(app.session_state["view"], query=query)
    app.run()


def click(app: AppTest, points: list[dict[str, int]]) -> None:
    """Select points of the grid's chart, for which Streamlit's test runner has no word."""
    states = app._tree.get_widget_states()
    chart = states.widgets.add()
    chart.id = app.get("plotly_chart")[0].proto.id
    chart.string_value = json.dumps({"selection": {"points": points}})
    app._run(states)
    assert not app.exception


@pytest.mark.parametrize("model", zoo.names())
def test_patches_of_every_embedded_model(model):
    app = open_page("patches", model=model)
    assert all(place > 1 for place in place_of(app))
    assert "numbers" in app.code[0].value
    app.segmented_control(key="filters").set_value("Raw filters").run()
    assert not app.exception


@pytest.mark.parametrize("kind", ["Raw filters", "Principal components"])
def test_the_address_says_which_filters_are_shown(kind):
    app = open_page("patches", model="cs231n-cifar10", filters=kind)
    assert app.segmented_control(key="filters").value == kind
    usual = kind == "Principal components"
    assert address_of(app).get("filters") == (None if usual else kind)
    app.segmented_control(key="filters").set_value("Raw filters").run()
    assert address_of(app)["filters"] == "Raw filters"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with a small ViT, random and on disk; nothing of it is open at the end."""
    torchvision_cpu.ensure_operators()
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    use_cache(monkeypatch, tmp_path)
    torch.manual_seed(0)
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = ViTConfig(image_size=32, patch_size=8, num_attention_heads=2, **layers)
    place = tmp_path / "org" / "tiny"
    ViTForImageClassification(config).save_pretrained(place)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(place)
    cache(place)
    yield "hf/org/tiny"
    for name in [name for name in open_models.open_model_named.cache if "org/tiny" in name]:
        open_models.open_model_named.cache.pop(name)


def open_from_hub(name: str, random: bool = False) -> AppTest:
    """The Patches page with a model that was opened by name on the Models page."""
    app = AppTest.from_file(APP, default_timeout=120).switch_page("models.py").run()
    app.text_input(key="hub_name").set_value(name)
    app.checkbox(key="hub_random").set_value(random)
    app.button[1].click().run()
    assert not app.error
    app.switch_page("patches.py").run()
    assert not app.exception and app.session_state["model"].startswith(name)
    return app


@pytest.mark.hubs
@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers")
@pytest.mark.filterwarnings("ignore")
def test_the_vectors_of_a_hugging_face_model(hub):
    app = open_from_hub(hub)
    assert "out, 16 numbers" in app.code[0].value
    assert not any("could not find where" in text.value for text in app.caption)
    bundle = open_models.open_model_named(hub)
    image = bundle.prepare(samples.load(app.session_state["photo"]))
    with torch.inference_mode():
        tokens = bundle.net.model.vit.embeddings.patch_embeddings(image)[0]
    spec = json.loads(app.get("plotly_chart")[1].proto.spec)
    values = spec["data"][0]["z"]
    drawn = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).reshape(16, 16)
    np.testing.assert_allclose(drawn, tokens.T, atol=1e-5)


@pytest.mark.hubs
def test_the_vectors_of_torchvision_s_swin():
    app = open_from_hub("torchvision/swin_t", random=True)
    assert "out, 96 numbers" in app.code[0].value
    assert not any("could not find where" in text.value for text in app.caption)


@pytest.mark.parametrize("patch", ["99", "-1", "²", "9" * 500, "00000199999", "r1c1"])
def test_a_patch_that_is_not_there_becomes_the_middle_one(patch):
    app = open_page("patches", model="cs231n-cifar10", patch=patch)
    assert place_of(app) == (3, 3) and "patch" not in address_of(app)


def test_a_link_to_a_patch_makes_it_the_one_that_asks():
    app = open_page("patches", model="cifar10", patch="20")
    assert place_of(app) == (3, 5)
    assert address_of(app)["from"] == "r3c5" and "patch" not in address_of(app)


def test_it_begins_with_the_patch_that_asks_elsewhere():
    app = open_page("patches", **{"model": "photos", "from": "r7c5"})
    assert place_of(app) == (7, 5)
    assert any("Row 7, column 5 of the grid, number 101" in text.value for text in app.caption)
    ask(app, 0)  # CLS has no patch
    assert place_of(app) == (9, 9) and address_of(app)["from"] == "cls"


def test_the_patch_that_is_chosen_asks_on_the_other_pages():
    app = open_page("patches", model="photos")
    app.number_input(key="patch_row").set_value(2).run()
    app.number_input(key="patch_column").set_value(16).run()
    assert place_of(app) == (2, 16)
    assert app.session_state["view"].query == 1 + 16 + 15 and app.session_state["view"].held
    assert address_of(app)["from"] == "r2c16"
    ask(app, 1)
    assert place_of(app) == (1, 1)


def test_a_click_on_the_grid_chooses_a_patch():
    app = open_page("patches", model="cs231n-cifar10")
    click(app, [{"point_index": 7}])
    assert place_of(app) == (2, 4) and address_of(app)["from"] == "r2c4"
    click(app, [])  # the same point once more takes the selection back
    assert place_of(app) == (2, 4)


def test_the_place_stays_with_another_grid():
    app = open_page("patches", model="cifar10", patch="20")
    app.selectbox(key="model_choice").set_value("photos").run()
    assert place_of(app) == (6, 10)


@pytest.mark.parametrize(
    ("model", "shares"), [("photos", True), ("cs231n-cifar10", False), ("d2l-fashion-mnist", False)]
)
def test_what_is_said_of_a_token_fits_the_model(model, shares):
    app = open_page("patches", model=model)
    said = " ".join(part.value for part in (app.code[0], *app.caption, *app.markdown))
    assert ("in, " in said and "out, " in said) != shares
    assert ("the patch and its surroundings, up to 37 × 37 pixels" in said) == shares
    assert ("weighted sum of the patch's pixels" in said) != shares
    assert ("neighbouring tokens share pixels" in said) == shares
    assert ("This model cannot make it" in said) == shares


def test_cost_counts_and_measures():
    app = open_page("cost", base="CS231n")
    table = app.table[0].value
    row = table[table.iloc[:, 0] == "Image side doubled"].iloc[0]
    _, tokens, linear, quadratic, together = row
    assert tokens == "64"
    assert "(×4.0)" in linear and "(×16)" in quadratic
    assert "(×16)" not in together
    app.button[0].click().run()
    assert not app.exception
    assert len(times_in(app)) == 5
    app.segmented_control(key="cost_base").set_value("D2L").run()
    assert not times_in(app)
    app.segmented_control(key="cost_base").set_value("CS231n").run()
    assert len(times_in(app)) == 5, "it is remembered"


def times_in(app: AppTest) -> list[str]:
    """The lines of the measured table."""
    tables = [part.value for part in app.table if part.value.columns[0] == "Milliseconds"]
    return [" | ".join(row) for row in tables[0].to_numpy()] if tables else []


def test_cost_shows_no_photo_and_keeps_its_model():
    app = open_page("cost", model="d2l-fashion-mnist")
    assert not app.get("file_uploader") and "sample" not in app.session_state
    assert app.selectbox(key="model_choice").value == "d2l-fashion-mnist"
    assert address_of(app) == {"model": "d2l-fashion-mnist"}
    app.selectbox(key="model_choice").set_value("cifar10").run()
    assert address_of(app)["model"] == "cifar10"
    assert any("tokens of width 256" in text for text in notes(app))
    app.switch_page("patches.py").run()
    assert not app.exception and address_of(app)["model"] == "cifar10"


@pytest.fixture(autouse=True)
def _nothing_is_measured_yet():
    timings.clear()


def measured(monkeypatch, timings: dict[str, Timing]) -> AppTest:
    """The page after it was measured, with these times."""
    monkeypatch.setattr("model.analysis.cost.time_parts", lambda variants, report: timings)
    app = open_page("cost", base="ViT-B/32")
    app.button[0].click().run()
    assert not app.exception
    return app


STEADY = Timing(1.0, 3.0, (2.9, 3.1), 5)


def test_variants_that_were_left_out_have_no_times(monkeypatch):
    monkeypatch.setitem(PRESETS, "vit", replace(PRESETS["vit"], depth=48))
    app = measured(monkeypatch, {"as it is": STEADY, "width doubled": replace(STEADY, whole=6.0)})
    whole, width, image, layers = times_in(app)
    assert "(×" not in whole and "(×2.0)" in width and "2.90 to 3.10" in width
    assert "would take too long now" in image and "too large to measure here" in layers
    assert not app.warning


def test_times_that_mean_little_are_called_so(monkeypatch):
    shaken = replace(STEADY, quartiles=(2.0, 8.0))
    app = measured(monkeypatch, {"as it is": STEADY, "layers doubled": shaken})
    (warning,) = app.warning
    assert "200 %" in warning.value and "layers doubled" in warning.value
    assert "2.00 to 8.00" in times_in(app)[-1]


def test_a_machine_that_is_too_busy_is_called_so(monkeypatch):
    app = measured(monkeypatch, {})
    assert "too busy" in app.warning[0].value and not times_in(app)


def test_only_one_measures_at_a_time(monkeypatch):
    running, together = [], []

    def measure(variants, report):
        running.append(1)
        together.append(len(running))
        time.sleep(1)  # long enough for the other to come and wait
        running.pop()
        return {"as it is": STEADY}

    monkeypatch.setattr("model.analysis.cost.time_parts", measure)
    apps = [open_page("cost", base=base) for base in ("CS231n", "D2L")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda app: app.button[0].click().run(), apps))
    assert together == [1, 1] and all(times_in(app) for app in apps)


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
    rows = app.table[-1].value.to_numpy().tolist()
    _, operations, grows = next(row for row in rows if row[0] == "Classification head")
    assert formula in operations and grows == "not at all"


def test_an_unknown_base_is_this_model():
    app = open_page("cost", base="ViT-Z")
    assert app.segmented_control(key="cost_base").value == "This model"
