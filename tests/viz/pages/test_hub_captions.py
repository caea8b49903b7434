"""The Captions page with ViT-GPT2 and BLIP, opened by name from disk, with random weights."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.recording.recorder import AttentionRecorder
from tests.model.hub_cache import cache, use_cache
from tests.model.hub_captioners import publish
from tests.viz.pages.fake_captioner import FakeCaptioner
from tests.viz.pages.shown import address_of, components
from viz.components.payload import unpack
from viz.pages.shared import captions_written, open_models
from viz.pages.shared.picture import Picture
from viz.pages.what_if_captions import layers_of_caption, subject_of_caption, try_caption
from viz.pages.what_if_experiment import Experiment

PAGES = Path(__file__).parents[3] / "viz/pages"

pytestmark = [
    pytest.mark.hubs,
    pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with two captioners, and one embedded captioner; nothing is open at the end."""
    use_cache(monkeypatch, tmp_path)
    names, load = zoo.names, zoo.load
    fake = FakeCaptioner()
    monkeypatch.setattr(
        zoo, "names", lambda task="classify": [fake.name] if task == "caption" else names()
    )
    monkeypatch.setattr(
        zoo, "load", lambda name, **how: fake if name == fake.name else load(name, **how)
    )
    captions_written.caption_of.cache.clear()
    for kind in ("vit-gpt2", "blip"):
        publish(kind, tmp_path)
    yield
    captions_written.caption_of.cache.clear()
    for name in [
        name for name in open_models.open_model_named.cache if name == fake.name or "hf/org" in name
    ]:
        open_models.open_model_named.cache.pop(name)


def run(page: str = "captions.py", **words: str) -> AppTest:
    app = AppTest.from_file(str(PAGES / page), default_timeout=60)
    app.query_params.update(words)
    app.run()
    assert not app.exception
    return app


def opened(name: str, random: bool = False) -> AppTest:
    app = run(photo="coffee")
    app.text_input(key="hub_captioner").set_value(name)
    app.checkbox(key="hub_captioner_random").set_value(random)
    button(app, "Open").click().run()
    assert not app.exception
    return app


def button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def shown(app: AppTest):
    return unpack(components(app)[0].proto.bytes)


@pytest.mark.parametrize("kind", ["vit-gpt2", "blip"])
def test_a_hub_s_captioner_is_shown_as_ours_is(hub, kind):
    name = f"hf/org/{kind}"
    app = opened(name)
    assert not app.error and app.selectbox(key="captioner").value == name
    app.text_input(key="typed").set_value("a dog on a ball").run()
    header, arrays = shown(app)
    caption = zoo.load(name).score(samples.load("coffee"), "a dog on a ball")
    assert header["words"] == caption.words == ["a", "dog", "on", "a", "ball"]
    assert header["layers"] == [3, 3] and header["grid"] == [4, 4] and header["prefix"] == ["cls"]
    np.testing.assert_allclose(header["logprobs"], caption.logprobs, atol=1e-4)
    for layer in range(2):
        np.testing.assert_allclose(arrays[f"cross_{layer}"], caption.cross[layer], atol=1e-3)
        np.testing.assert_allclose(arrays[f"self_{layer}"], caption.self_[layer], atol=1e-3)
    assert [len(words) for words in header["alternatives"]] == [5] * 5

    app.session_state["typed"] = ""
    app.session_state["given"] = ["a", header["alternatives"][1][1][0]]
    app.run()
    header, _ = shown(app)
    assert header["words"][:2] == app.session_state["given"] and header["given"] == 2

    app.session_state["given"] = []
    app.session_state["beams"] = 3
    app.run()
    header, _ = shown(app)
    assert 2 <= len(header["beams"]) <= 3  # as many as came to an end
    app.session_state["beam"] = (header["id"], 1)
    app.run()
    chosen, _ = shown(app)
    assert " ".join(chosen["words"]) == header["beams"][1][0]
    assert not app.exception


def test_what_if_shows_the_patches_alone(hub):
    """ViT-GPT2's memory begins with CLS, which is no patch of the picture."""
    bundle = open_models.open_captioner("hf/org/vit-gpt2")
    picture = Picture("chelsea", samples.load("chelsea"))
    subject = subject_of_caption(bundle, picture, ["a", "dog"])
    tried = try_caption(subject, Experiment())
    layers = layers_of_caption(bundle, picture, subject.words)
    at = next(at for at, layer in enumerate(layers) if layer.kind == "cross")
    first, patches = len(bundle.tokens.prefix), bundle.tokens.patches
    images = bundle.prepare(picture.image)
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        subject.run(images)
    record = next(each for each in recorder.records if each.name == layers[at].name)
    expected = record.weights()[0].float().mean(1)[:, first:].numpy()
    assert first and expected.shape[1] == patches
    np.testing.assert_allclose(tried.maps[at, :, :patches], expected)


def test_random_weights_and_a_link_to_what_is_open(hub, tmp_path):
    long = tmp_path / "org/blip-image-captioning-large"  # as long as real names are
    shutil.copytree(tmp_path / "org/blip", long)
    cache(long)
    app = opened("hf/org/blip-image-captioning-large", random=True)
    name = "hf/org/blip-image-captioning-large (random weights)"
    assert name in address_of(app)["captioner"]
    linked = run(photo="coffee", captioner=name)
    assert linked.selectbox(key="captioner").value == name
    other = run(photo="coffee", captioner="hf/org/vit-gpt2")
    assert other.selectbox(key="captioner").value == "scenes-captioner"
    assert "not open here" in " ".join(part.value for part in other.caption)


def test_what_is_no_captioner_is_a_sentence(hub, monkeypatch):
    assert "hf/ORG/NAME" in opened("blip").error[0].value
    assert "is not on this machine" in opened("hf/org/nothing").error[0].value
    own = zoo.load
    monkeypatch.setattr(
        zoo, "load", lambda name, **how: own("cifar10" if name == "hf/org/vit" else name, **how)
    )
    app = opened("hf/org/vit")
    assert "Open it on the Models page" in app.error[0].value
    assert app.selectbox(key="captioner").options == ["Captions of drawn scenes"]


def test_the_models_page_sends_a_captioner_to_its_own_page(hub):
    app = run("models.py")
    app.text_input(key="hub_name").set_value("hf/org/blip")
    button(app, "Open").click().run()
    assert "Open it on the Captions page" in app.error[0].value
    assert not app.exception
    assert not run("models.py", model="hf/org/blip").exception, "a link to it changes nothing"
