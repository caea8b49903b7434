"""The course of training: weights at chosen moments."""

import dataclasses

import pytest
import torch

from model import snapshots
from model.errors import CheckpointError
from model.nets.vit import build
from model.snapshots import SnapshotRecorder, course_moments, open_course
from model.training import loop
from model.training.__main__ import main
from model.zoo import checkpoints
from tests.model.training.test_main import command, folder  # noqa: F401

CARD = {"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}}


def tiny():
    torch.manual_seed(0)
    return build("vit", img_size=8, patch_size=4, dim=8, depth=1, heads=2, num_classes=2)


def test_each_moment_has_the_weights_of_its_time(tmp_path):
    net = tiny()
    recorder, seen = SnapshotRecorder(net, tmp_path / "a.safetensors", [0, 0.5, 2]), {}
    seen[0.0] = net.head.weight.detach().clone()
    for step in range(1, 9):  # four steps an epoch
        with torch.no_grad():
            net.head.weight += 1
        recorder.see(step / 4)
        seen[step / 4] = net.head.weight.detach().clone()
    card = recorder.finish(CARD)
    course = open_course(recorder.file)
    assert course.moments == (0.0, 0.5, 2.0) and card.config == dataclasses.asdict(net.config)
    for index, moment in enumerate(course.moments):
        assert torch.equal(course.net_at(index).head.weight, seen[moment].half().float())
    images = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(course.net_at(2)(images), net.eval()(images), atol=1e-2, rtol=1e-2)


def test_moments_double():
    assert course_moments(1) == (0.0, 0.25, 1.0)
    assert course_moments(8) == (0.0, 0.25, 1.0, 2.0, 4.0, 8.0)
    assert course_moments(9)[-2:] == (8.0, 9.0)
    for wrong in ([], [1, 0], [0, 0], [-1, 2]):
        with pytest.raises(ValueError, match="rising"):
            SnapshotRecorder(tiny(), "x.safetensors", wrong)


def test_resumed_and_unbroken_runs_give_the_same_files(folder, monkeypatch):  # noqa: F811
    wanted = ["--device", "cpu", "--snapshots", "--set", "epochs=4"]
    file = folder / "out" / "snapshots" / "tiny.safetensors"
    assert main(command(folder, *wanted)) == 0
    whole, card = file.read_bytes(), open_course(file).card
    file.unlink()

    save = loop.TrainingRun.save

    def stop(run, state):
        save(run, state)
        if run.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "save", stop)
        assert main(command(folder, *wanted)) == 130
    assert snapshots._read_moments(file) == [0.0, 0.25, 1.0, 2.0]
    assert main(command(folder, *wanted, "--resume")) == 0
    assert file.read_bytes() == whole
    course = open_course(file)
    assert course.moments == (0.0, 0.25, 1.0, 2.0, 4.0)
    assert course.card.command == card.command and "--snapshots" in card.command

    shipped, _ = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    for name, tensor in course.net_at(4).state_dict().items():
        assert torch.equal(tensor, shipped.state_dict()[name])


def test_snapshots_that_are_gone_or_damaged_are_sentences(tmp_path):
    net = tiny()
    recorder = SnapshotRecorder(net, tmp_path / "a.safetensors", [0, 1, 2])
    recorder.see(1)
    with pytest.raises(CheckpointError, match="no weights after 2 epochs"):
        recorder.go_on(2)
    recorder.finish(CARD)
    recorder.file.write_bytes(recorder.file.read_bytes()[:-2] + b"ab")
    with pytest.raises(CheckpointError, match="sha256"):
        open_course(recorder.file)
    checkpoints.save_checkpoint(
        net, tmp_path / "b.safetensors", CARD | {"task": "classify", "config": {}}
    )
    with pytest.raises(CheckpointError, match="does not list the moments"):
        open_course(tmp_path / "b.safetensors")
