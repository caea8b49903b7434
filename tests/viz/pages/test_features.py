"""The Features page, run by Streamlit's own test runner."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.features import lens, patch_features, token_norms
from model.nets.vit import build
from model.zoo import checkpoints
from tests.viz.pages.shown import address_of, components, notes, photo_of
from viz.components.payload import unpack

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


@pytest.fixture
def app():
    app = AppTest.from_file(APP, default_timeout=60)
    return app.switch_page("features.py")


def sent(app: AppTest):
    """What the component was sent: header and arrays."""
    assert not app.exception
    return unpack(components(app)[0].proto.bytes)


def said(app: AppTest) -> str:
    return " ".join([*(part.value for part in [*app.caption, *app.markdown]), *notes(app)])


def test_vectors_are_sent_once_and_are_the_model_s(app):
    app.query_params["model"] = "cs231n-cifar10"
    app.query_params["photo"] = "chelsea"
    header, arrays = sent(app.run())
    assert header["mode"] == "similarity" and header["grid"] == [4, 4] and not header["prefix"]
    bundle = zoo.load("cs231n-cifar10")
    photo = samples.load("chelsea")
    wanted = patch_features(bundle.net, bundle.prepare(photo))[0].half().numpy()
    np.testing.assert_array_equal(arrays["vectors0"], wanted)
    assert photo_of(app, "features", "photo0").startswith(b"\xff\xd8")
    header, arrays = sent(app.run())
    assert not arrays
    app.pills(key="part").set_value("keys").run()
    header, arrays = sent(app)
    assert arrays["vectors0"].shape == (16, 128)
    app.selectbox(key="features_head").set_value(2).run()
    _, arrays = sent(app)
    keys = patch_features(bundle.net, bundle.prepare(photo), part="keys")[0, :, 32:64]
    np.testing.assert_array_equal(arrays["vectors0"], keys.half().numpy())


def test_a_second_photo_stands_beside_the_first_and_a_link_says_so(app):
    app.query_params["model"] = "cs231n-cifar10"
    app.query_params["photo"] = "chelsea"
    app.query_params["beside"] = "chelsea"
    header, arrays = sent(app.run())
    assert len(header["titles"]) == 2 and "vectors1" in arrays
    assert photo_of(app, "features", "photo1").startswith(b"\xff\xd8")
    app.pills(key="features_shown").set_value("Components").run()
    app.toggle(key="together").set_value(True).run()
    header, arrays = sent(app)
    assert header["mode"] == "colors" and arrays["paint1"].shape == (16, 4)
    assert "in both photos" in said(app)
    assert address_of(app)["show"] == "Components" and address_of(app)["beside"] == "chelsea"


@pytest.mark.parametrize("shown", ["Length", "Groups", "Object"])
def test_each_way_to_show_paints_every_patch(app, shown):
    app.query_params["show"] = shown
    header, arrays = sent(app.run())
    assert arrays["paint0"].shape == (256, 4) and arrays["values0"].shape == (256,)
    if shown == "Length":
        bundle = zoo.load("photos")
        photo = bundle.prepare(samples.load("chelsea"))
        norms = token_norms(patch_features(bundle.net, photo))[0]
        torch.testing.assert_close(torch.from_numpy(arrays["values0"].copy()), norms)
        assert header["span"] == [pytest.approx(norms.min()), pytest.approx(norms.max())]
    if shown == "Object":
        assert set(np.unique(arrays["values0"])) <= {0, 1} and "No labels are used" in said(app)


def test_the_lens_shows_the_model_s_own_classes(app):
    app.query_params["tab"] = "Lens"
    app.query_params["model"] = "cs231n-cifar10"
    app.query_params["photo"] = "chelsea"
    header, arrays = sent(app.run())
    bundle = zoo.load("cs231n-cifar10")
    images = bundle.prepare(samples.load("chelsea"))
    shares = lens(bundle.net, images)[:, 0].softmax(-1)
    names = header["classes"] + header["others"]
    best = [[names[index] for index in layer] for layer in arrays["best"]]
    assert best == [[bundle.classes[i] for i in layer] for layer in shares.argmax(-1).tolist()]
    answer = bundle.net(images)[0].softmax(-1)
    for label, curve in zip(header["classes"], arrays["curves"], strict=True):
        assert curve[0, -1] == pytest.approx(answer[bundle.classes.index(label)].item(), abs=1e-5)
    assert "trained for the last layer only" in said(app)


def test_a_model_without_classes_has_no_lens(app, tmp_path, monkeypatch):
    name = f"made-up-{uuid4().hex}"  # models are kept for the whole server, by name
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    torch.manual_seed(0)
    net = build("vit", img_size=32, patch_size=8, dim=16, depth=2, heads=2, num_classes=3)
    card = {"task": "classify", "config": vars(net.config)}
    card |= {"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    checkpoints.save_checkpoint(net, tmp_path / f"{name}.safetensors", card)
    app.query_params["model"] = name
    app.query_params["tab"] = "Lens"
    assert "no classes" in app.run().info[0].value and not app.exception
