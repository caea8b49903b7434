"""The command that measures which heads and patches answers need, on a small net."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import torch

from model import zoo
from model.datasets import pictures
from model.evaluate.__main__ import main
from model.evaluate.attribution import photos_of
from model.intervention import intervene
from model.nets.vit import build
from model.zoo import checkpoints


def test_each_photo_is_measured_once_and_the_run_goes_on_where_it_stopped(tmp_path, capsys):
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
        images=np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8),
        labels=np.array([0, 1, 2], np.int16),
        classes=np.array(["cat", "dog", "cup"]),
    )
    name, out = str(tmp_path / "tiny.safetensors"), tmp_path / "needed.jsonl"
    run = ["needed", name, "--data", str(tmp_path), "--out", str(out)]
    assert main([*run, "--limit", "2"]) == 0
    first = out.read_text().splitlines()
    assert main(run) == 0
    lines = out.read_text().splitlines()
    assert lines[:3] == first and len(lines) == 4
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["photos"] == 3 and found["correlation_with_occlusion"]["random_map"] is not None

    bundle = zoo.load(name)
    changed = []
    for photo in photos_of(pictures.read_split(tmp_path, "test")):
        images = bundle.prepare(photo.image)
        with torch.no_grad():
            answer = bundle.net(images).argmax()
            for head in range(4):
                with intervene(bundle.net, heads_off={head // 2: [head % 2]}):
                    changed.append(float(bundle.net(images).argmax() != answer))
    assert found["changed_without_random_head"] == round(sum(changed) / 12, 4)
