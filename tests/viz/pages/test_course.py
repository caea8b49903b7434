"""The slider over a training's moments, and the pages that begin with a plain model."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model.datasets import samples
from model.features import patch_features
from model.nets.vit import build
from model.snapshots import SnapshotRecorder, snapshots_file
from model.zoo import catalogue, checkpoints
from tests.viz.pages.shown import address_of, components
from viz.components.payload import unpack
from viz.pages.shared import session

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
CARD = {"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}, "classes": list("abc")}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The name of a shipped model with snapshots after 0, 1/4 and 2 epochs."""
    name = f"made-up-{uuid4().hex}"  # models are kept for the whole server, by name
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "dim": 16, "heads": 2, "num_classes": 3}
    net = build("vit", depth=2, **size).eval()
    file = tmp_path / f"{name}.safetensors"
    recorder = SnapshotRecorder(net, snapshots_file(file), [0, 0.25, 2])
    for epochs in (0.25, 2):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        recorder.see(epochs)
    recorder.finish(CARD)
    checkpoints.save_checkpoint(
        net, file, CARD | {"task": "classify", "config": vars(net.config), "epochs": 2}
    )
    return name


def features_sent(app: AppTest):
    assert not app.exception
    return unpack(components(app)[0].proto.bytes)[1]


def test_the_slider_shows_the_model_as_it_was(trained):
    app = AppTest.from_file(APP, default_timeout=60).switch_page("features.py")
    app.query_params["model"] = trained
    app.run()
    slider = app.select_slider(key="epoch")
    assert slider.options == ["0 epochs", "0.25 epoch", "2 epochs"]
    image = samples.load(samples.names()[0])
    course = session.course._course_of(trained)
    for index, moment in ((0, 0.0), (1, 0.25)):
        app.select_slider(key="epoch").set_value(moment).run()
        bundle = catalogue.load(trained)
        wanted = patch_features(course.net_at(index), bundle.prepare(image), prefix=True)[0]
        np.testing.assert_array_equal(features_sent(app)["vectors0"], wanted.half().numpy())
    assert address_of(app)["epoch"] == "0.25"
    link = AppTest.from_file(APP, default_timeout=60).switch_page("explore.py")
    link.query_params.update({"model": trained, "epoch": "0.25"})
    link.run()
    assert not link.exception and link.select_slider(key="epoch").value == 0.25
    link.select_slider(key="epoch").set_value(-1.0).run()
    assert "epoch" not in address_of(link) and not link.exception


def test_a_model_without_snapshots_has_no_slider():
    app = AppTest.from_file(APP, default_timeout=60).switch_page("explore.py")
    app.query_params["model"] = "cs231n-cifar10"
    app.run()
    assert not app.exception and not app.get("select_slider")


@pytest.mark.parametrize("page", ["cost.py", "patches.py", "positions.py"])
def test_pages_on_patches_and_positions_begin_with_a_plain_net(page, trained, monkeypatch):
    monkeypatch.setattr(session, "PLAIN", ("not-shipped", trained))
    first = checkpoints.DIRECTORY / "aaa.safetensors"
    for end in (".safetensors", ".json"):
        source = (checkpoints.DIRECTORY / trained).with_suffix(end)
        first.with_suffix(end).write_bytes(source.read_bytes())
    app = AppTest.from_file(APP, default_timeout=60).switch_page(page)
    app.run()
    assert not app.exception and app.selectbox(key="model_choice").value == trained
    other = AppTest.from_file(APP, default_timeout=60).switch_page("heads.py")
    other.run()
    assert other.selectbox(key="model_choice").value == "aaa"
