"""The Heads page, run by Streamlit's own test runner."""

import io
import json
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from streamlit.runtime.uploaded_file_manager import UploadedFile
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.nets.vit import build
from model.recorded_image import find_centre
from model.zoo import checkpoints
from viz.pages.shared import open_models, picture

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
PAGE = "heads.py"


@pytest.fixture
def app():
    app = AppTest.from_file(APP, default_timeout=60)
    return app.switch_page(PAGE)


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Ships a model with random weights in place of the others; what opens the page on it."""
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)

    def ship(random: bool = False, **config) -> AppTest:
        name = f"made-up-{uuid4().hex}"  # models are kept for the whole server, by name
        torch.manual_seed(0)
        size = {"img_size": 32, "patch_size": 8, "dim": 16, "heads": 2, "num_classes": 3}
        net = build("vit", **(size | {"depth": 2} | config)).eval()
        card = {
            "name": name,
            "title": "Made up",
            "task": "classify",
            "config": vars(net.config),
            "classes": list("abc"),
            "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        }
        checkpoints.save_checkpoint(net, tmp_path / f"{name}.safetensors", card)
        app = AppTest.from_file(APP, default_timeout=60)
        app.query_params["model"] = name + (open_models.RANDOM if random else "")
        return app

    return ship


def said(app: AppTest) -> str:
    return " ".join(text.value for text in (*app.caption, *app.markdown))


def dots(app: AppTest) -> dict:
    """The plotly figure of the page."""
    return json.loads(app.get("plotly_chart")[0].proto.spec)


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


STEM, MIMETIC = "stem of convolutions", "looked near even before training"


@pytest.mark.parametrize(
    ("model", "told"),
    [("cs231n-challenge", STEM), ("cifar10", MIMETIC), ("cs231n-cifar10", None)],
)
def test_how_far_the_heads_looked_from_the_start_is_told(app, model, told):
    app.query_params["model"] = model
    app.run()
    for part in (STEM, MIMETIC):
        assert (part in said(app)) == (part == told)


def test_a_start_that_was_local_says_how_to_compare(ship):
    app = ship(init="mimetic").switch_page(PAGE).run()
    assert not app.exception and MIMETIC in said(app)
    assert "press *Open it untrained* under *Open another*" in said(app)
    assert "Nothing here is learned" not in said(app)


def test_the_untrained_network_itself_says_that_nothing_is_learned(ship):
    app = ship(random=True, init="mimetic").switch_page(PAGE).run()
    assert not app.exception and app.session_state["model"].endswith(open_models.RANDOM)
    assert "Nothing here is learned: this network" in said(app)
    assert MIMETIC not in said(app) and "Open it untrained" not in said(app)


def test_layers_are_called_as_in_the_whole_model_when_few_are_recorded(ship):
    app = ship(depth=4).switch_page("models.py").run()
    app.button_group(key=f"layers of {app.session_state['model']}").set_value([2, 4]).run()
    app.switch_page(PAGE).run()
    assert not app.exception
    figure = dots(app)
    assert figure["layout"]["xaxis"]["ticktext"] == ["2", "4"]
    shown = {
        (place[0], text)
        for trace in figure["data"]
        if "customdata" in trace
        for place, text in zip(trace["customdata"], trace["text"], strict=True)
    }
    assert shown == {(1, "2"), (2, "4")}
    buttons = [button for button in app.button if button.label.startswith("Layer")]
    assert {button.label.split(",")[0] for button in buttons} == {"Layer 2", "Layer 4"}
    next(button for button in buttons if button.label.startswith("Layer 4")).click().run()
    assert not app.exception and app.session_state["view"].layer == 1


def test_a_kind_is_held_against_chance_only_where_it_is_counted_so(ship):
    app = ship(cls_token=False, pool="mean").switch_page(PAGE).run()
    assert not app.exception
    assert "The question marks explain *Uniform* and *Content*" in said(app)
    assert said(app).count("This model has no CLS.") == 1
    names = [text.value for text in app.markdown if text.value.startswith("**")]
    assert "**CLS**" not in names
    assert not [button for button in app.button if (button.key or "").startswith("cls_")]


def test_a_class_token_that_nobody_looks_at_is_told_as_such(ship):
    app = ship().switch_page(PAGE).run()  # random heads attend to nothing in particular
    assert "no CLS" not in said(app)
    missing = said(app).partition("No head here does any of these noticeably: ")[2]
    assert "*CLS*" in missing and "*Content*" in missing
    names = [text.value for text in app.markdown if text.value.startswith("**")]
    assert "**CLS**" not in names, "a kind that was not found has no card"


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
    app.selectbox(key="measure").set_value("entropy").run()
    assert app.warning[0].value.startswith("1 could not be opened."), "it still counts"


def test_photos_of_ones_own_are_read_once_and_bounded(app, monkeypatch):
    readers, getvalue = [], UploadedFile.getvalue

    def counted(upload):
        readers.append(Path(sys._getframe(1).f_code.co_filename).name)
        return getvalue(upload)

    monkeypatch.setattr(UploadedFile, "getvalue", counted)
    app.query_params["over"] = "Many of yours"
    app.run()
    assert "not on its disk, until you remove them here" in said(app)
    field = app.file_uploader(key="many")
    assert field.proto.max_upload_size_mb == picture.MAX_MEGABYTES
    files = [(f"{name}.jpg", photo(name), "image/jpeg") for name in ("chelsea", "rocket")]
    field.set_value(files).run()
    assert readers.count("heads_measured.py") == 2
    app.selectbox(key="measure").set_value("entropy").run()
    assert not app.exception and len(app.get("plotly_chart")) == 1
    assert readers.count("heads_measured.py") == 2, "what was measured is remembered"


def test_a_head_found_by_what_it_does_opens_in_explore(app):
    app.run()
    button = next(b for b in app.button if b.label.startswith("Layer"))
    layer, head = (int(part.split()[-1]) for part in button.label.split(":")[0].split(","))
    button.click().run()
    assert not app.exception
    view = app.session_state["view"]
    assert (view.layer, view.head) == (layer - 1, head - 1)
    assert view.held and view.query == find_centre(zoo.load(zoo.names()[0]).tokens)
    assert app.title[0].value == "Where does this patch look?"
