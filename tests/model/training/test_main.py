import dataclasses
import json

import numpy as np
import pytest
import torch

from model.datasets import pictures
from model.errors import TrainingError
from model.evaluate.predictions import predict
from model.nets.vit import VisionTransformer, build
from model.training import ancestors, distillation, loop, recipe, shipping
from model.training.__main__ import main
from model.zoo import cards, checkpoints

TINY = """
title = "Tiny"
epochs = 2
batch = 8
weak_at = "Everything."
[data]
name = "Noise"
licence = "none"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[model]
preset = "vit"
img_size = 8
patch_size = 4
num_classes = 2
dim = 16
depth = 1
heads = 2
"""


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name, count in (("train", 24), ("test", 10)):
        labels = random.integers(0, 2, count)
        images = random.integers(0, 128, (count, 8, 8)) + 127 * labels[:, None, None]
        images = images.astype(np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels, classes=["a", "b"])
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def command(folder, *more):
    out = str(folder / "out" / "tiny.safetensors")
    return [str(folder / "tiny.toml"), "--data", str(folder), "--out", out, *more]


def test_trains_and_ships_the_measured_file(folder, capsys):
    assert main(command(folder, "--set", "epochs=3", "--device", "cpu")) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    net, card = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    assert card.epochs == len(card.curve) == 3
    assert card.command.endswith("--out checkpoints/tiny.safetensors --set epochs=3")
    assert str(folder) not in json.dumps(card.as_dict())
    assert card.classes == ["a", "b"]
    assert (card.metrics["training_pictures"], card.metrics["test_pictures"]) == (24, 10)
    assert card.parameters == sum(p.numel() for p in net.parameters())

    test = pictures.read_split(folder, "test")
    logits = predict(net, test, recipe.load_recipe(str(folder / "tiny.toml")).data, "cpu")
    accuracy = (logits.argmax(1) == test.labels).float().mean().item()
    assert summary["test_accuracy"] == card.metrics["test_accuracy"] == pytest.approx(accuracy)
    assert {f.name for f in (folder / "out").iterdir()} == {
        "tiny.safetensors",
        "tiny.json",
        "tiny.log.jsonl",
    }
    log = (folder / "out" / "tiny.log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in log] == card.curve


def test_an_unfinished_run_is_not_overwritten_but_resumed(folder, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "save", _save_and_stop(loop.TrainingRun.save))
        assert main(command(folder, "--device", "cpu")) == 130
    assert "--resume" in capsys.readouterr().err
    assert main(command(folder, "--device", "cpu")) == 1
    assert "is an unfinished run. Add --resume" in capsys.readouterr().err
    assert main(command(folder, "--device", "cpu", "--resume")) == 0
    resumed, _ = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")

    capsys.readouterr()
    assert main(command(folder, "--device", "cpu")) == 0
    assert "the end of this run replaces it" in capsys.readouterr().err
    whole, _ = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    for a, b in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def _save_and_stop(save):
    def stop(self, *files):
        save(self, *files)
        raise KeyboardInterrupt

    return stop


def test_a_recipe_goes_on_with_another_ones_weights(folder, capsys):
    assert main(command(folder, "--device", "cpu")) == 0
    (folder / "further.toml").write_text(
        'start = "tiny"\n' + TINY + '[optimiser]\nname = "sgd"\nlr = 0.0\n'
    )
    out = folder / "out" / "further.safetensors"
    further = [str(folder / "further.toml"), "--data", str(folder), "--out", str(out)]
    assert main([*further, "--device", "cpu"]) == 0
    began, known = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    ended, card = checkpoints.load_checkpoint(out)
    for a, b in zip(began.parameters(), ended.parameters(), strict=True):
        assert torch.equal(a, b)
    assert card.commands_first == [known.command] and card.note is None

    capsys.readouterr()
    assert main([*further, "--device", "cpu", "--set", "model.depth=2"]) == 1
    error = capsys.readouterr().err
    assert (
        "another model than the recipe further describes under [model]. Not the same: depth."
        in error
    )
    (folder / "out" / "tiny.safetensors").unlink()
    assert main([*further, "--device", "cpu"]) == 1
    assert "needs tiny.safetensors, which is not in" in capsys.readouterr().err


def test_another_number_of_classes_gets_a_head_of_its_own(folder):
    """The weights come along, the head begins anew."""
    assert main(command(folder, "--device", "cpu")) == 0
    began, _ = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    other = dataclasses.replace(began.config, num_classes=5, drop_path=0.1)
    net = VisionTransformer(other)
    head = net.head.weight.clone()
    going_on = recipe.load_recipe(str(folder / "tiny.toml"), ['start="tiny"'])
    ancestors.load_start(net, going_on, folder / "out")
    assert torch.equal(net.head.weight, head) and net.head.weight.shape[0] == 5
    assert all(
        torch.equal(part, net.state_dict()[name])
        for name, part in began.state_dict().items()
        if not name.startswith("head.")
    )


def test_a_recipe_learns_the_answers_of_teachers(folder, capsys):
    assert main(command(folder, "--device", "cpu")) == 0
    (folder / "taught.toml").write_text('teachers = ["tiny"]\n' + TINY)
    out = folder / "out" / "taught.safetensors"
    taught = [str(folder / "taught.toml"), "--data", str(folder), "--out", str(out)]
    assert main([*taught, "--device", "cpu"]) == 0
    _, known = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    assert cards.read_card(out).commands_first == [known.command]
    alone = folder / "out" / "alone.safetensors"
    assert main([*taught[:-1], str(alone), "--device", "cpu", "--set", "teachers=[]"]) == 0
    pairs = zip(
        *(checkpoints.load_checkpoint(f)[0].parameters() for f in (out, alone)), strict=True
    )
    assert not all(torch.equal(a, b) for a, b in pairs)  # the labels were not what it learned

    capsys.readouterr()
    assert main([*taught, "--device", "cpu", "--set", "data.mean=[0.4, 0.5, 0.5]"]) == 1
    assert "sees other pictures than the recipe taught" in capsys.readouterr().err
    assert main([*taught, "--device", "cpu", "--set", 'teachers=["nobody"]']) == 1
    assert "needs nobody.safetensors, which is not in" in capsys.readouterr().err
    assert main([*taught[:-1], str(folder / "out" / "tiny.safetensors"), "--device", "cpu"]) == 1
    assert "needs tiny.safetensors itself, so it cannot write there" in capsys.readouterr().err
    checkpoints.save_checkpoint(*_with_classes(folder, ["b", "a"]))
    assert main([*taught, "--device", "cpu"]) == 1
    assert "has other classes than the data" in capsys.readouterr().err


def test_a_start_that_does_not_fit_is_a_sentence(folder, capsys):
    assert main(command(folder, "--device", "cpu")) == 0
    file = folder / "out" / "tiny.safetensors"
    net, card = checkpoints.load_checkpoint(file)
    (folder / "further.toml").write_text('start = "tiny"\n' + TINY)
    out = str(folder / "out" / "further.safetensors")
    further = [str(folder / "further.toml"), "--data", str(folder), "--out", out]
    capsys.readouterr()
    assert main([*further, "--device", "cpu", "--set", "model.num_classes=0"]) == 1
    assert "makes a model of 0 classes" in capsys.readouterr().err
    assert main([*further, "--device", "cpu", "--set", "model.dropout=0.1"]) == 0
    checkpoints.save_checkpoint(net, file, card.without(["command"]))
    capsys.readouterr()
    assert main([*further, "--device", "cpu"]) == 1
    assert "does not say by which command tiny was made" in capsys.readouterr().err


def test_a_captioner_is_no_start_of_a_classifier(folder):
    going_on = recipe.load_recipe(str(folder / "tiny.toml"), ['start="scenes-captioner"'])
    net = build("vit", img_size=8, patch_size=4, dim=16, depth=1, heads=2)
    with pytest.raises(TrainingError, match="Not the same: the kind of model"):
        ancestors.load_start(net, going_on, checkpoints.DIRECTORY)


def test_a_card_lists_all_that_is_to_be_trained_first(tmp_path):
    for name, told in {
        "a": {},
        "b": {"commands_first": ["make a"], "note": "Cut short."},
        "c": {"commands_first": ["make d", "make a"]},
    }.items():
        card = {"task": "classify", "config": {}, "sha256": "", "command": f"make {name}"}
        (tmp_path / f"{name}.json").write_text(json.dumps(card | told))
    assert ancestors.describe_ancestors(["a"], tmp_path) == {"commands_first": ["make a"]}
    assert ancestors.describe_ancestors(["b", "c"], tmp_path, "Own.") == {
        "commands_first": ["make a", "make b", "make d", "make c"],
        "note": "Own. b: Cut short.",
    }
    card = {"command": "make e", "note": f"Longer. {ancestors.DIFFERENT}"}
    card |= {"task": "classify", "config": {}, "sha256": ""}
    (tmp_path / "e.json").write_text(json.dumps(card))
    note = ancestors.describe_ancestors(["e"], tmp_path, f"Shorter. {ancestors.DIFFERENT}")["note"]
    assert note == f"Shorter. e: Longer. {ancestors.DIFFERENT}"


def test_a_teacher_of_a_preset_need_not_say_its_size(folder):
    """The size of the pictures is the model's, wherever the recipe has it from."""
    assert main(command(folder, "--device", "cpu")) == 0
    taught = recipe.load_recipe(str(folder / "tiny.toml"), ['teachers=["tiny"]'])
    net, _ = checkpoints.load_checkpoint(folder / "out" / "tiny.safetensors")
    unsaid = dataclasses.replace(taught, model={"preset": "vit"})
    assert len(distillation.load_teachers(net, unsaid, ["a", "b"], folder / "out")) == 1


def _with_classes(folder, classes):
    file = folder / "out" / "tiny.safetensors"
    net, card = checkpoints.load_checkpoint(file)
    return net, file, card.changed(classes=classes)


def test_a_card_tells_of_a_changed_length():
    def curve(*planned):
        return [{"epoch": i + 1, "epochs": epochs} for i, epochs in enumerate(planned)]

    assert shipping.note_changed_length(curve(3, 3, 3)) == {}
    note = shipping.note_changed_length(curve(9, 9, 4, 5, 5))["note"]
    assert "9, then 4 from epoch 3 on, then 5 from epoch 4 on." in note
    note = shipping.note_changed_length(curve(9, 9, 4, 5, 7, 6))["note"]
    assert "changed 4 times while it ran, between 4 and 9." in note


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing", "--data", ".", "--out", "x"], 'no recipe "nothing"'),
        (["cifar10-narrow", "--data", "/nowhere", "--out", "x"], "no folder /nowhere"),
        (["pack", "/nowhere", "x"], "no folder /nowhere"),
    ],
)
def test_mistakes_are_one_sentence(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--device", "gpu"], "'gpu' is neither cpu nor cuda"),
        (["--limit", "0"], "'0' is not a whole number from 1 on"),
        (["--limit", "-5"], "'-5' is not a whole number"),
    ],
)
def test_a_mistyped_option_is_a_sentence(more, says, capsys):
    with pytest.raises(SystemExit):
        main(["cifar10", "--data", ".", "--out", "x", *more])
    assert says in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_a_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["cifar10", "--data", ".", "--out", "x", "--device", "cuda"])
    assert "torch finds no CUDA device" in capsys.readouterr().err


def test_packs(folder, capsys):
    assert main(["pack", str(folder), str(folder / "packed")]) == 0
    assert set(json.loads(capsys.readouterr().out)["bytes"]) == {"train.npz", "test.npz"}
    assert len(pictures.read_split(folder / "packed")) == 24
