"""The Explore page, run by Streamlit's own test runner."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from model import AttentionRecorder, vit, zoo
from model.datasets import samples
from model.image_layers import Layer
from model.recording.record import AttentionRecord
from model.recording.windows import Windows
from model.tokens import TokenLayout
from tests.viz.pages.shown import address_of, answered, notes, payloads, photo_of
from viz.pages.shared import picture, recorded_images
from viz.pages.shared.attention_texts import (
    where_keys_lie,
    why_off,
    why_several_heads,
    why_signed,
)
from viz.server.passes import NoSuchQuestion, find_pass

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


@pytest.fixture
def app():
    return AppTest.from_file(APP, default_timeout=60)


def header_of(app, component="explorer"):
    return payloads(app)[component][0]


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_first_screen_is_a_photo_with_its_attention(app):
    app.run()
    assert not app.exception
    header = header_of(app)
    assert header["view"]["layer"] == len(header["layers"]) - 1
    heads, rows, columns = header["layers"][header["view"]["layer"]]
    tokens = len(header["prefix"]) + rows * columns
    layer, arrays = answered(app, "explorer", f"layer/{header['view']['layer']}")
    assert arrays["query"].shape == (heads, tokens, layer["dim"])
    assert (layer["heads"], layer["tokens"]) == (heads, tokens)
    assert len(header["classes"]) == 5
    assert sum(p for _, p in header["classes"]) <= 1.0001
    Image.open(io.BytesIO(photo_of(app, "explorer"))).verify()


def test_the_answers_hold_the_maps(app):
    """What the browser computes from a layer is what the server's sheet and rollout compute."""
    app.run()
    header = header_of(app)
    token, prefix = header["view"]["query"], len(header["prefix"])
    _, sheet = answered(app, "sheet", f"sheet/{header['view']['layer']}/{token}")
    rows = np.eye(header["layers"][0][1] * header["layers"][0][2] + prefix)[token]
    for number in reversed(range(len(header["layers"]))):
        layer, arrays = answered(app, "explorer", f"layer/{number}")
        query, key = (arrays[name].astype(np.float64) for name in ("query", "key"))
        scores = np.einsum("hqd,hkd->hqk", query, key) * layer["scale"]
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        patches = weights[:, token, prefix:]
        shown = sheet["values"][number] / 255 * sheet["maxima"][number][:, None]
        np.testing.assert_allclose(shown, patches, atol=0.01 * patches.max() + 1e-4)
        shares = sheet["shares"][:, number]
        np.testing.assert_allclose(shares, weights[:, token, :prefix].T, atol=2e-3)
        rows = rows @ (weights.mean(0) + np.eye(len(rows))) / 2
    _, rollout = answered(app, "rollout", f"rollout/mean/0.00/{token}")
    np.testing.assert_allclose(rollout["row"], rows, atol=2e-3 * rows.max())


@pytest.mark.parametrize(
    "question",
    [
        *("", "layer", "layer/99", "layer/-1", "layer/0/0", "sheet/0", "sheet/0/9999", "photo"),
        *("rollout/mean/0.00/9999", "rollout/mean/1.5/0", "rollout/best/0.00/0", "../layer/0"),
    ],
)
def test_what_is_no_question_is_refused(app, question):
    app.run()
    with pytest.raises(NoSuchQuestion):
        find_pass(header_of(app)["key"]).source(header_of(app)["source"]).answer(question)


def report(app, **changes):
    """Let the browser report another view, as it does before a rerun."""
    header = header_of(app)
    view = header["view"] | {"revision": header["revision"]} | changes
    find_pass(header["key"]).report("explore", view)


def test_a_view_from_the_browser_reaches_the_page_and_the_address(app):
    app.run()
    report(app, layer=0, head=1, query=7, held=True, discard=0.9)
    app.run()
    assert not app.exception
    view = header_of(app)["view"]
    assert [view[name] for name in ("layer", "head", "query", "discard")] == [0, 1, 7, 0.9]
    assert header_of(app, "sheet")["view"] == header_of(app, "rollout")["view"] == view
    there = address_of(app)
    assert (there["layer"], there["held"], there["discard"]) == ("1", "yes", "0.9")


def test_a_report_from_before_a_change_counts_for_the_patch_alone(app):
    app.run()
    report(app, layer=0, query=7, revision="of another session 0")
    app.run()
    view = header_of(app)["view"]
    assert view["query"] == 7 and view["layer"] == len(header_of(app)["layers"]) - 1


def test_what_is_no_view_is_left_out_of_a_report(app):
    app.run()
    before = header_of(app)["view"]
    wrong = {"layer": "0", "query": -1, "head": [1], "held": 1, "opacity": 7, "colors": "jet"}
    report(app, **wrong, discard=True, fusion={}, extra="x")
    app.run()
    assert not app.exception and header_of(app)["view"] == before


def test_back_opens_an_address_of_the_page(app):
    app.query_params["photo"] = "coffee"
    app.run()
    report(app, layer=0)
    app.run()
    app.session_state["address"] = {"open": "?photo=rocket&layer=2&head=3&from=r2c3&held=yes"}
    app.run()
    assert not app.exception
    assert address_of(app).items() >= {"photo": "rocket", "layer": "2", "from": "r2c3"}.items()
    assert app.session_state["photo"] == "rocket" and app.session_state["view"].head == 2


def test_a_wrong_link_opens_the_nearest_view_with_a_quiet_note(app):
    for name, value in {"photo": "unicorn", "layer": "99", "model": "gpt", "head": "2"}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error
    header = header_of(app)
    assert header["view"]["layer"] == len(header["layers"]) - 1 and header["view"]["head"] == 1
    note = " ".join(caption.value for caption in app.caption)
    assert "sample photo" in note and "model" in note and "layer" in note


@pytest.mark.parametrize("name", samples.all_names())
def test_every_sample_opens(app, name):
    app.query_params["photo"] = name
    app.run()
    assert not app.exception
    assert address_of(app)["photo"] == name


def test_fusion_and_discard_change_the_rollout(app):
    app.run()
    ways = ("mean/0.00", "mean/0.90", "max/0.00")
    rows = [answered(app, "rollout", f"rollout/{way}/0")[1]["row"] for way in ways]
    assert len({row.tobytes() for row in rows}) == 3
    np.testing.assert_allclose([row.sum() for row in rows], 1, atol=1e-5)


def test_an_upload_is_shown(app):
    app.run()
    before = header_of(app)["image"]
    photo = samples.load("coffee").rotate(90, expand=True)
    app.file_uploader(key="upload").upload("mine.jpg", encoded(photo), "image/jpeg").run()
    assert not app.exception
    assert header_of(app)["image"] != before
    assert app.session_state["photo"] == "own"
    assert address_of(app)["photo"] == "own"


def test_bands_and_range_of_a_deep_picture_are_chosen_on_the_page(app):
    tifffile = pytest.importorskip("tifffile")
    bands = np.stack([np.full((40, 40), value, np.float32) for value in (-1.0, 0.5, 2.0, 3.0)])
    bands[:, 20:] += 1
    file = io.BytesIO()
    tifffile.imwrite(file, bands, photometric="minisblack", planarconfig="separate")
    app.run()
    app.file_uploader(key="upload").upload("deep.tif", file.getvalue(), "image/tiff").run()
    assert any("The file has 4 bands" in caption.value for caption in app.caption)

    def show(**chosen):
        for key, value in chosen.items():
            kind = app.text_input if key == "band_numbers" else app.number_input
            kind(key=key).set_value(value)
        next(button for button in app.button if button.label == "Show").click().run()
        assert not app.exception
        return picture.find_image(app.session_state["own"])

    shown = show(band_numbers="2", black=0.0, white=2.0)
    assert shown.getpixel((5, 5)) == (64,) * 3 and shown.getpixel((5, 35)) == (191,) * 3
    assert show(band_numbers="4, 3, 2", black=0.0, white=4.0).getpixel((5, 5)) == (191, 128, 32)
    show(band_numbers="9")
    assert "from 1 to 4" in app.error[0].value
    app.file_uploader(key="upload").upload("a.jpg", encoded(samples.load("coffee")), "image/jpeg")
    assert not any(button.label == "Show" for button in app.run().button)


def test_what_the_model_does_not_see_is_said(app):
    app.run()
    height, width = zoo.load(zoo.names()[0]).image_size
    assert any(f"sees {width} × {height} pixels" in note for note in notes(app))
    wide = Image.new("RGB", (400, 100), "red")
    app.file_uploader(key="upload").upload("wide.jpg", encoded(wide), "image/jpeg").run()
    assert any("the middle 25 %" in note for note in notes(app))


@pytest.mark.parametrize(
    "data",
    [b"", b"my notes", encoded(samples.load("coffee"))[:2000], b"<svg xmlns='x'/>"],
    ids=["empty", "text", "truncated", "svg"],
)
def test_a_file_that_is_no_picture_is_a_sentence_and_the_photo_stays(app, data):
    app.run()
    before = header_of(app)["image"]
    app.file_uploader(key="upload").upload("photo.jpg", data, "image/jpeg").run()
    assert not app.exception
    assert len(app.error) == 1 and app.error[0].value.endswith(".")
    assert app.error[0].value.startswith("photo.jpg was not taken.")
    assert header_of(app)["image"] == before
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


def test_help_stands_above_the_picture(app):
    app.run()
    parts = list(app.main)
    help_, explorer = (
        next(i for i, part in enumerate(parts) if wanted(part))
        for wanted in (
            lambda part: part.type == "popover" and "is not an explanation" in texts_of(part),
            lambda part: getattr(part, "key", None) == "explorer",
        )
    )
    assert help_ < explorer


def texts_of(part):
    return " ".join(block.value for block in part.markdown)


@pytest.mark.parametrize(("dim", "heads"), [(48, 3), (64, 16), (8, 1)])
def test_the_reason_for_several_heads_has_the_layers_own_numbers(dim, heads):
    net = vit.build("vit", img_size=32, dim=dim, depth=1, heads=heads).eval()
    with AttentionRecorder(net) as recorder:
        net(torch.randn(1, 3, 32, 32))
    sentence = why_several_heads(recorder.records[0])
    if heads == 1:
        assert "one head" in sentence
    else:
        assert sentence.startswith(f"{heads} heads × {dim // heads} = {dim} numbers.")
    assert f"its {dim // heads} of {dim} numbers become zero" in why_off(recorder.records[0])


@pytest.mark.parametrize(
    ("windows", "keys", "sentence"),
    [
        (None, None, ""),
        (Windows((4, 4), (2, 2)), None, "no further than its window of 2 × 2"),
        (Windows.apart((4, 4), (2, 2)), None, "2 × 2 patches that lie apart"),
        (None, TokenLayout((2, 2)), "fewer than its patches, 2 × 2"),
        (None, TokenLayout((8, 8)), "more than its patches, 8 × 8"),
    ],
)
def test_the_page_says_where_the_keys_of_a_layer_lie(windows, keys, sentence):
    map = torch.full((1, 1, 16, 16), 1 / 16)
    record = AttentionRecord("layer", "self", (1, 1, 16, 16), map=map, windows=windows)
    said = where_keys_lie(record, Layer(1, TokenLayout((4, 4)), keys))
    assert sentence in said and bool(said) == bool(sentence)
    assert why_signed(record) == ""
    changed = replace(record, map=map - 0.5, softmax_map=map, versions={})
    assert "below zero" in why_signed(changed)
