"""What Explore gives to keep: file names, captions and numbers."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from model.datasets import samples
from model.nets import torchvision_cpu
from viz.pages import explore_export
from viz.pages.shared import open_models
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import recorded_image
from viz.pages.shared.session import Session
from viz.pages.shared.view import View, fit_view

TITLE = "A model"


def session_of(model: str, sample: str = "coffee", **view: object) -> Session:
    image, bundle = samples.load(sample), open_models.open_model_named(model)
    recorded = recorded_image(bundle, f"export {sample}", image, None)
    asked = View(**{"layer": 99, "query": -1} | view)  # the last layer, and the default token
    fitted = fit_view(asked, recorded.layers)
    return Session(Picture(sample, image, sample), bundle, recorded, fitted)


def drawn_by(monkeypatch, name: str, session: Session) -> dict[str, object]:
    """What `figure` or `sheet` is asked to draw, and the picture."""
    asked, draw = {}, getattr(explore_export, name)

    def listen(photo, weights, *more, **named):
        asked.update(named, weights=weights)
        return draw(photo, weights, *more, **named)

    make = {"figure": explore_export.map_picture, "sheet": explore_export.sheet_picture}[name]
    with monkeypatch.context() as patch:
        patch.setattr(explore_export, name, listen)
        asked["picture"] = make(session.recorded, session.view, TITLE)
    return asked


def test_where_cls_takes_most_a_map_says_so(monkeypatch):
    session = session_of("cifar10", "chelsea", layer=3, head=7, query=0)
    row = session.recorded.records[3].weights(queries=[0])[0, 7, 0]
    assert row.argmax() == 0
    _, reading, _ = drawn_by(monkeypatch, "figure", session)["caption"]
    assert reading.startswith("From CLS · of the patches, most goes to row ")


def test_a_map_says_what_it_is_and_frames_the_patch_that_asks(monkeypatch):
    session = session_of("photos", layer=4, head=2, query=1 + 6 * 16 + 4)
    asked = drawn_by(monkeypatch, "figure", session)
    maps = session.recorded.layer_maps(4, session.view.query)[2]
    row, column = np.unravel_index(maps.argmax(), maps.shape)
    title, reading, shares = asked["caption"]
    assert title == "A model · layer 5, head 3"
    share = f"{100 * maps.max():.{2 if maps.max() < 0.01 else 1}f} %"
    assert reading.startswith("From row 7, column 5 · ")
    assert f"most goes to row {row + 1}, column {column + 1}: {share}, " in reading
    assert reading.endswith(f", {maps.max() * 257:.1f} times the average")
    cls, patches = (float(part) for part in re.findall(r"([\d.]+) %", shares))
    assert shares.startswith("CLS gets ") and cls + patches == pytest.approx(100, abs=0.2)
    np.testing.assert_allclose(asked["weights"], maps)
    np.testing.assert_allclose(asked["asking"], (4 / 16, 6 / 16, 5 / 16, 7 / 16))
    assert asked["lines"] and asked["top"] is None
    assert asked["picture"].width == 1200


def test_from_cls_nothing_is_framed(monkeypatch):
    session = session_of("d2l-fashion-mnist", head="mean", query=0, lines=False)
    for name in ("figure", "sheet"):
        asked = drawn_by(monkeypatch, name, session)
        assert asked["asking"] is None and "rom CLS" in " ".join(asked["caption"])
    assert not drawn_by(monkeypatch, "figure", session)["lines"]


def test_a_fused_row_that_does_not_sum_to_one_is_not_summed(monkeypatch):
    session = session_of("d2l-fashion-mnist", head="max", query=3)
    title, _, shares = drawn_by(monkeypatch, "figure", session)["caption"]
    assert title.endswith("max of the heads")
    assert shares.startswith("CLS gets") and "together" not in shares


def test_without_prefix_tokens_there_is_no_share_of_theirs(monkeypatch):
    session = session_of("cs231n-cifar10", layer=0, head=1, query=0, scaling="layer")
    asked = drawn_by(monkeypatch, "figure", session)
    assert len(asked["caption"]) == 2
    assert asked["top"] == pytest.approx(session.recorded.layer_maps(0, 0).max())


def test_an_even_map_is_called_even(monkeypatch):
    session = session_of("cs231n-cifar10", layer=0, head=1, query=0)
    even = torch.full((1, 4, 1, 16), 1 / 16)
    record = type(session.recorded.records[0])
    monkeypatch.setattr(record, "weights", lambda self, heads=None, queries=None: even)
    reading = drawn_by(monkeypatch, "figure", session)["caption"][1]
    assert (
        "spread almost evenly · most goes to row 1, column 1: 6.2 %, 1.0 times the average"
        in reading
    )


def test_the_sheet_names_its_layers_and_frames_the_patch(monkeypatch):
    session = session_of("d2l-fashion-mnist", query=1 + 8)
    asked = drawn_by(monkeypatch, "sheet", session)
    assert asked["numbers"] == [1, 2]
    np.testing.assert_allclose(asked["asking"], (2 / 6, 1 / 6, 3 / 6, 2 / 6))
    assert asked["caption"] == ["A model · from row 2, column 3 · each map up to its own maximum"]
    assert 1100 <= asked["picture"].width <= 1300


@pytest.mark.parametrize(
    ("view", "kind", "expected"),
    [
        ({"layer": 6, "head": 2, "query": 101}, "map", "layer7-head3-r7c5"),
        ({"layer": 0, "head": "mean", "query": 0}, "map", "layer1-mean-cls"),
        ({"query": 101}, "heads", "heads-r7c5"),
    ],
)
def test_names_of_files_tell_what_is_in_them(view, kind, expected):
    session = session_of("photos", "chelsea", **view)
    assert explore_export.file_name(session, kind, "png") == f"saccade-cat-photos-{expected}.png"


@pytest.mark.parametrize(
    "name",
    ["hf/Facebook/DINO_vits8:main", "your ../../Übung \n1.pt 0123456789abcdef0123", "x" * 300],
)
def test_names_of_files_are_safe_whatever_the_model_is_called(name):
    session = session_of("photos")
    session = replace(
        session,
        picture=replace(session.picture, sample=None),
        bundle=replace(session.bundle, name=name),
    )
    for kind, suffix in (("map", "png"), ("attention", "npz")):
        file = explore_export.file_name(session, kind, suffix)
        assert re.fullmatch(r"saccade-photo-[a-z0-9]+(-[a-z0-9]+)*\.(png|npz)", file)
        assert len(file) < 120


def test_the_numbers_are_those_of_the_recording():
    session = session_of("d2l-fashion-mnist", query=5)
    arrays = np.load(io.BytesIO(explore_export.numbers(session.recorded, session.view)))
    np.testing.assert_array_equal(arrays["maps"], session.recorded.maps(1, 5))
    np.testing.assert_array_equal(arrays["weights"], session.recorded.rows(5))
    assert arrays["layers"].tolist() == [1, 2] and arrays["prefix"].tolist() == ["cls"]
    assert arrays["rollout"].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.hubs
@pytest.mark.filterwarnings("ignore")
def test_a_model_of_windows_has_its_pictures_too(monkeypatch):
    torchvision_cpu.ensure_operators()
    name = "torchvision/swin_t" + open_models.RANDOM
    try:
        session = session_of(name, layer=3, head=1, query=28 * 3 + 5)
    finally:
        open_models.open_model_named.cache.pop(name, None)
    for name in ("figure", "sheet"):
        asked = drawn_by(monkeypatch, name, session)
        np.testing.assert_allclose(asked["asking"], (5 / 28, 3 / 28, 6 / 28, 4 / 28))
        assert isinstance(asked["picture"], Image.Image)


def test_the_button_offers_pictures_numbers_and_one_page():
    def script():
        from viz.pages.explore_export import show_export
        from viz.pages.shared.session import begin_page

        show_export(begin_page("A question?", "A lead."))

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception and not app.get("download_button"), "none before somebody asks"
    app.session_state["export"] = True
    app.run()
    assert not app.exception
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels[:3] == [
        "This map over the photo (PNG)",
        "Every head of every layer (PNG)",
        "The numbers (NPZ)",
    ]
    assert labels[3].startswith("Save as one HTML file")
