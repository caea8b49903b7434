import json
import re

import numpy as np
import pytest
import torch

from model import zoo
from model.captioning.build import config_as_dict
from model.datasets import captions, scenes
from model.datasets.vocabulary import SPECIAL
from model.evaluate import caption, caption_glance
from model.evaluate.__main__ import main
from model.nets.vit import build
from model.zoo import cards, checkpoints
from tests.model.captioners import captioner

CLASSES = [f"class {i}" for i in range(24)]
PICTURES = 60


@pytest.fixture
def data(tmp_path):
    """A folder with one data set: noise of 24 classes, with boxes."""
    folder = tmp_path / "data"
    (folder / "tiny_imagenet").mkdir(parents=True)
    random = np.random.default_rng(0)
    np.savez(
        folder / "tiny_imagenet" / "val.npz",
        images=random.integers(0, 256, (PICTURES, 16, 16, 3), dtype=np.uint8),
        labels=random.integers(0, len(CLASSES), PICTURES),
        classes=CLASSES,
        boxes=np.array([[0, 0, 7, 15]] * PICTURES, np.int16),
    )
    return folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    return tmp_path


def ship(folder, name, **more):
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 4, "dim": 16, "depth": 2, "heads": 2}
    net = build("vit", num_classes=len(CLASSES), **size).eval()
    card = {
        "name": name,
        "task": "classify",
        "config": vars(net.config),
        "classes": CLASSES,
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "data": "Tiny ImageNet",
    }
    checkpoints.save_checkpoint(net, folder / f"{name}.safetensors", card | more)


def evaluate(name, data):
    assert main(["classify", name, "--data", str(data / "tiny_imagenet")]) == 0


def change(folder, name, edit):
    file = folder / f"{name}.json"
    card = json.loads(file.read_text())
    edit(card)
    file.write_text(json.dumps(card))


def check(capsys, data, *names):
    """Exit code, the lines of the table, and the JSON object at the end."""
    capsys.readouterr()
    code = main(["check", *names, "--data", str(data)])
    *lines, last = capsys.readouterr().out.splitlines()
    return code, lines, json.loads(last)


def test_a_card_that_its_own_command_wrote_is_true(shipped, data, capsys):
    ship(shipped, "one", metrics={"training_seconds": 5})
    evaluate("one", data)
    assert isinstance(cards.read_card(shipped / "one.safetensors").confusion[0], str)
    code, lines, found = check(capsys, data)
    assert code == 0
    assert found == {"checked": ["one"], "skipped": {}, "differences": 0}
    assert lines[0].split() == ["name", "figure", "card", "measured", "difference"]
    told = {line[21:49].strip() for line in lines[1:]}
    assert told >= {"test_accuracy", "top5", "ece", "pointing_attention", "table of mix-ups, right"}
    assert "training_seconds" not in told
    assert all(re.search(r"[+-]0(\.0000)?$", line) for line in lines[1:])


@pytest.mark.parametrize(("by", "code"), [(0.0009, 0), (-0.0009, 0), (0.0012, 1), (-0.0012, 1)])
def test_a_figure_may_be_off_by_a_thousandth(shipped, data, capsys, by, code):
    ship(shipped, "one")
    evaluate("one", data)
    change(shipped, "one", lambda card: card["metrics"].update(ece=card["metrics"]["ece"] + by))
    found = check(capsys, data)
    assert found[0] == found[2]["differences"] == code
    assert any("ece" in line and line.endswith("DIFFERS") for line in found[1]) == bool(code)


def test_a_figure_that_nothing_measures_is_a_difference(shipped, data, capsys):
    ship(shipped, "one", metrics={"test_accuracy_at_night": 0.5})
    code, lines, _ = check(capsys, data)
    assert code == 1
    assert any("at_night" in line and line.endswith("NOT MEASURED") for line in lines)
    assert any("ece" in line and line.endswith("not on the card") for line in lines)


@pytest.mark.parametrize(("loss", "code"), [(0.0015, 0), (0.0025, 1), (-0.5, 0)])
def test_float16_may_cost_two_thousandths(shipped, data, capsys, loss, code):
    ship(shipped, "one", epochs=3)
    evaluate("one", data)
    right = cards.read_card(shipped / "one.safetensors").metrics["test_accuracy"]
    curve = [{"epoch": 1, "test_accuracy": 1.0}, {"epoch": 3, "test_accuracy": right + loss}]
    change(shipped, "one", lambda card: card.update(curve=curve))
    assert check(capsys, data)[0] == code
    change(shipped, "one", lambda card: card.update(epochs=4))  # the curve stops before its end
    code, lines, _ = check(capsys, data)
    assert code == 0 and not any("float32" in line for line in lines)


def test_a_grid_of_another_model_differs(shipped, data, capsys):
    ship(shipped, "one")
    evaluate("one", data)
    right = [f"{i}:1" for i in range(len(CLASSES))]
    change(shipped, "one", lambda card: card.update(confusion=right))
    code, lines, _ = check(capsys, data)
    assert code == 1 and lines[-1].endswith("DIFFERS") and "mix-ups" in lines[-1]
    change(shipped, "one", lambda card: card.update(confusion=["0:1"]))
    code, lines, _ = check(capsys, data)
    assert code == 1 and "does not fit 24 classes" in lines[-1]


def test_what_is_absent_is_skipped_and_said(shipped, data, capsys):
    ship(shipped, "here")
    ship(shipped, "there", data="CIFAR-10")
    ship(shipped, "nowhere", data="holiday photos")
    evaluate("here", data)
    code, lines, found = check(capsys, data)
    assert code == 0 and found["checked"] == ["here"]
    assert "cifar10" in found["skipped"]["there"] and "holiday" in found["skipped"]["nowhere"]
    assert sum("skipped" in line for line in lines) == 2
    assert main(["check", "there", "--data", str(data)]) == 1
    assert "Nothing was checked" in capsys.readouterr().err


def test_a_damaged_file_is_said_and_the_others_are_checked(shipped, data, capsys):
    ship(shipped, "a")
    ship(shipped, "b")
    evaluate("b", data)
    with (shipped / "a.safetensors").open("ab") as file:
        file.write(b"x")
    code, lines, found = check(capsys, data)
    assert code == 1 and found == {"checked": ["b"], "skipped": {}, "differences": 1}
    assert "a.safetensors is damaged" in lines[1]


def ship_captioner(folder, data, **metrics):
    drawn = data == "scenes drawn by the project"
    net = captioner(vocabulary=(*SPECIAL, *scenes.vocabulary())) if drawn else captioner()
    card = {
        "task": "caption",
        "config": config_as_dict(net.config),
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "data": data,
        "metrics": metrics,
    }
    checkpoints.save_checkpoint(net, folder / "words.safetensors", card)


def test_captions_of_scenes_are_measured_with_as_many_beams_as_the_card_says(
    shipped, data, capsys, monkeypatch
):
    asked = []

    def measure_on_scenes(bundle, count, beams):
        asked.append((bundle.name, count, beams))
        return {"test_scenes": count, "captions_right": 0.25 * beams}

    monkeypatch.setattr(caption, "measure_on_scenes", measure_on_scenes)
    figures = {"test_scenes": 40, "captions_right": 0.25}
    beams = {"test_scenes_beam3": 30, "captions_right_beam3": 0.75}
    ship_captioner(shipped, "scenes drawn by the project", **figures, **beams)
    code, lines, _ = check(capsys, data)
    assert code == 0 and len(lines) == 5
    assert asked == [("words", 40, 1), ("words", 30, 3)]
    ship_captioner(shipped, "scenes drawn by the project", **figures | {"captions_right": 0.26})
    assert check(capsys, data)[0] == 1


@pytest.mark.parametrize(("loss", "code"), [(0.0015, 0), (0.0025, 1)])
def test_float16_may_cost_two_thousandths_of_the_words(shipped, data, capsys, loss, code):
    ship_captioner(shipped, "scenes drawn by the project", test_scenes=2)
    assert main(["caption", "words", "--limit", "2"]) == 0
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    figures = {name: v for name, v in measured.items() if name not in ("name", "beams")}
    unseen = captions.DrawnScenes(caption_glance.GLANCE, scenes.TESTING)
    bundle = zoo.load("words")
    right = caption_glance.glance(bundle.net, unseen, bundle)["test_accuracy"]

    def edit(card):
        card["metrics"] = figures
        card |= {"epochs": 5, "curve": [{"epoch": 5, "test_accuracy": right + loss}]}

    change(shipped, "words", edit)
    told = check(capsys, data)
    assert told[0] == code and "float32 when trained, words" in told[1][-1]


def test_captions_of_photos_are_measured_on_their_folder(shipped, data, capsys, monkeypatch):
    def measure_on_photos(bundle, folder, beams):
        assert folder == data / "flickr8k"
        return {"cider": 0.4}

    monkeypatch.setattr(caption, "measure_on_photos", measure_on_photos, raising=False)
    ship_captioner(shipped, "Flickr8k", cider=0.4)
    assert main(["check", "--data", str(data)]) == 1  # no such folder: nothing was checked
    (data / "flickr8k").mkdir()
    assert check(capsys, data)[0] == 0
