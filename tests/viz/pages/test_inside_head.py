"""The page Inside a head, run by Streamlit's own test runner."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import AttentionRecorder, zoo
from model.bundle import Bundle
from model.datasets import samples
from model.nets import torchvision_cpu
from model.preprocessing import Resize
from model.tokens import TokenLayout
from tests.viz.pages.shown import address_of, components, payloads
from viz.components.payload import unpack
from viz.pages import inside_head_payload
from viz.pages.shared import open_models

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
PRE = [
    *("token", "norm", "qkv", "products", "scale", "softmax", "values", "heads", "output"),
    *("residual", "mlp", "leaving"),
]


def opened(**link: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params.update(link)
    app.switch_page("inside_head.py").run()
    assert not app.exception and not app.error
    return app


def shown(app: AppTest):
    """The header that the browser gets, and the numbers that it asks for."""
    header, _ = unpack(components(app)[0].proto.bytes)
    source = app.session_state["browser_pass"].source(header["source"])
    return header, unpack(source.answer("numbers").body)[1]


def steps(header) -> list[str]:
    return [step["id"] for step in header["steps"]]


def sentences(header) -> str:
    return " ".join(f"{step['title']}. {step['text']}" for step in header["steps"])


def report(app: AppTest, **changes) -> AppTest:
    """What the browser reports when something was chosen, as Streamlit takes it."""
    header, _ = shown(app)
    message = {**header["view"], "layer": header["layer"], "id": header["id"], **changes}
    app.session_state["inside_head"] = {"view": message}
    take(app, message)
    app.run()
    assert not app.exception
    return app


def take(app: AppTest, message) -> None:
    """Do what the callback does: the runner calls none of a component."""
    app.session_state["step"] = message["step"]
    view = app.session_state["view"]
    changes = {name: message[name] for name in ("layer", "head", "query")}
    app.session_state["view"] = type(view)(**{**vars(view), **changes})


# -- a model that classifies -----------------------------------------------------------------------


def test_what_is_sent_adds_up_to_what_the_model_computed():
    """Written out in float64 from the arrays alone: map, heads, projection, block."""
    app = opened(photo="coffee", layer="3")
    header, arrays = shown(app)
    assert steps(header) == PRE and header["missing"] == []
    bundle = zoo.load("photos")
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(samples.load("coffee")))
    sent = {name: array.astype(np.float64) for name, array in arrays.items()}
    scores = sent["query"] @ sent["key"].transpose(0, 2, 1) * header["scale"]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    own = recorder.records[2].weights()[0].numpy()
    np.testing.assert_allclose(weights, own, atol=1e-5)
    side = (weights @ sent["value"]).transpose(1, 0, 2).reshape(len(own[0]), -1)
    projected = side @ sent["out_weight"].T + sent["out_bias"]
    np.testing.assert_allclose(projected, sent["projected"], atol=1e-5)
    leaving = sent["entering"] + sent["projected"] + sent["mlp_added"]
    np.testing.assert_allclose(leaving, sent["leaving"], atol=1e-5)
    normed = sent["entering"] - sent["entering"].mean(-1, keepdims=True)
    normed /= np.sqrt((normed**2).mean(-1, keepdims=True) + header["norms"]["norm_before"]["eps"])
    normed = normed * sent["norm_before_weight"] + sent["norm_before_bias"]
    np.testing.assert_allclose(normed, sent["norm_before"], atol=1e-4)


def test_without_position_codes_the_patches_are_a_bag():
    """In the first layer equal patches have equal queries then, wherever they lie."""
    app = opened(photo="coffee", layer="1")
    header, arrays = shown(app)
    assert header["switches"]["positions"] == ""
    bundle = zoo.load("photos")
    patches = bundle.net.embed(bundle.prepare(samples.load("coffee")))[0]
    block = bundle.net.blocks[0]
    query = block.attention.query(block.norm_attention(patches)).unflatten(-1, (6, 32))
    sent = arrays["query_flat"][:, 1:].transpose(1, 0, 2)
    np.testing.assert_allclose(sent, query.detach().numpy(), atol=0.02)
    assert np.abs(arrays["query"] - arrays["query_flat"]).max() > 0.1


def test_both_meanings_of_d_are_said():
    header, _ = shown(opened())
    (scale,) = (step for step in header["steps"] if step["id"] == "scale")
    assert "This model's own d is 32, the width of one head" in scale["text"]
    assert "√(d/h) = √(192/6)" in scale["text"]
    assert header["divisor"] == "√32"


def test_the_diagram_is_of_this_models_block():
    """Norms after the sublayers, and dropout, in the assignment's model."""
    header, arrays = shown(opened(model="cs231n-cifar10", layer="2"))
    assert steps(header) == [
        *("token", "qkv", "products", "scale", "softmax", "values", "heads", "output"),
        *("residual", "norm_after", "mlp", "leaving"),
    ]
    parts = [part["name"] for part in header["parts"]]
    assert parts[-6:] == ["+", "Layer norm", "MLP", "+", "Layer norm", "out"]
    notes = {part["name"]: part["note"] for part in header["parts"]}
    assert notes["MLP"] == "dropout 10 %" and notes["W_O"] == "dropout 10 %"
    assert header["skips"] == [[0, 8], [9, 11]]
    assert "post-norm" in sentences(header) and "norm_end_weight" in arrays


@pytest.mark.parametrize("name", zoo.names())
def test_every_embedded_model_is_whole(name):
    header, arrays = shown(opened(model=name, layer="1"))
    assert header["missing"] == [] and steps(header)[-1] == "leaving"
    assert all(np.isfinite(array.astype(np.float32)).all() for array in arrays.values())


# -- the address, and what the browser reports -----------------------------------------------------


def test_a_link_opens_layer_head_query_key_and_step():
    app = opened(layer="2", head="3", **{"from": "r4c5"}, to="r9c2", step="products")
    header, _ = shown(app)
    tokens = zoo.load("photos").tokens
    assert header["layer"] == 1
    assert header["view"] == {
        "head": 2,
        "query": tokens.index_of(3, 4),
        "key": tokens.index_of(8, 1),
        "step": "products",
    }
    written = address_of(app)
    assert written["step"] == "products" and written["to"] == "r9c2"
    assert written["layer"] == "2" and written["head"] == "3" and written["from"] == "r4c5"


@pytest.mark.parametrize(
    "link", [{"step": "nonsense"}, {"to": "r99c1"}, {"to": "nobody"}, {"step": "mask"}]
)
def test_a_wrong_link_opens_what_there_is(link):
    header, _ = shown(opened(**link))
    assert header["view"]["step"] == "token" and header["view"]["key"] is None


def test_a_choice_in_the_browser_sends_no_numbers_again():
    app = opened(photo="coffee")
    before = components(app)[0]
    app = report(app, head=4, query=40, key=7, step="values")
    after = components(app)[0]
    assert after.proto.bytes == before.proto.bytes
    written = address_of(app)
    assert written["head"] == "5" and written["step"] == "values"


def test_another_layer_sends_its_numbers_and_the_view_as_it_is():
    app = opened(photo="coffee")
    app = report(app, layer=0, head=4, query=40, key=7, step="values")
    header, _ = shown(app)
    assert header["layer"] == 0
    assert header["view"]["head"] == 4 and header["view"]["step"] == "values"


class Looked:
    id, keys, queries = "this layer", 9, 9

    @staticmethod
    def write_key(key: int) -> str:
        return str(key)


@pytest.mark.parametrize(
    "message",
    [
        None,
        {"id": "another layer", "step": "mlp", "key": 1, "query": 2},
        {"id": "this layer", "step": "mlp", "key": 9, "query": 2},
        {"id": "this layer", "step": "mlp", "key": 1, "query": -1},
    ],
)
def test_a_report_about_other_numbers_is_dropped(message, monkeypatch):
    state = inside_head_payload.InsideHead
    kept: dict[str, object] = {}
    monkeypatch.setattr(
        type(state.step), "set", lambda self, value: kept.update({self.name: value})
    )
    monkeypatch.setattr(type(state.component), "get", lambda self: {"view": message})
    taken: list[object] = []
    inside_head_payload._take_choice(Looked(), taken.append)
    assert taken == [] and "to" not in kept


def test_a_layer_that_no_browser_takes_is_a_sentence(monkeypatch):
    monkeypatch.setattr(inside_head_payload, "MOST", 1000)
    app = opened()
    assert "inside" not in payloads(app)
    assert "more than a browser takes at once" in app.info[0].value


# -- captioners ------------------------------------------------------------------------------------

CAPTIONER = {"inside": "captioner", "captioner": "scenes-captioner", "scene": "4"}


def test_words_look_at_the_photo():
    header, arrays = shown(opened(**CAPTIONER))
    assert header["kind"] == "cross" and header["missing"] == []
    assert header["layerChips"] == ["1 among words", "1 words to photo"]
    assert header["queryWords"][0] == "start" and header["keyWords"] is None
    assert header["keys"] == 144 and "mask" not in steps(header)
    assert arrays["query"].shape[1] == len(header["queryWords"])


def test_words_look_at_earlier_words_alone():
    app = opened(**CAPTIONER, decoder_layer="1", decoder_word="3", to="2", step="mask")
    header, arrays = shown(app)
    assert header["kind"] == "self" and header["keyWords"] == header["queryWords"]
    assert header["view"] == {"head": 0, "query": 2, "key": 1, "step": "mask"}
    later = np.triu(np.ones(arrays["bias"].shape[-2:]), 1) > 0
    assert np.isneginf(arrays["bias"][0, 0][later]).all()
    assert (arrays["bias"][0, 0][~later] == 0).all()
    assert steps(header)[-4:] == ["norm_after", "other", "mlp", "leaving"]
    assert [part["name"] for part in header["parts"]][-9:] == [
        *("+", "Layer norm", "cross-", "+", "Layer norm", "MLP", "+", "Layer norm", "out"),
    ]
    assert "before_mlp" in arrays and "−∞" in " ".join(s["formula"] for s in header["steps"])
    assert address_of(app)["decoder_layer"] == "1" and address_of(app)["to"] == "2"


@pytest.mark.parametrize(("name", "keys"), [("flickr8k-captioner", 576), ("scenes-one-vector", 1)])
def test_other_captioners(name, keys):
    header, _ = shown(opened(inside="captioner", captioner=name))
    assert header["missing"] == [] and header["keys"] == keys
    assert steps(header)[-1] == "leaving"


def test_a_captioner_without_heads_says_so():
    app = opened(inside="captioner", captioner="scenes-recurrent")
    assert "inside" not in payloads(app)
    assert "additive attention" in app.info[0].value


# -- models of hubs --------------------------------------------------------------------------------


def open_net(net: torch.nn.Module, tokens: TokenLayout, **link: str) -> AppTest:
    half = (0.5,) * 3
    name = f"hf/made-up/{uuid4().hex}"
    bundle = Bundle(name, net.eval(), tokens, half, half, Resize(tokens.image_size))
    open_models._shelf[name] = bundle
    return opened(model=name, **link)


@pytest.mark.hubs
def test_registers_and_layer_scale():
    torchvision_cpu.ensure_operators()
    timm = pytest.importorskip("timm")
    net = timm.create_model(
        "vit_small_patch14_reg4_dinov2", img_size=56, embed_dim=48, depth=2, num_heads=3
    )
    prefix = ("cls", "reg0", "reg1", "reg2", "reg3")
    header, arrays = shown(open_net(net, TokenLayout((4, 4), prefix, (14, 14))))
    parts = {part["name"]: part["note"] for part in header["parts"]}
    assert parts["Token"] == "CLS, 4 registers, 16 patches"
    assert parts["× γ"] == "LayerScale" and arrays["layer_scale"].shape == (48,)
    assert header["missing"] == [] and "besides CLS and 4 registers" in sentences(header)


@pytest.mark.hubs
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
def test_windows(name):
    torchvision_cpu.ensure_operators()
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 112, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}
    if "v2" in name:
        sizes["window_size"] = 7
    net = timm.create_model(name, **sizes)
    header, arrays = shown(open_net(net, TokenLayout((28, 28), (), (4, 4)), layer="2"))
    assert header["keys"] == 49 and header["queries"] == 784
    assert sorted(arrays["slots"].ravel()) == list(range(784))
    if "v2" in name:
        assert "qkv" not in steps(header) and arrays["maps"].shape == (16, 2, 49, 49)
        assert "handwritten attention" in header["missing"][0]
    else:
        assert header["missing"] == [] and "The position bias" in sentences(header)
