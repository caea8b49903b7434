import json

import numpy as np
import pytest
import torch

from model import checkpoints, scenes, zoo
from model.captioner import END, PAD, SPECIAL, START, UNKNOWN
from model.captions import CaptionBundle
from model.evaluate import caption as evaluate
from model.evaluate.__main__ import main as evaluation
from model.training import caption_data, captioning, packed, recipe
from model.training.__main__ import main
from model.training.split import DataError, Split

SMALL = (
    "pictures=64",
    "batch=16",
    "encoder.depth=1",
    "encoder.stem=[8,8,8]",
    "encoder.patch_size=8",
    "decoder.dim=16",
)


def small(name="scenes-captioner", *changes):
    return recipe.load(name, [*SMALL, *changes])


def test_ids_of_captions():
    vocabulary = (*SPECIAL, "a", "dog")
    inputs, outputs = caption_data.as_ids(["A dog.", "a a cat"], vocabulary, 3)
    assert inputs.tolist() == [[START, 4, 5, PAD], [START, 4, 4, UNKNOWN]]
    assert outputs.tolist() == [[4, 5, END, PAD], [4, 4, UNKNOWN, END]]
    cut, _ = caption_data.as_ids(["a dog a dog a"], vocabulary, 2)
    assert cut.tolist() == [[START, 4, 5]]
    assert caption_data.as_ids(["<pad> dog"], vocabulary, 3)[0].tolist() == [[START, UNKNOWN, 5]]


def test_every_epoch_draws_other_scenes_and_none_of_the_tests():
    data = caption_data.DrawnScenes(10)
    images, texts = data.batch(2, [0, 3])
    assert images.shape == (2, 3, scenes.SIDE, scenes.SIDE) and images.dtype == torch.uint8
    scene = scenes.draw(23)
    assert texts[1] == scene.caption
    assert np.array_equal(images[1].permute(1, 2, 0).numpy(), np.asarray(scene.image))
    assert 10**6 * len(data) < caption_data.UNSEEN and caption_data.UNSEEN == evaluate.UNSEEN


@pytest.mark.parametrize("name", recipe.names("caption"))
def test_shipped_recipes_take_a_step(name):
    r = recipe.load(name, ["epochs=1", "batch=2"])
    torch.manual_seed(0)
    data = caption_data.Photos(torch.zeros(4, 3, 160, 160, dtype=torch.uint8), [["a dog"] * 5] * 4)
    if r.pictures:
        data = caption_data.DrawnScenes(2)
    run = captioning._Run(captioning.build(r, data, captioning.Path()), data, data, r, "cpu")
    assert min(run.net.tokens.grid) >= 8
    loss, _ = run._learn(*data.batch(0, [0, 1]))
    assert np.isfinite(loss)


def test_loss_and_accuracy_leave_padding_out():
    logits = torch.randn(1, 3, 6)
    outputs = torch.tensor([[4, END, PAD]])
    expected = -logits.log_softmax(-1)[0, [0, 1], [4, END]].mean()
    assert torch.allclose(captioning.word_loss(logits, outputs), expected)
    logits[0, 0, 4], logits[0, 1, 5] = 10, 10
    assert captioning.word_accuracy(logits, outputs) == 0.5


def test_an_interrupted_run_ends_the_same(tmp_path):
    def run(state, *stops):
        for epochs in stops:
            r = small(
                "scenes-captioner",
                f"epochs={epochs}",
                "schedule.name=constant",
                "schedule.warmup=0.0",
            )
            torch.manual_seed(0)
            data, test = captioning.read(r, None, 64)
            net = captioning.build(r, data, tmp_path)
            net, curve = captioning.train(net, data, test, r, "cpu", state, resume=True)
        return net, curve

    whole, curve = run(tmp_path / "a", 2)
    parts, again = run(tmp_path / "b", 1, 2)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [row["loss"] for row in curve] == [row["loss"] for row in again]
    assert set(curve[-1]) >= {"test_loss", "test_accuracy", "test_exact", "images_per_second"}


def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    changes = [word for change in (*SMALL, "epochs=1") for word in ("--set", change)]
    out = tmp_path / "mine.safetensors"
    words = ["scenes-recurrent", "--out", str(out), "--limit", "32", "--device", "cpu", *changes]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["name"] == "mine" and printed["test_scenes"] == 32
    bundle = zoo.load("mine")
    assert isinstance(bundle, CaptionBundle) and zoo.names("caption") == ["mine"]
    assert bundle.card["command"].startswith("python -m model.training scenes-recurrent --out")
    assert bundle.card["metrics"]["captions_right"] == printed["captions_right"]

    assert evaluation(["caption", "mine", "--limit", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["test_scenes"] == 3
    assert zoo.load("mine").card["metrics"]["test_scenes"] == 32


def test_what_cannot_be_evaluated(capsys):
    assert evaluation(["caption", "cifar10"]) == 1
    assert "classify" in capsys.readouterr().err
    assert evaluation(["caption", "no-such"]) == 1
    assert "no-such.safetensors" in capsys.readouterr().err


class Perfect:
    """Says what is there, and looks at the middle of each object."""

    tokens = captioning.captioner.CaptionerConfig(
        encoder={"img_size": 96, "patch_size": 8, "num_classes": 0}
    ).tokens

    def caption(self, image, beams=1):
        scene = next(s for s in map(scenes.draw, range(5)) if s.image.tobytes() == image.tobytes())
        words = scene.caption.split()
        maps = np.zeros((1, len(words), self.tokens.tokens), np.float32)
        for word, number, _ in scenes.naming(words, scene):
            left, top, right, bottom = scene.objects[number].box
            place = self.tokens.index_of((top + bottom) // 16, (left + right) // 16)
            maps[0, word, place] = 1
        from model.captions import Caption

        return Caption(words, scene.caption, np.zeros(len(words)), [], [maps], [])


def test_a_perfect_captioner_is_right_and_points():
    figures = evaluate.scenes_figures(Perfect(), 5, first=0)
    assert figures["captions_right"] == 1
    assert [figures[f"pointing_{kind}"] for kind in scenes.KINDS] == [1, 1, 1]
    boxes = [
        (b[2] - b[0]) * (b[3] - b[1]) / 96**2
        for s in map(scenes.draw, range(5))
        for b in [thing.box for thing in s.objects]
    ]
    assert figures["pointing_chance"] == pytest.approx(np.mean(boxes), abs=1e-4)


@pytest.fixture
def folder(tmp_path):
    for name in ("train", "val"):
        pictures = torch.randint(0, 256, (6, 3, 160, 160), dtype=torch.uint8)
        split = Split(pictures, torch.zeros(6, dtype=torch.long), ("photo",))
        packed.write(tmp_path / f"{name}.npz", split, torch.arange(6))
        captions = [[f"A dog, number {i}!", "a cat"] for i in range(6)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"captions": captions}))
    return tmp_path


def test_photos_with_captions(folder):
    data = caption_data.read_photos(folder, "train")
    assert len(data) == 6 and data.images.shape == (6, 3, 160, 160)
    assert data.words(rarest=6) == ["a", "dog", "number", "cat"]
    _, first = data.batch(0, [0, 1])
    _, second = data.batch(1, [0, 1])
    assert first == ["A dog, number 0!", "a cat"] and second == ["a cat", "A dog, number 1!"]
    assert len(caption_data.read_photos(folder, "train", limit=2)) == 2


def test_photos_without_captions(folder):
    (folder / "train.json").write_text("{}")
    with pytest.raises(DataError, match=r"train\.json"):
        caption_data.read_photos(folder, "train")
    with pytest.raises(DataError, match="--data"):
        captioning.read(recipe.load("flickr8k-captioner"), None, None)


def test_an_encoder_is_taken_over(tmp_path, folder):
    from model.vit import build

    r = recipe.load("flickr8k-captioner", ["start=photos"])
    data, _ = captioning.read(r, folder, None)
    torch.manual_seed(1)
    config = {"cls_token": False, "pool": "mean", "num_classes": 7} | r.encoder
    trained = build("vit", **config)
    card = {"task": "classify", "config": config}
    checkpoints.save(trained, tmp_path / "photos.safetensors", card)
    net = captioning.build(r, data, tmp_path)
    half = trained.blocks[0].mlp.fc1.weight.half().float()
    assert torch.equal(net.encoder.blocks[0].mlp.fc1.weight, half)
