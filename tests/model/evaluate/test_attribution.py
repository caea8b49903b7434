"""The command that scores every method over a data set, on a small net and four pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from model import zoo
from model.attribution.registry import METHODS, explain
from model.attribution.trace import trace_class
from model.datasets import pictures
from model.evaluate.__main__ import main
from model.evaluate.attribution import format_table, photos_of, score_photo
from model.evaluate.attribution_scores import Photo, _box_in_frame
from model.nets.vit import build
from model.zoo import checkpoints


@pytest.fixture
def case(tmp_path):
    """A checkpoint and a data set of four pictures with boxes."""
    torch.manual_seed(0)
    net = build("vit", img_size=32, patch_size=8, dim=16, depth=2, heads=2, num_classes=3)
    card = {
        "name": "tiny",
        "task": "classify",
        "config": asdict(net.config),
        "classes": ["cat", "dog", "cup"],
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    checkpoints.save_checkpoint(net, tmp_path / "tiny.safetensors", card)
    np.savez(
        tmp_path / "test.npz",
        images=np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        labels=np.array([0, 1, 2, 1], np.int16),
        classes=np.array(["cat", "dog", "cup"]),
        boxes=np.array([[0, 0, 31, 31], [8, 8, 23, 23], [0, 0, 7, 7], [4, 0, 20, 9]], np.int16),
    )
    return tmp_path


def run(case, *more: str) -> list[str]:
    return [
        "attribution",
        str(case / "tiny.safetensors"),
        "--data",
        str(case),
        "--out",
        str(case / "scores.jsonl"),
        *more,
    ]


def test_what_a_net_keeps_of_its_first_pass_serves_the_next(case):
    """As BEiT of transformers keeps where its relative positions lie."""
    bundle, random = zoo.load(case / "tiny.safetensors"), zoo.load(case / "tiny.safetensors")
    kept = {}

    def keep(net, inputs):
        if net not in kept:
            kept[net] = torch.ones(1)
        return (inputs[0] * kept[net],)

    for net in (bundle.net, random.net):
        net.register_forward_pre_hook(keep)
    photo = photos_of(pictures.read_split(case, "test"))[0]
    assert score_photo(bundle, random, photo, "prediction", 0)["methods"]


def test_it_goes_on_where_it_was_stopped(case, capsys):
    assert main(run(case, "--limit", "2")) == 0
    first = (case / "scores.jsonl").read_text().splitlines()
    assert len(first) == 3
    with (case / "scores.jsonl").open("a") as file:
        file.write('{"photo": 2, "meth')  # stopped in the middle of a line
    assert main(run(case, "--limit", "4")) == 0
    lines = (case / "scores.jsonl").read_text().splitlines()
    assert lines[:3] == first
    assert [json.loads(line)["photo"] for line in lines[1:]] == [0, 1, 2, 3]
    printed = capsys.readouterr().out.splitlines()
    summary = json.loads(printed[-1])
    assert summary["photos"] == 4 and list(summary["methods"]) == list(METHODS)
    assert summary == json.loads((case / "scores.json").read_text())
    assert "| chefer |" in (case / "scores.md").read_text()
    chance = (1 + 0.25 + 1 / 16 + 17 * 10 / 1024) / 4
    assert summary["pointing_chance"] == pytest.approx(chance, abs=1e-4)
    means = [json.loads(line)["methods"]["chefer"]["deletion"] for line in lines[1:]]
    assert summary["methods"]["chefer"]["deletion"] == pytest.approx(np.mean(means), abs=1e-4)


def test_a_file_of_another_run_is_a_sentence(case, capsys):
    assert main(run(case, "--limit", "1")) == 0
    assert main(run(case, "--limit", "1", "--target", "label")) == 1
    assert "another run" in capsys.readouterr().err


def test_the_scores_of_a_photo(case):
    bundle = zoo.load(case / "tiny.safetensors")
    untrained = zoo.load(case / "tiny.safetensors", weights="random")
    photos = photos_of(pictures.read_split(case, "test"))
    line = score_photo(bundle, untrained, photos[1], "label", 0)
    assert line["class"] == 1 and line["box"] == {"chance": 0.25, "centre": 1.0}
    trace = trace_class(bundle.net, bundle.prepare(photos[1].image), bundle.tokens, 1)
    for name, scores in line["methods"].items():
        row, column = divmod(int(explain(trace, name)[0].argmax()), 4)
        assert scores["pointing"] == float(row in (1, 2) and column in (1, 2))
        assert 0 <= scores["deletion"] <= 1 and 0 <= scores["iou"] <= 1
    assert line["methods"]["random_map"]["untrained"] == pytest.approx(1)


def test_a_box_is_cut_to_what_the_model_sees(case):
    from PIL import Image

    bundle = zoo.load(case / "tiny.safetensors")
    wide = Image.new("RGB", (64, 32))  # the model sees columns 16 to 47
    box, size = _box_in_frame(bundle, Photo(wide, "cat", (0, 4, 20, 9)))
    assert box.tolist() == [[0, 4, 4, 9]] and size == (32, 32)
    assert _box_in_frame(bundle, Photo(wide, "cat", (0, 0, 10, 10))) is None
    assert _box_in_frame(bundle, Photo(wide, "cat", None)) is None


def test_a_box_is_cut_where_the_patches_end(case):
    from PIL import Image

    bundle = zoo.load(case / "tiny.safetensors")
    patches = replace(bundle.tokens, grid=(3, 3))
    bundle = replace(bundle, tokens=patches)  # of 32 pixels, a rim of 8 is left out
    photo = Image.new("RGB", (64, 64))
    box, size = _box_in_frame(bundle, Photo(photo, "cat", (40, 10, 60, 63)))
    assert box.tolist() == [[40, 10, 47, 47]] and size == (48, 48)
    assert _box_in_frame(bundle, Photo(photo, "cat", (50, 10, 60, 20))) is None


def test_the_table_leaves_out_what_is_not_known():
    summary = {
        "photos": 1,
        "data": "photos",
        "target": "prediction",
        "model": "tiny",
        "pass_milliseconds": 1.5,
        "methods": {"chefer": {"deletion": 0.25}, "rollout": {"milliseconds": 12.34}},
    }
    text = format_table(summary)
    assert "| chefer | 0.250 |  |" in text and "| rollout |  | 12.3 |" in text
    assert "pointing" not in text
