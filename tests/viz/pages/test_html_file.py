"""The button that saves what a page shows as one HTML file."""

import base64
import re
import zlib
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from model.captioning.caption import CaptionBundle
from model.datasets import samples
from model.intervention import intervene
from model.recording.recorder import AttentionRecorder
from tests.viz.pages.test_export import session_of
from viz.components.payload import unpack
from viz.pages.shared import html_file, open_models
from viz.pages.shared.view import CaptionView
from viz.standalone.figure import LARGEST
from viz.standalone.views import AnswerChange

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


@pytest.fixture
def offered(monkeypatch):
    """What the last button was given: its label, and its arguments by name."""
    kept = {}

    def button(label, data, file_name, mime, **more):
        kept.update(label=label, data=data, file_name=file_name, **more)

    monkeypatch.setattr(st, "download_button", button)
    return kept


def blocks(page: bytes) -> dict[str, bytes]:
    """What a file has packed, by name."""
    found = re.findall(r'data-name="([^"]+)">([^<]*)<', page.decode())
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in found}


def test_the_file_begins_where_the_page_is_and_has_all_layers(offered):
    session = session_of("cs231n-cifar10", layer=2, head=1, query=5)
    html_file.offer_html(html_file.explored_file(session, "saccade-cup"))
    assert offered["file_name"] == "saccade-cup.html"
    packed = blocks(offered["data"]())
    header, _ = unpack(packed["part0"])
    assert [header["view"][name] for name in ("layer", "head", "query")] == [2, 1, 5]
    layers = [name for name in packed if "/layer/" in name]
    assert len(layers) == len(session.recorded.records)
    _, arrays = unpack(packed[f"{header['source']}/layer/2"])
    query = session.recorded.records[2].query[0].half().numpy()
    np.testing.assert_array_equal(arrays["query"].reshape(query.shape), query)


def test_a_captions_file_has_its_words(offered):
    captioner = open_models.open_model_named("scenes-captioner")
    assert isinstance(captioner, CaptionBundle)
    caption = captioner.caption(samples.load("chelsea"))
    file = html_file.caption_file(caption, CaptionView(0, 1, 1), memory_of_one=False)
    html_file.offer_html(file)
    header, _ = unpack(blocks(offered["data"]())["part0"])
    assert header["words"] == caption.words
    assert header["view"]["word"] == 1


def test_the_size_on_the_button_is_near(offered):
    html_file.offer_html(html_file.explored_file(session_of("photos"), "saccade-cup"))
    size = len(offered["data"]()) / 1e6
    assert float(re.search(r"about ([\d.]+) MB", offered["label"])[1]) == pytest.approx(size, 0.2)


def test_what_is_too_large_cannot_be_pressed_and_says_what_to_do(offered):
    file = html_file.HtmlFile(lambda: pytest.fail("it is not made"), LARGEST + 1, "saccade")
    html_file.offer_html(file)
    assert offered["disabled"]
    assert "Record fewer" in offered["help"]


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("attribution", {"model": "cifar10-plain"}),
        # A scene of its own: other tests write captions of the first one with a stand-in.
        ("captions", {"captioner": "scenes-captioner", "scene": "77"}),
        ("features", {"model": "cifar10-plain"}),
        ("what_if", {"model": "cifar10-plain", "off": "2.1"}),
        ("compare", {"model": "cifar10-plain", "method": "attention", "b_method": "attention"}),
    ],
)
def test_the_pages_have_the_button(page, link):
    app = AppTest.from_file(APP, default_timeout=120).switch_page(f"{page}.py")
    app.query_params.update(link)
    app.run()
    assert not app.get("download_button"), "nothing is offered before somebody asks"
    app.button(key="save").click().run()
    assert not app.exception
    labels = [button.proto.label for button in app.get("download_button")]
    assert sum("one HTML file" in label for label in labels) == 1


def test_an_experiments_file_has_the_maps_before_and_after(offered):
    session = session_of("cs231n-cifar10", layer=2, head=1, query=5)
    net = session.bundle.net
    answer = AnswerChange("less sure", [("cat", 0.6, 0.4)])
    off = {0: [0, 1, 2, 3]}
    change = partial(intervene, net, heads_off=off)
    with patch.object(html_file, "chosen_layers", return_value=None):
        html_file.offer_html(html_file.experiment_file(session, change, answer, [3]))
    packed = blocks(offered["data"]())
    header, _ = unpack(packed["part0"])
    assert header["classes"] == [["cat", 0.6, 0.4]]
    panes = unpack(packed["part1"])[0]["panes"]
    with torch.no_grad(), change(), AttentionRecorder(net) as recorder:
        net(session.bundle.prepare(session.picture.image))
    _, arrays = unpack(packed[f"{panes[1]['source']}/layer/5"])
    query = recorder.records[5].query[0].half().numpy()
    np.testing.assert_array_equal(arrays["query"].reshape(query.shape), query)
