"""The Explore page, run by Streamlit's own test runner."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from viz.components.payload import unpack
from viz.pages.shared import recorded_images

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
EXPLORER, SHEET, ROLLOUT = range(3)


@pytest.fixture
def app():
    return AppTest.from_file(APP, default_timeout=60)


def payload(app, component):
    return unpack(app.get("bidi_component")[component].proto.bytes)


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_first_screen_is_a_photo_with_its_attention(app):
    app.run()
    assert not app.exception
    header, arrays = payload(app, EXPLORER)
    assert header["view"]["layer"] == len(header["layers"]) - 1
    heads, rows, columns = header["layers"][header["layer"]]
    tokens = len(header["prefix"]) + rows * columns
    assert arrays["query"].shape == (heads, tokens, header["dim"])
    assert len(header["classes"]) == 5
    assert sum(p for _, p in header["classes"]) <= 1.0001
    Image.open(io.BytesIO(arrays["photo"].tobytes())).verify()


def test_the_payload_holds_the_maps(app):
    """What the browser computes from the payload is what the recorder computes."""
    app.run()
    header, arrays = payload(app, EXPLORER)
    query, key = (arrays[name].astype(np.float64) for name in ("query", "key"))
    scores = np.einsum("hqd,hkd->hqk", query, key) * header["scale"]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    token = header["view"]["query"]
    sheet, sheet_arrays = payload(app, SHEET)
    patches = weights[:, token, len(header["prefix"]) :]
    last = slice(-sheet["heads"][-1], None)
    values = sheet_arrays["values"].reshape(-1, patches.shape[-1])[last] / 255
    shown = values * sheet_arrays["maxima"].reshape(-1)[last][:, None]
    np.testing.assert_allclose(shown, patches, atol=0.01 * patches.max() + 1e-4)


def test_a_view_from_the_browser_reaches_sheet_rollout_and_address(app):
    app.run()
    before = payload(app, ROLLOUT)[1]["values"]
    view = payload(app, EXPLORER)[0]["view"] | {"layer": 0, "head": 1, "query": 7, "held": True}
    app.session_state["explorer"] = {"view": view}
    app.run()
    app.session_state["view"] = app.session_state["view"].from_browser(
        view, app.session_state["view"]
    )
    app.run()
    assert not app.exception
    assert payload(app, EXPLORER)[0]["layer"] == 0
    assert payload(app, SHEET)[0]["head"] == 1
    assert not np.allclose(payload(app, ROLLOUT)[1]["values"], before)
    assert app.query_params["layer"] == "1" and app.query_params["held"] == "yes"


def test_a_wrong_link_opens_the_nearest_view_with_a_quiet_note(app):
    for name, value in {"photo": "dog", "layer": "99", "model": "gpt", "head": "2"}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error
    header, _ = payload(app, EXPLORER)
    assert header["view"]["layer"] == len(header["layers"]) - 1 and header["view"]["head"] == 1
    note = " ".join(caption.value for caption in app.caption)
    assert "sample photo" in note and "model" in note and "layer" in note


@pytest.mark.parametrize("name", samples.names())
def test_every_sample_opens(app, name):
    app.query_params["photo"] = name
    app.run()
    assert not app.exception
    assert app.query_params["photo"] == name


def test_fusion_and_discard_change_the_rollout(app):
    app.run()
    seen = {payload(app, ROLLOUT)[1]["values"].tobytes()}
    app.slider(key="discard").set_value(0.9).run()
    seen.add(payload(app, ROLLOUT)[1]["values"].tobytes())
    assert len(seen) == 2
    assert app.query_params["discard"] == "0.9"


def test_an_upload_is_shown(app):
    app.run()
    before = payload(app, EXPLORER)[0]["image"]
    photo = samples.load("coffee").rotate(90, expand=True)
    app.file_uploader(key="upload").upload("mine.jpg", encoded(photo), "image/jpeg").run()
    assert not app.exception
    assert payload(app, EXPLORER)[0]["image"] != before
    assert app.session_state["photo"] == "own"
    assert app.query_params["photo"] == "own"


def test_what_the_model_does_not_see_is_said(app):
    app.run()
    height, width = zoo.load(zoo.names()[0]).image_size
    assert any(f"sees {width} × {height} pixels" in caption.value for caption in app.caption)
    wide = Image.new("RGB", (400, 100), "red")
    app.file_uploader(key="upload").upload("wide.jpg", encoded(wide), "image/jpeg").run()
    assert any("the middle 25%" in caption.value for caption in app.caption)


@pytest.mark.parametrize(
    "data",
    [b"", b"my notes", encoded(samples.load("coffee"))[:2000], b"<svg xmlns='x'/>"],
    ids=["empty", "text", "truncated", "svg"],
)
def test_a_file_that_is_no_picture_is_a_sentence_and_the_photo_stays(app, data):
    app.run()
    before = payload(app, EXPLORER)[0]["image"]
    app.file_uploader(key="upload").upload("photo.jpg", data, "image/jpeg").run()
    assert not app.exception
    assert len(app.error) == 1 and app.error[0].value.endswith(".")
    assert app.error[0].value.startswith("photo.jpg was not taken.")
    assert payload(app, EXPLORER)[0]["image"] == before
    app.switch_page("patches.py").run()
    assert not app.exception and not app.error


def test_two_people_with_one_photo_share_one_recording():
    from viz.pages.shared.recorded_images import recorded_image

    for _ in range(2):
        before = recorded_image.cache.nbytes
        assert not AppTest.from_file(APP, default_timeout=60).run().exception
    assert recorded_image.cache.nbytes == before > 0


def test_what_was_seen_and_not_recorded_stands_on_the_page(app, monkeypatch):
    sentence = "1 softmax was seen and not recorded: blocks.0 (it weighs channels)."
    run = recorded_images.recorded_image
    monkeypatch.setattr(
        "viz.pages.shared.session.recorded_image",
        lambda *given: replace(run(*given), not_recorded=sentence),
    )
    app.run()
    assert any("it weighs channels" in caption.value for caption in app.caption)
