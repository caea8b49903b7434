"""The Models page, and Explore with models that nobody foresaw."""

import json
import shutil
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.evaluate import confusion
from model.nets.torchvision_cpu import ensure_operators
from model.nets.vit import build
from model.recorded_image import record_image
from model.recording.recorder import AttentionRecorder
from model.zoo import checkpoints
from tests.model.zoo.test_course_captioner_files import (
    FEATURES,
    published,
    saved,
    vocabulary,
)
from tests.viz.pages.shown import ADDRESS, address_of, answered, components, notes, payloads
from viz.components.payload import unpack
from viz.pages.shared import open_models

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
PAGE = "models.py"


@pytest.fixture
def app():
    return AppTest.from_file(APP, default_timeout=120).run().switch_page(PAGE).run()


def explorer(app):
    """What Explore sends to the browser for the model that is chosen now."""
    app.switch_page("explore.py").run()
    assert not app.exception
    return payloads(app)["explorer"]


def test_the_card_of_every_embedded_model_is_shown(app):
    for name in zoo.names():
        app.selectbox(key="model_choice").select(name).run()
        assert not app.exception
        card = zoo.load(name).card
        assert card.title in [heading.value for heading in app.subheader]
        facts, config = app.table[0].value.to_string(), card.config
        assert f"{card.parameters:,}" in facts
        assert f"{config['depth']}, each with {config['heads']} heads" in facts
        assert "does not say" not in facts


def test_the_same_model_untrained_can_be_opened_and_looked_at(app):
    app.button[0].click().run()
    name = app.session_state["model"]
    assert name == f"{zoo.names()[0]} (random weights)"
    header, _ = explorer(app)
    assert header["model"] == name
    assert address_of(app)["model"] == name


def test_layers_can_be_chosen_before_recording(app):
    name = app.session_state["model"]
    app.button_group(key=f"layers of {name}").set_value([2, 4]).run()
    header, _ = explorer(app)
    assert header["numbers"] == [2, 4] and len(header["layers"]) == 2
    assert any("Rollout goes through every layer" in info.value for info in app.info)


@pytest.mark.hubs
def test_a_windowed_model_of_a_hub_opens_in_explore(app):
    app.text_input(key="hub_name").set_value("torchvision/swin_t")
    app.checkbox(key="hub_random").check()
    app.button[1].click().run()
    assert not app.error
    header, _ = explorer(app)
    assert [layer[1:] for layer in header["layers"][:3]] == [[56, 56], [56, 56], [28, 28]]
    layer, arrays = answered(app, "explorer", "layer/0")
    assert layer["kind"] == "windows" and arrays["maps"].shape[-1] == 49
    _, sheet = answered(app, "sheet", f"sheet/0/{header['view']['query']}")
    assert sheet["values"].shape == (12, 24, 56 * 56) and sheet["shares"].shape == (0, 12, 24)
    assert any("rollout is not defined" in info.value for info in app.info)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet", "hub's name first"),
        ("/etc/mine.pt", "hub's name first"),
        ("torchvision/../mine.safetensors", "hub's name first"),
        ("torchvision/nosuchnet", "nosuchnet"),
    ],
)
def test_a_name_that_is_none_is_a_sentence(app, name, sentence):
    app.text_input(key="hub_name").set_value(name)
    app.button[1].click().run()
    assert not app.exception
    assert sentence in app.error[0].value
    assert app.session_state["model"] == zoo.names()[0]


def test_a_file_that_is_no_model_is_a_sentence(app):
    app.file_uploader(key="own_file").upload("mine.pt", b"not a model", "application/octet-stream")
    app.button[2].click().run()
    assert not app.exception
    assert app.error[0].value.endswith(".")
    assert "mine.pt holds text, not weights" in app.error[0].value


def own_file(app, net, name="mine.safetensors", **said):
    """The page after a net's weights are opened as a file, with these fields filled in."""
    blob = save({name: tensor.contiguous() for name, tensor in net.state_dict().items()})
    app.file_uploader(key="own_file").upload(name, blob, "application/octet-stream")
    for key, value in said.items():
        kind = app.text_input if key == "own_side" else app.selectbox
        kind(key=key).set_value(value)
    app.button[2].click().run()
    assert not app.exception
    return app


def plain_vit(**changes):
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "dim": 64, "depth": 2, "heads": 1, "num_classes": 10}
    return build("vit", **sizes | changes)


@pytest.mark.parametrize("size", ["24 x 40", "24x40", " 24 × 40 ", "24, 40"])
def test_pictures_that_are_not_square_open_with_their_size(app, size):
    net = plain_vit(img_size=(24, 40))
    own_file(app, net)
    assert "Say their height and width" in app.error[0].value
    own_file(app, net, own_side=size)
    assert not app.error
    facts = tables(app)
    assert "24 × 40 pixels (height × width)" in facts and "3 × 5, each of 8 × 8 pixels" in facts
    header, _ = explorer(app)
    assert header["layers"] == [[1, 3, 5]] * 2


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ("big", "“big” is no size of pictures. Write one number"),
        ("0", "is no size"),
        ("32 x 32 x 3", "is no size"),
        ("50", "multiples of 8"),
        ("48", "Pictures of 48 x 48 pixels have 36 patches"),
        ("99968", "at most 10,000 can be computed"),
    ],
)
def test_a_size_that_cannot_be_is_a_sentence(app, size, sentence):
    own_file(app, plain_vit(), own_side=size)
    assert sentence in app.error[0].value
    assert app.session_state["model"] == zoo.names()[0]


def test_what_was_assumed_of_a_file_is_told(app):
    own_file(app, plain_vit())
    facts = dict(app.table[0].value.iloc[:, 0])
    unsaid = ", assumed: the file does not say"
    assert facts["Layers"] == "2, each with 1 head, their number assumed: the file does not say"
    assert facts["Picture"] == "32 × 32 pixels" + unsaid  # as many patches fit other rectangles
    assert facts["Tokens without a place"] == "CLS"
    assert facts["Classes"] == "10, without names"
    assert facts["Layout"] == "Saccade's own"
    assert facts["Normalisation"] == f"mean 0.5; deviation 0.5{unsaid}"
    assert facts["Activation"] == f"GELU{unsaid}"
    assert facts["Layer norm"] == f"adds 1e-06 to the variance{unsaid}"
    assert facts["Pooling"] == f"CLS{unsaid}"
    assert "Left out of the file" not in facts


def test_what_is_said_of_a_file_is_not_called_assumed(app):
    own_file(
        app,
        plain_vit(),
        own_norm="CIFAR-10's",
        own_activation="QuickGELU (OpenAI's CLIP)",
        own_pooling="The mean of the patches",
    )
    facts = dict(app.table[0].value.iloc[:, 0])
    assert facts["Normalisation"] == "mean 0.4914, 0.4822, 0.4465; deviation 0.247, 0.2435, 0.2616"
    assert facts["Activation"] == "QuickGELU"
    assert facts["Pooling"] == "the mean of the patches"


def test_a_strangers_card_assumes_nothing(shipped):
    """Its keys are a stranger's, and may be of any kind."""
    app = shipped(list("abc"), assumed=5, left_out=[], layout=None)
    assert not app.exception
    assert "assumed" not in tables(app)


def test_the_title_of_an_untrained_model_begins_with_it(app):
    first = app.selectbox(key="model_choice").value
    app.button[0].click().run()
    title = zoo.load(first).card.title
    assert f"Untrained: {title}" in [heading.value for heading in app.subheader]
    assert f"Untrained: {title}" in app.selectbox(key="model_choice").options


def test_a_students_own_model_opens(app):
    torch.manual_seed(0)
    weights = build("cs231n", img_size=32, patch_size=8).state_dict()
    blob = save({name: tensor.contiguous() for name, tensor in weights.items()})
    app.file_uploader(key="own_file").upload("mine.safetensors", blob, "application/octet-stream")
    app.number_input(key="own_heads").set_value(2)
    app.button[2].click().run()
    assert not app.exception and not app.error
    assert app.session_state["model"].startswith("your mine.safetensors")
    header, _ = explorer(app)
    assert header["layers"] == [[2, 4, 4]] * 6


@pytest.mark.parametrize("said", [None, 2])
def test_heads_that_nobody_said_are_told_to_be_assumed(app, said):
    torch.manual_seed(0)
    weights = build("cs231n", img_size=32, patch_size=8).state_dict()
    blob = save({name: tensor.contiguous() for name, tensor in weights.items()})
    app.file_uploader(key="own_file").upload("mine.safetensors", blob, "application/octet-stream")
    if said:
        app.number_input(key="own_heads").set_value(said)
    app.button[2].click().run()
    app.switch_page("models.py").run()
    facts = app.table[0].value.to_string()
    assert f"6, each with {said or 4} heads" in facts
    assert ("heads, their number assumed: the file does not say" in facts) == (said is None)


def upload(app, *paths):
    app.file_uploader(key="own_file").set_value(
        [(path.name, path.read_bytes(), "application/octet-stream") for path in paths]
    )
    app.button[2].click().run()
    assert not app.exception


def shown_text(app) -> str:
    parts = (*app.markdown, *app.caption, *app.info)
    return " ".join([*(element.value for element in parts), *notes(app)])


def test_this_projects_own_checkpoint_opens_with_its_card(app):
    pair = [checkpoints.DIRECTORY / f"cifar10.{kind}" for kind in ("safetensors", "json")]
    upload(app, pair[0])
    assert "give the .json that lies beside it" in app.error[0].value
    upload(app, *pair)
    assert not app.error
    header, _ = explorer(app)
    assert header["model"].startswith("your cifar10.safetensors")
    bundle, photo = zoo.load("cifar10"), samples.load(samples.names()[0])
    guesses = record_image(bundle, photo).guesses
    assert [name for name, _ in header["classes"]] == [name for name, _ in guesses]
    assert "93.6" not in str(app.metric), "others measured that"
    np.testing.assert_allclose(
        [p for _, p in header["classes"]], [p for _, p in guesses], rtol=1e-4
    )


def test_a_captioners_pair_opens_on_its_page(app):
    before = app.session_state["model"]
    upload(app, *(checkpoints.DIRECTORY / f"scenes-captioner.{k}" for k in ("safetensors", "json")))
    assert not app.error and app.session_state["model"] == before
    assert any("writes captions" in text.value for text in app.markdown)
    app.switch_page("captions.py").run()
    assert not app.exception and not app.error
    assert app.selectbox(key="captioner").value.startswith("your scenes-captioner.safetensors")


@pytest.mark.hubs
@pytest.mark.parametrize("pack", [False, True])
def test_a_dropped_hugging_face_folder_opens_in_explore(app, tmp_path, pack):
    ensure_operators()
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 64}
    labels = {"id2label": {0: "healthy", 1: "ill"}, "label2id": {"healthy": 0, "ill": 1}}
    config = transformers.ViTConfig(num_hidden_layers=3, num_attention_heads=4, **sizes, **labels)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "mine")
    if pack:
        shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path / "mine")
    upload(app, *([tmp_path / "mine.zip"] if pack else sorted((tmp_path / "mine").iterdir())))
    assert not app.error
    assert "no preprocessor" in shown_text(app)
    facts = dict(app.table[0].value.iloc[:, 0])
    assert facts["Layers"] == "3, each with 4 heads" and facts["Classes"] == "2: healthy, ill"
    assert facts["Activation"] == "GELU" and "1e-12" in facts["Layer norm"]
    name = "your mine.zip" if pack else "your ViTForImageClassification"
    assert app.session_state["model"].startswith(name)
    header, _ = explorer(app)
    assert header["layers"] == [[4, 4, 4]] * 3
    assert {name for name, _ in header["classes"]} == {"healthy", "ill"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classes": [1, 2]}, "classes that are no names"),
        ({"task": None}, "it has no task"),
        ({"config": {"depth": 10**9}}, "larger than any model"),
        ({"config": {"dim": 10**6, "heads": 1}}, "do not fit the model"),
        ({"config": {"depth": "many"}}, "describes no model"),
        ({"normalisation": {"mean": [0.5], "std": [0]}}, "channels"),
        ({"sha256": "other"}, "its card describes another file"),
    ],
)
def test_a_strange_card_is_a_sentence(app, tmp_path, changes, sentence):
    for kind in ("safetensors", "json"):
        data = (checkpoints.DIRECTORY / f"cs231n-cifar10.{kind}").read_bytes()
        (tmp_path / f"mine.{kind}").write_bytes(data)
    card = json.loads((tmp_path / "mine.json").read_text())
    for key, value in changes.items():
        card[key] = card[key] | value if key == "config" else value
    (tmp_path / "mine.json").write_text(json.dumps(card))
    upload(app, tmp_path / "mine.safetensors", tmp_path / "mine.json")
    assert sentence in app.error[0].value


def test_two_models_at_once_are_a_sentence(app):
    upload(app, *sorted(checkpoints.DIRECTORY.glob("cs231n-*.safetensors")))
    assert "Choose one file" in app.error[0].value


def test_a_stranger_s_zip_is_a_sentence(app, tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    upload(app, tmp_path / "mine.zip")
    assert "mine.zip is damaged" in app.error[0].value


# -- cards ----------------------------------------------------------------------------------------

POINTING = {
    "pointing_attention": 0.512,
    "pointing_rollout": 0.61,
    "pointing_chance": 0.388,
    "pointing_centre": 0.815,
}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Ships a model with random weights and a card; what opens the page on it."""
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)

    def ship(classes: list[str], layers: int = 2, **card) -> AppTest:
        name = f"made-up-{uuid4().hex}"  # models are kept for the whole server, by name
        torch.manual_seed(0)
        size = {"img_size": 32, "patch_size": 8, "dim": 16, "depth": layers, "heads": 2}
        net = build("vit", num_classes=len(classes), **size).eval()
        known = {
            "name": name,
            "title": "Made up",
            "task": "classify",
            "config": vars(net.config),
            "classes": classes,
            "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        }
        checkpoints.save_checkpoint(net, tmp_path / f"{name}.safetensors", known | card)
        return AppTest.from_file(APP, default_timeout=120).run().switch_page(PAGE).run()

    return ship


def charts(app) -> dict[str, dict]:
    """The page's plotly figures, by their description."""
    found = [chart.proto for chart in app.get("plotly_chart")]
    return {proto.alt: json.loads(proto.spec) for proto in found}


def tables(app) -> str:
    return "\n".join(table.value.to_string() for table in app.table)


def said(app) -> str:
    return " ".join([*(part.value for part in [*app.caption, *app.markdown]), *notes(app)])


def counted(classes: int) -> np.ndarray:
    counts = 20 * np.eye(classes, dtype=int)
    counts[3, 5], counts[2, 1] = 7, 3
    counts[0, 0] = 5
    return counts


def test_figures_are_grouped_and_in_percent(shipped):
    metrics = {"test_accuracy": 0.4823, "top5": 0.74, "ece": 0.031, "test_pictures": 5000}
    app = shipped(list("abcdefghij"), metrics=metrics | POINTING | {"odd_one": 0.25})
    assert not app.exception
    assert [metric.value for metric in app.metric] == ["48.2 %", "74.0 %", "3.1 %"]
    assert "5,000 pictures" in said(app) and "right 10.0 % of the time" in said(app)
    maps, grey = charts(app)["Pointing at the object"]["data"]
    assert [*maps["text"], *grey["text"]] == ["51.2 %", "61.0 %", "38.8 %", "81.5 %"]
    assert "odd one" in tables(app) and "0.4823" not in tables(app)


def test_ten_classes_are_a_grid(shipped):
    app = shipped([f"kind {i}" for i in range(10)], confusion=counted(10).tolist())
    assert not app.exception and not app.warning
    grid = charts(app)["What the pictures of each class were taken for, in percent"]
    assert any("kind 3, taken for kind 5: 7 of 27 (25.9 %)" in str(d) for d in grid["data"])
    assert list(app.table[-1].value.iloc[0]) == ["kind 3", "kind 5", "7 of 27"]
    assert len(app.table[-1].value) == 2


def test_many_classes_are_lists_and_the_grid_is_on_demand(shipped):
    counts, names = counted(200), [f"kind {i}" for i in range(200)]
    app = shipped(names, confusion=confusion.pack_confusion(counts))
    assert not app.exception and not app.warning
    assert set(charts(app)) == {"Best and worst classes", "Every class, best first"}
    worst = charts(app)["Best and worst classes"]["layout"]["yaxis"]["ticktext"]
    assert worst[-2:] == ["kind 2", "kind 3"]
    assert list(app.table[-1].value.iloc[0]) == ["kind 3", "kind 5", "7 of 27"]
    app.toggle(key="whole_grid").set_value(True).run()
    assert not app.exception
    assert "kind 2, taken for kind 1: 3 of 23" in str(charts(app)["All classes by all answers"])


def test_a_grid_that_does_not_fit_is_a_sentence(shipped):
    app = shipped(list("abc"), confusion=[[1, 2], [3, 4]])
    assert not app.exception
    assert "does not fit 3 classes" in app.warning[0].value


def test_the_curve_keeps_epochs_without_a_test(shipped):
    curve = [
        {"epoch": 1, "accuracy": 0.2},
        {"epoch": 2, "accuracy": 0.3, "test_accuracy": 0.35},
        {"epoch": 3, "accuracy": 0.4, "test_accuracy": 0.45},
    ]
    app = shipped(list("abc"), curve=curve, epochs=3, seed=0)
    training, test = charts(app)["Accuracy by epoch"]["data"]
    assert (training["x"], test["x"]) == ([1, 2, 3], [2, 3])
    assert "Random seed" in tables(app)


def test_a_card_shows_its_words_as_they_are(shipped):
    words = {"weak_at": "*cats*", "data": "Photos", "note": "`x`"}
    app = shipped(["*a*", "[b](c)"], confusion=[[1, 1], [0, 2]], **words)
    assert r"\*cats\*" in said(app) and r"\`x\`" in said(app)
    assert r"\*a\*" in tables(app) and r"\[b\](c)" in tables(app)


# -- the untrained twin ---------------------------------------------------------------------------


def test_the_twin_of_a_large_model_stands_there_once_it_is_asked_for(shipped, monkeypatch):
    monkeypatch.setattr("viz.pages.models_untrained.LARGE", 100)
    app = shipped(list("abc"))
    assert payloads(app).keys() == {ADDRESS}
    app.toggle(key="twin").set_value(True).run()
    assert not app.exception and "row" in payloads(app)


def test_the_twin_stands_beside_the_trained_model(shipped):
    app = shipped(list("abcdefg"), metrics={"test_accuracy": 0.5})
    assert not app.exception and not app.error
    header, arrays = unpack(components(app)[0].proto.bytes)
    assert [cell["title"] for cell in header["cells"]] == ["Trained", "Random weights"]
    assert not header["choosable"]
    name = app.session_state["model"]
    bundles = [zoo.load(name), zoo.load(name, weights="random")]
    image = samples.load(app.session_state["photo"])
    for bundle, shown in zip(bundles, arrays["values"], strict=True):
        with torch.inference_mode(), AttentionRecorder(bundle.net) as recorder:
            logits = bundle.net(bundle.prepare(image))[0]
        row = recorder.records[-1].weights()[0, :, 0, 1:].mean(0).view(4, 4)
        np.testing.assert_allclose(shown, row / row.max(), atol=1e-5)
        best = bundle.classes[int(logits.argmax())]
        answers = next(each.value for each in app.markdown if each.value.startswith("| Trained"))
        assert best in answers.splitlines()[2].split("|")[1 + bundles.index(bundle)]
    assert header["grid"] == [4, 4]


def test_another_photo_changes_the_comparison(shipped):
    app = shipped(list("abc"))
    before = components(app)[0].proto.bytes
    other = next(n for n in samples.names() if n != app.session_state["photo"])
    app.button_group(key="sample").set_value(other).run()
    assert not app.exception
    assert components(app)[0].proto.bytes != before


def test_an_untrained_model_shows_no_figures_of_the_trained_one(shipped):
    app = shipped(list("abc"), metrics={"test_accuracy": 0.5}, confusion=[[1, 0, 0]] * 3, epochs=3)
    assert app.metric
    app.button[0].click().run()
    assert not app.exception and not app.metric and not charts(app)
    assert "nothing was measured" in said(app)
    assert payloads(app).keys() == {ADDRESS}, "nothing stands beside it"


def test_a_students_own_model_has_a_twin(app):
    torch.manual_seed(0)
    weights = build("cs231n", img_size=32, patch_size=8).state_dict()
    blob = save({name: 3 * tensor.contiguous() for name, tensor in weights.items()})
    app.file_uploader(key="own_file").upload("mine.safetensors", blob, "application/octet-stream")
    app.number_input(key="own_heads").set_value(2)
    app.button[2].click().run()
    assert not app.exception and not app.error
    header, arrays = unpack(components(app)[0].proto.bytes)
    assert header["grid"] == [4, 4]
    assert np.abs(arrays["values"][0] - arrays["values"][1]).max() > 0.01
    own = app.session_state["model"]
    app.switch_page("attribution.py").run()
    app.toggle(key="compare").set_value(True).run()
    assert not app.exception and not app.error
    header, _ = unpack(components(app)[0].proto.bytes)
    assert header["variants"] == ["trained", "random weights"]
    app.switch_page(PAGE).run()
    app.button[0].click().run()
    assert not app.exception and not app.error
    assert app.session_state["model"] == f"{own} (random weights)"
    header, _ = explorer(app)
    assert header["layers"] == [[2, 4, 4]] * 6


def test_the_address_names_the_model_that_is_chosen(app):
    other = zoo.names()[1]
    app.selectbox(key="model_choice").set_value(other).run()
    assert other in address_of(app)["model"]


@pytest.mark.parametrize("words", [False, True])
def test_the_course_s_captioner_opens_on_captions(app, tmp_path, words):
    net = published()
    files = [saved(net, tmp_path / "captioner.pt")]
    np.save(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(3, FEATURES)))
    if words:
        files += [tmp_path / "features.npy", vocabulary(tmp_path / "coco2014_vocab.json")]
        app.number_input(key="own_row").set_value(2)
    app.number_input(key="own_heads").set_value(2)
    upload(app, *files)
    assert not app.error
    assert any("writes captions" in text.value for text in app.markdown)
    app.switch_page("captions.py").run()
    assert not app.exception and not app.error
    name = app.selectbox(key="captioner").value
    assert name.startswith("your captioner.pt")
    header, arrays = unpack(components(app)[0].proto.bytes)
    assert header["memoryOfOne"] and (arrays["cross_0"] == 1).all()
    told = "row 2 of features.npy" if words else "drawn at random (seed 0)"
    assert told in header["summary"]
    assert any(told in note.value and "not looked at" in note.value for note in app.info)
    bundle = open_models.open_captioner(name)
    expected = net.sample(bundle.features, 19)[0].tolist()
    expected = expected[: expected.index(2)] if 2 in expected else expected
    assert header["words"] == [bundle.net.config.vocabulary[n] for n in expected]
    facts = tables(app)
    assert ("as numbers" in facts) == (not words) and "2 heads" in facts
    app.switch_page("attribution.py").run()
    assert not app.exception
    assert name not in app.selectbox(key="model_choice").options
