"""Attribution and interventions in shards, in processes, on Ray: the same numbers to the bit."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import zoo
from model.datasets import pictures
from model.errors import SurveyError
from model.evaluate.__main__ import main
from model.evaluate.attribution import photos_of, score_photo
from model.evaluate.needed import need_of_heads, need_of_patches
from model.evaluate.photo_lines import PhotoLines
from model.nets.vit import build
from model.survey.fingerprint import Fingerprint
from model.zoo import checkpoints
from tests.model.survey.test_kill import children

ROOT = Path(__file__).parents[3]
PHOTOS = 5
PRINT = Fingerprint("w", "d", 0, 1, 0, 1, "CPU", 0, ("made up",), ("torch 1",))


@pytest.fixture(autouse=True)
def _one_thread():
    """--threads sets the threads of this process; one gives the bits that processes give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A checkpoint, and a data set of a few pictures with boxes."""
    folder = tmp_path_factory.mktemp("case")
    torch.manual_seed(0)
    net = build("vit", img_size=32, patch_size=8, dim=16, depth=2, heads=2, num_classes=3)
    card = {
        "name": "tiny",
        "task": "classify",
        "config": asdict(net.config),
        "classes": ["cat", "dog", "cup"],
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    checkpoints.save_checkpoint(net, folder / "tiny.safetensors", card)
    chance = np.random.default_rng(0)
    np.savez(
        folder / "test.npz",
        images=chance.integers(0, 256, (PHOTOS, 32, 32, 3), dtype=np.uint8),
        labels=np.array([0, 1, 2, 1, 0], np.int16),
        classes=np.array(["cat", "dog", "cup"]),
        boxes=np.array([[0, 0, 31, 31], [8, 8, 23, 23], [0, 0, 7, 7]] * 2, np.int16)[:PHOTOS],
    )
    return folder


@pytest.fixture(scope="module")
def loop(case):
    """The lines of each measure, by plain loops over its functions."""
    torch.set_num_threads(1)
    bundle = zoo.load(case / "tiny.safetensors")
    untrained = zoo.load(case / "tiny.safetensors", weights="random")
    photos = photos_of(pictures.read_split(case, "test"))
    found = {"attribution": [], "needed": []}
    for number, photo in enumerate(photos):
        images, named = bundle.prepare(photo.image), {"photo": number}
        scores = score_photo(bundle, untrained, photo, "prediction", number)
        heads = need_of_heads(bundle, images)
        patches = need_of_patches(bundle, images, "mean", number)
        found["attribution"].append(named | scores)
        found["needed"].append(named | {"heads": heads, "patches": patches})
    return {kind: without_times(lines) for kind, lines in found.items()}


def without_times(lines):
    """Leave out milliseconds, which no two runs share, and compare texts: NaN equals NaN."""
    if isinstance(lines, dict):
        kept = {k: without_times(v) for k, v in lines.items() if "milliseconds" not in k}
        return dict(sorted(kept.items()))
    return [json.dumps(without_times(line)) for line in lines] if type(lines) is list else lines


def run(case, kind, out, *more):
    given = [kind, str(case / "tiny.safetensors"), "--data", str(case), "--out", str(out)]
    return main([*given, *more])


def lines_in(file):
    return without_times([json.loads(line) for line in file.read_text().splitlines()[1:]])


@pytest.mark.parametrize("kind", ["attribution", "needed"])
def test_shards_merged_in_any_order_are_one_pass_and_a_plain_loop(
    case, loop, kind, tmp_path, capsys
):
    assert run(case, kind, tmp_path / "one.jsonl", "--threads", "1") == 0
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert lines_in(tmp_path / "one.jsonl") == loop[kind]
    for part in (1, 2, 3):
        more = ("--threads", "1", "--shard", f"{part}/3")
        assert run(case, kind, tmp_path / f"{part}.jsonl", *more) == 0
    parts = [str(tmp_path / f"{part}.jsonl") for part in (3, 1, 2)]
    capsys.readouterr()
    assert main(["merge", *parts, "--out", str(tmp_path / "all.jsonl")]) == 0
    merged = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert lines_in(tmp_path / "all.jsonl") == loop[kind]
    assert without_times(merged) == without_times(whole) and merged["photos"] == PHOTOS
    assert (tmp_path / "all.md").exists() == (kind == "attribution")

    assert main(["merge", *parts, parts[0], "--out", str(tmp_path / "twice.jsonl")]) == 1
    assert "added already (1 of them, the first is number 2)" in capsys.readouterr().err
    assert run(case, kind, tmp_path / "one.jsonl", "--threads", "2") == 1
    assert "the threads of a process" in capsys.readouterr().err
    (tmp_path / "one.jsonl").write_text('{"model": "tiny"}\n')
    assert run(case, kind, tmp_path / "one.jsonl") == 1
    assert "earlier version" in capsys.readouterr().err
    assert main(["merge", str(tmp_path / "no.jsonl"), "--out", str(tmp_path / "all.jsonl")]) == 1
    assert "There is no file" in capsys.readouterr().err


def test_a_full_disk_keeps_what_was_saved(case, loop, tmp_path, capsys, monkeypatch):
    out = tmp_path / "one.jsonl"
    assert run(case, "needed", out, "--threads", "1", "--limit", "2") == 0

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model.evaluate.photo_lines.os.fsync", full)
    assert run(case, "needed", out, "--threads", "1") == 1
    assert "The disk is full. What was saved before is kept" in capsys.readouterr().err
    assert lines_in(out) == loop["needed"][:2]


def test_processes_give_the_lines_of_one_pass(case, loop, tmp_path):
    assert run(case, "attribution", tmp_path / "two.jsonl", "--workers", "2") == 0
    assert lines_in(tmp_path / "two.jsonl") == loop["attribution"]


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(9)), st.lists(st.integers(0, 2), min_size=9))
def test_lines_of_any_workers_in_any_order_are_the_lines_of_one_pass(order, worker_of):
    parts = [PhotoLines({"model": "m"}, PRINT) for _ in range(3)]
    for number in order:
        line = PhotoLines({"model": "m"}, PRINT, {number: {"photo": number, "value": number / 7}})
        parts[worker_of[number]].merge(line)
    parts[1].merge(parts[2])
    parts[1].merge(parts[0])
    assert parts[1].first(9) == [{"photo": n, "value": n / 7} for n in range(9)]
    assert [line["photo"] for line in parts[1].first(4)] == [0, 1, 2, 3]


def test_lines_made_otherwise_are_refused_in_a_sentence():
    own = PhotoLines({"model": "m", "hide": "mean"}, PRINT)
    with pytest.raises(SurveyError, match="hide is blur there and mean here"):
        own.merge(PhotoLines({"model": "m", "hide": "blur"}, PRINT), "b.jsonl")
    with pytest.raises(SurveyError, match="versions of the libraries differ, torch 2 there"):
        own.merge(PhotoLines(own.head, replace(PRINT, versions=("torch 2",))))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["the run", "a worker", "a Ray worker"])
def test_kill_9_in_the_middle_changes_nothing(case, tmp_path, how):
    np.savez(
        tmp_path / "test.npz",
        images=np.random.default_rng(1).integers(0, 256, (80, 32, 32, 3), dtype=np.uint8),
        labels=np.zeros(80, np.int16),
        classes=np.array(["cat", "dog", "cup"]),
    )
    out, one = tmp_path / "killed.jsonl", tmp_path / "one.jsonl"
    given = ["needed", str(case / "tiny.safetensors"), "--data", str(tmp_path)]
    assert main([*given, "--out", str(one), "--threads", "1"]) == 0
    save_often = (
        "import sys; from model.survey import gathering; from model.evaluate import __main__; "
        "gathering.SAVED_EVERY = 0.05; sys.exit(__main__.main(sys.argv[1:]))"
    )
    more = ["--ray"] if how == "a Ray worker" else []
    command = [sys.executable, "-c", save_often, *given, "--out", str(out), "--workers", "2", *more]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (out.is_file() and len(out.read_text().splitlines()) > 5):
        assert process.poll() is None and time.monotonic() < end, "nothing was saved"
        time.sleep(0.02)
    name = {"a worker": "spawn_main", "a Ray worker": "ray::MapWorker"}.get(how)
    if name is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(PhotoLines.load(out).lines) < 80
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    else:
        os.kill(children(process.pid, name)[0], signal.SIGKILL)
    assert process.wait(240) == 0
    assert out.read_text() == one.read_text()
