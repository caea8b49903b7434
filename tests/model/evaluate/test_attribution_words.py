"""The attribution command for a captioner of drawn scenes, on a small net with random weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model import zoo
from model.attribution.metrics.faithfulness import deletion
from model.attribution.registry import METHODS, explain
from model.attribution.word_trace import trace_word
from model.captioning.build import config_as_dict
from model.captioning.caption import CaptionBundle
from model.captioning.words import NextWord
from model.datasets import scenes
from model.datasets.vocabulary import SPECIAL
from model.evaluate.__main__ import main
from model.evaluate.attribution_words import score_scene
from model.zoo import checkpoints
from tests.model.captioners import captioner


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A checkpoint whose captioner says what was drawn, but for the scene number 2."""
    net = captioner(
        encoder={"img_size": 96, "patch_size": 16},
        vocabulary=(*SPECIAL, *scenes.vocabulary()),
        max_words=40,
    )
    card = {
        "name": "tiny",
        "task": "caption",
        "config": config_as_dict(net.config),
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    checkpoints.save_checkpoint(net, tmp_path / "tiny.safetensors", card)
    drawn = {
        scenes.draw_scene(scenes.UNSEEN + i).image.tobytes(): scenes.draw_scene(scenes.UNSEEN + i)
        for i in range(2)
    }

    def caption(self, image, **_):
        scene = drawn.get(image.tobytes())
        return self.score(image, scene.caption if scene else "a small red")

    monkeypatch.setattr(CaptionBundle, "caption", caption)
    return tmp_path / "tiny.safetensors"


def run(file, *more: str) -> list[str]:
    return ["attribution", str(file), "--out", str(file.parent / "scores.jsonl"), *more]


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(file, capsys):
    assert main(run(file, "--limit", "1")) == 0
    first = (file.parent / "scores.jsonl").read_text().splitlines()
    with (file.parent / "scores.jsonl").open("a") as open_file:
        open_file.write('{"photo": 1, "words": [{"wo')  # stopped in the middle of a line
    assert main(run(file, "--limit", "3")) == 0
    text = (file.parent / "scores.jsonl").read_text().splitlines()
    assert text[:2] == first
    lines = [json.loads(line) for line in text[1:]]
    assert [line["photo"] for line in lines] == [0, 1, 2]
    assert [line["right"] for line in lines] == [True, True, False]
    words = [word for line in lines for word in line["words"]]
    assert not lines[2]["words"], "nothing is named there"
    objects = [o for i in range(2) for o in scenes.draw_scene(scenes.UNSEEN + i).objects]
    assert [w["word"] for w in words] == [w for o in objects for w in (o.colour, o.shape)]
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == json.loads((file.parent / "scores.json").read_text())
    assert summary["words"] == len(words) and summary["photos"] == 3
    assert list(summary["methods"]) == list(METHODS)
    means = [word["methods"]["chefer"]["deletion"] for word in words]
    assert summary["methods"]["chefer"]["deletion"] == pytest.approx(np.mean(means), abs=1e-4)
    areas = [(o.box[2] - o.box[0]) * (o.box[3] - o.box[1]) / 96**2 for o in objects]
    assert summary["pointing_chance"] == pytest.approx(np.mean(areas), abs=1e-4)
    assert "words in the captions of 3 drawn scenes" in (file.parent / "scores.md").read_text()


@pytest.mark.slow
def test_a_word_of_each_caption(file):
    bundle, untrained = zoo.load(file), zoo.load(file, weights="random")
    every = score_scene(bundle, untrained, 1)["words"]
    (one,) = score_scene(bundle, untrained, 1, most=1)["words"]
    assert one["place"] in [word["place"] for word in every]
    assert not score_scene(bundle, untrained, 2, most=1)["words"], "nothing is named there"


@pytest.mark.slow
def test_the_scores_of_a_word(file):
    bundle, untrained = zoo.load(file), zoo.load(file, weights="random")
    line = score_scene(bundle, untrained, 0)
    scene = scenes.draw_scene(scenes.UNSEEN)
    said, thing = line["words"][2], scene.objects[1]
    assert said["word"] == thing.colour and said["kind"] == "colour"
    assert said["box"]["centre"] == float(scenes.inside_box(48, 48, thing.box))
    words = scene.caption.split()
    assert words[said["place"]] == thing.colour
    word, images = bundle.word(words, said["place"]), bundle.prepare(scene.image)
    trace = trace_word(bundle.net, images, bundle.tokens, word)
    assert set(said["methods"]) == set(METHODS)
    for name, found in said["methods"].items():
        if name != "random_map":
            row, column = divmod(int(explain(trace, name)[0].argmax()), 6)
            hit = scenes.inside_box(16 * column + 8, 16 * row + 8, thing.box)
            assert found["pointing"] == float(hit), name
    for found in said["methods"].values():
        assert 0 <= found["iou"] <= 1 and -1 <= found.get("untrained", 0) <= 1
    maps = explain(trace, "chefer")
    gone = deletion(NextWord(bundle.net, word.before), images, maps, word.number, bundle.tokens)
    assert said["methods"]["chefer"]["deletion"] == pytest.approx(float(gone.area), abs=1e-5)


def test_what_it_cannot_measure_is_a_sentence(file, capsys):
    assert main([*run(file), "--data", str(file.parent)]) == 1
    assert "no --data" in capsys.readouterr().err
    net = captioner()
    card = {
        "task": "caption",
        "config": config_as_dict(net.config),
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    checkpoints.save_checkpoint(net, file.parent / "other.safetensors", card)
    assert main(["attribution", str(file.parent / "other.safetensors")]) == 1
    assert "does not describe drawn scenes" in capsys.readouterr().err


def test_a_classifier_wants_a_folder(capsys):
    assert main(["attribution", zoo.names()[0]]) == 1
    assert "--data" in capsys.readouterr().err
