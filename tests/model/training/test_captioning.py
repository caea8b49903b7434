import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from model import zoo
from model.captioning.base import CaptionerConfig
from model.captioning.caption import CaptionBundle
from model.datasets import captions, packed, scenes
from model.datasets.split import Split
from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN
from model.errors import DataError, RecipeError
from model.evaluate import caption as evaluate
from model.evaluate import caption_glance, caption_scores
from model.evaluate.__main__ import main as evaluation
from model.preprocessing import prepare_batch
from model.tokens import TokenLayout
from model.training import caption_runs, captioning, recipe
from model.training.__main__ import main
from model.zoo import cards, checkpoints

SMALL = (
    "pictures=64",
    "batch=16",
    "encoder.depth=1",
    "encoder.stem=[8,8,8]",
    "encoder.patch_size=8",
    "decoder.dim=16",
)

STILL = [  # nothing is left to chance
    f"{part}=0.0"
    for part in (
        *("decoder.dropout", "decoder.attention_dropout"),
        *("encoder.dropout", "encoder.patch_drop", "encoder.drop_path"),
    )
]


def small(name="scenes-captioner", *changes):
    return recipe.load_recipe(name, [*SMALL, *changes])


def test_ids_of_captions():
    vocabulary = (*SPECIAL, "a", "dog")
    inputs, outputs = captions.word_ids(["A dog.", "a a cat"], vocabulary, 3)
    assert inputs.tolist() == [[START, 4, 5, PAD], [START, 4, 4, UNKNOWN]]
    assert outputs.tolist() == [[4, 5, END, PAD], [4, 4, UNKNOWN, END]]
    cut, _ = captions.word_ids(["a dog a dog a"], vocabulary, 2)
    assert cut.tolist() == [[START, 4, 5]]
    assert captions.word_ids(["<pad> dog"], vocabulary, 3)[0].tolist() == [[START, UNKNOWN, 5]]


def test_every_epoch_draws_other_scenes_and_none_of_the_tests():
    data = captions.DrawnScenes(10)
    images, texts = data.batch(2, [0, 3])
    assert images.shape == (2, 3, scenes.SIDE, scenes.SIDE) and images.dtype == torch.uint8
    scene = scenes.draw_scene(23)
    assert texts[1] == scene.caption
    assert np.array_equal(images[1].permute(1, 2, 0).numpy(), np.asarray(scene.image))
    assert 10**6 * len(data) < scenes.TESTING < scenes.TESTING + 10**9 < scenes.UNSEEN


@pytest.mark.parametrize("name", recipe.recipe_names("caption"))
def test_shipped_recipes_take_a_step(name, tmp_path):
    r = recipe.load_recipe(name, ["epochs=1", "batch=2", "rarest=1"])
    torch.manual_seed(0)
    data = captions.CaptionedPhotos(
        torch.zeros(4, 3, 160, 160, dtype=torch.uint8), [["a dog"] * 5] * 4
    )
    if r.pictures:
        data = captions.DrawnScenes(2)
    if r.drawn:
        before = recipe.load_recipe(r.start, ["rarest=1"])
        first = captioning.build_for_recipe(before, data, tmp_path)
        card = captioning.captioner_card(first, r.start, before, [], "")
        checkpoints.save_checkpoint(first, tmp_path / f"{r.start}.safetensors", card)
    run = caption_runs.make_caption_run(
        captioning.build_for_recipe(r, data, tmp_path), data, data, r
    )
    assert run.net.config.memory == "one" or min(run.net.tokens.grid) >= 8
    loss, _ = run.learn_batch([0, 1])
    assert np.isfinite(loss)


def test_loss_and_accuracy_leave_padding_out():
    logits = torch.randn(1, 3, 6)
    outputs = torch.tensor([[4, END, PAD]])
    expected = -logits.log_softmax(-1)[0, [0, 1], [4, END]].mean()
    assert torch.allclose(caption_glance.word_loss(logits, outputs), expected)
    logits[0, 0, 4], logits[0, 1, 5] = 10, 10
    assert caption_glance.word_accuracy(logits, outputs) == 0.5


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "batch", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)]
)
def test_killed_and_resumed_ends_as_if_never_killed(tmp_path, monkeypatch, batch):
    """Killed at that batch: in the first epoch of two a batch each, or as the encoder thaws."""
    r = small("scenes-captioner", "epochs=3", "frozen=1", "batch=32")

    def run(state):
        torch.manual_seed(0)
        data, test = captioning.read_caption_data(r, None, 64)
        net = captioning.build_for_recipe(r, data, tmp_path)
        return caption_runs.train_captioner(net, data, test, r, "cpu", state, resume=True)

    whole, curve = run(tmp_path / "a")
    learn, batches = captioning.CaptionRun.learn_batch, []

    def learn_until_killed(self, *data):
        batches.append(1)
        if len(batches) == batch:
            raise Killed
        return learn(self, *data)

    with monkeypatch.context() as patch:
        patch.setattr(captioning.CaptionRun, "learn_batch", learn_until_killed)
        with pytest.raises(Killed):
            run(tmp_path / "b")
    again, resumed = run(tmp_path / "b")
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [row["loss"] for row in curve] == [row["loss"] for row in resumed]
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
    assert bundle.card.command.startswith("python -m model.training scenes-recurrent --out")
    assert bundle.card.metrics["captions_right"] == printed["captions_right"]

    assert evaluation(["caption", "mine", "--limit", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["test_scenes"] == 3
    assert zoo.load("mine").card.metrics["test_scenes"] == 32


def test_what_cannot_be_evaluated(capsys):
    assert evaluation(["caption", "cifar10"]) == 1
    assert "classify" in capsys.readouterr().err
    assert evaluation(["caption", "no-such"]) == 1
    assert 'no checkpoint "no-such"' in capsys.readouterr().err


class Perfect:
    """Says what is there, and looks at the middle of each object."""

    memory_of_one = False
    tokens = CaptionerConfig(encoder={"img_size": 96, "patch_size": 8, "num_classes": 0}).tokens

    def caption(self, image, beams=1):
        scene = next(
            s for s in map(scenes.draw_scene, range(5)) if s.image.tobytes() == image.tobytes()
        )
        words = scene.caption.split()
        maps = np.zeros((1, len(words), self.tokens.tokens), np.float32)
        for word, number, _ in scenes.find_named_objects(words, scene):
            left, top, right, bottom = scene.objects[number].box
            place = self.tokens.index_of((top + bottom) // 16, (left + right) // 16)
            maps[0, word, place] = 1
        from model.captioning.caption import Caption

        return Caption(words, scene.caption, np.zeros(len(words)), [], [maps], [])


def test_a_perfect_captioner_is_right_and_points():
    figures = evaluate.measure_on_scenes(Perfect(), 5, first=0)
    assert figures["captions_right"] == 1
    assert [figures[f"pointing_{kind}"] for kind in scenes.KINDS] == [1, 1, 1]
    boxes = [
        (b[2] - b[0]) * (b[3] - b[1]) / 96**2
        for s in map(scenes.draw_scene, range(5))
        for b in [thing.box for thing in s.objects]
    ]
    assert figures["pointing_chance"] == pytest.approx(np.mean(boxes), abs=1e-4)


def test_one_vector_for_the_whole_picture_points_nowhere(monkeypatch):
    monkeypatch.setattr(Perfect, "memory_of_one", True)
    assert evaluate.measure_on_scenes(Perfect(), 2, first=0) == {
        "test_scenes": 2,
        "captions_right": 1,
    }


@pytest.fixture
def folder(tmp_path):
    for name in ("train", "val"):
        pictures = torch.randint(0, 256, (6, 3, 160, 160), dtype=torch.uint8)
        split = Split(pictures, torch.zeros(6, dtype=torch.long), ("photo",))
        packed.write_packed(tmp_path / f"{name}.npz", split, torch.arange(6))
        captions = [[f"A dog, number {i}!", "a cat"] for i in range(6)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"captions": captions}))
    return tmp_path


def test_photos_with_captions(folder):
    data = captions.read_captioned_photos(folder, "train")
    assert len(data) == 6 and data.images.shape == (6, 3, 160, 160)
    assert data.words(rarest=6) == ["a", "dog", "number", "cat"]
    _, first = data.batch(0, [0, 1])
    _, second = data.batch(1, [0, 1])
    assert first == ["A dog, number 0!", "a cat"] and second == ["a cat", "A dog, number 1!"]
    assert len(captions.read_captioned_photos(folder, "train", limit=2)) == 2


def test_several_captions_of_a_photo_at_once(folder):
    data = captions.read_captioned_photos(folder, "train", each=2)
    images, texts = data.batch(0, [0, 3])
    assert len(images) == 2 and set(texts[:2]) == {"A dog, number 0!", "a cat"}
    assert set(texts[2:]) == {"A dog, number 3!", "a cat"}

    r = recipe.load_recipe("flickr8k-words", STILL)
    net = captioning.build_for_recipe(r, data, folder).eval()
    run = captioning.CaptionRun(net, data, data, r, "cpu")
    inputs, _ = caption_glance.encode_captions(net, texts, "cpu")
    prepared = prepare_batch(images, net.config.encoder, r.data)
    one_by_one = [
        net(prepared[i // 2][None], inputs[i][None])[0].detach() for i in range(len(texts))
    ]
    together = run.predict_words(prepared, inputs)
    assert torch.allclose(together, torch.stack(one_by_one), atol=1e-5)


def test_a_frozen_encoder_stays_as_it_was(folder):
    changes = ["epochs=2", "frozen=1", "batch=4", "encoder.img_size=32", "encoder.depth=1"]
    r = recipe.load_recipe("flickr8k-words", [*changes, "rarest=1"])
    data, test = captioning.read_caption_data(r, folder, None)
    torch.manual_seed(0)
    run = captioning.CaptionRun(captioning.build_for_recipe(r, data, folder), data, test, r, "cpu")
    before = {name: value.clone() for name, value in run.net.state_dict().items()}

    def changed():
        return {n for n, value in run.net.state_dict().items() if not torch.equal(value, before[n])}

    run.train_epoch()
    assert changed() and not any(name.startswith("encoder.") for name in changed())
    run.train_epoch()
    assert any(name.startswith("encoder.") for name in changed())


def test_without_its_start_an_encoder_learns_from_the_first_epoch_on(folder, tmp_path, capsys):
    out = tmp_path / "out" / "mine.safetensors"
    changes = ["epochs=1", "batch=4", "encoder.img_size=32", "encoder.depth=1", "rarest=1"]
    changes = [word for change in changes for word in ("--set", change)]
    command = ["flickr8k-words", "--data", str(folder), "--out", str(out), *changes]
    assert main(command) == 0
    assert "learns from the first epoch on" in capsys.readouterr().err
    card = cards.read_card(out)
    assert not card.commands_first
    assert card.resize.model_dump() == {"resized": [32, 32], "interpolation": "bilinear"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("encoder.dpth=3", r"\[encoder\].* has dpth, which is unknown"),
        ("decoder.layer=2", r"\[decoder\].* has layer, which is unknown"),
        ("decoder.layers=two", "layers = 'two'; it should be a whole number"),
        ("encoder.depth=two", "depth = 'two'; it should be a whole number"),
    ],
)
def test_a_captioner_s_mistyped_settings_are_sentences(change, says, tmp_path):
    r = recipe.load_recipe("scenes-captioner", [change])
    data, _ = captioning.read_caption_data(r, None, 4)
    with pytest.raises(RecipeError, match=says):
        captioning.build_for_recipe(r, data, tmp_path)


def publish(tmp_path):
    """Three photos as Flickr8k's publisher would give them; the folder of the photos."""
    photos = tmp_path / "Flicker8k_Dataset"
    photos.mkdir()
    for i in range(3):
        Image.new("RGB", (50 + i, 40), (80 * i, 0, 0)).save(photos / f"{i}.jpg")
    lines = [f"{i}.jpg#{k}\tPhoto {i} , caption {k} ." for i in range(3) for k in range(5)]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines))
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("2.jpg\n0.jpg\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("1.jpg\n")
    return photos


def test_flickr8k_packed_is_the_same(tmp_path, capsys):
    publish(tmp_path)
    (tmp_path / "Flickr_8k.testImages.txt").write_text("1.jpg\n0.jpg\n")
    assert main(["pack", str(tmp_path), str(tmp_path / "packed")]) == 0
    assert set(json.loads(capsys.readouterr().out)["bytes"]) == {
        f"{split}.npz" for split in ("train", "val", "test")
    }
    for split in ("train", "val", "test"):
        published = captions.read_captioned_photos(tmp_path, split)
        packed_again = captions.read_captioned_photos(tmp_path / "packed", split)
        assert torch.equal(published.images, packed_again.images)
        assert published.captions == packed_again.captions


def test_flickr8k_as_published(tmp_path):
    photos = publish(tmp_path)
    data = captions.read_captioned_photos(tmp_path, "train")
    assert data.images.shape == (2, 3, 160, 160)
    assert abs(int(data.images[0, 0].float().mean()) - 160) <= 2
    assert data.captions[1] == [f"Photo 0 , caption {k} ." for k in range(5)]
    assert len(captions.read_captioned_photos(tmp_path, "val")) == 1
    with pytest.raises(DataError, match=r"testImages\.txt"):
        captions.read_captioned_photos(tmp_path, "test")
    (photos / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"0\.jpg"):
        captions.read_captioned_photos(tmp_path, "train")


def test_photos_without_captions(folder):
    (folder / "train.json").write_text("{}")
    with pytest.raises(DataError, match=r"train\.json"):
        captions.read_captioned_photos(folder, "train")
    with pytest.raises(DataError, match="--data"):
        captioning.read_caption_data(recipe.load_recipe("flickr8k-words"), None, None)


def test_an_encoder_is_taken_over(tmp_path, folder):
    from model.nets.vit import build

    r = recipe.load_recipe("flickr8k-words", ["start=photos"])
    data, _ = captioning.read_caption_data(r, folder, None)
    torch.manual_seed(1)
    config = {"cls_token": False, "pool": "mean", "num_classes": 7} | r.encoder
    trained = build("vit", **config)
    card = {"task": "classify", "config": config}
    checkpoints.save_checkpoint(trained, tmp_path / "photos.safetensors", card)
    assert captioning.find_start(r, tmp_path / "elsewhere") is None
    net = captioning.build_for_recipe(r, data, tmp_path)
    half = trained.blocks[0].mlp.fc1.weight.half().float()
    assert torch.equal(net.encoder.positions.code, trained.positions.code.half().float())
    assert torch.equal(net.encoder.blocks[0].mlp.fc1.weight, half)


def test_the_encoder_of_another_captioner_is_taken_over(tmp_path):
    r = small("scenes-captioner")
    data, _ = captioning.read_caption_data(r, None, 4)
    torch.manual_seed(1)
    first = captioning.build_for_recipe(r, data, tmp_path)
    card = captioning.captioner_card(first, "scenes-captioner", r, [], "")
    checkpoints.save_checkpoint(first, tmp_path / "scenes-captioner.safetensors", card)
    second = captioning.build_for_recipe(small("scenes-recurrent"), data, tmp_path)
    for one, other in zip(first.encoder.parameters(), second.encoder.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)


def test_positions_are_stretched_to_a_finer_grid():
    old, new = TokenLayout((8, 8), ("cls",)), TokenLayout((16, 16), ("cls",))
    rows, columns = torch.arange(8.0).repeat_interleave(8), torch.arange(8.0).repeat(8)
    code = torch.cat((torch.tensor([[9.0, 7.0]]), torch.stack((rows, columns), 1)))
    stretched = captioning._stretch_positions(code, old, new)
    assert stretched.shape == (257, 2)
    assert stretched[0].tolist() == [9, 7]
    middle = stretched[1:].unflatten(0, (16, 16))[4:12, 4:12]
    expected = (torch.arange(4, 12) + 0.5) / 2 - 0.5  # a straight line away from the edges
    assert torch.allclose(middle[..., 0], expected[:, None].expand(8, 8), atol=1e-5)
    assert torch.allclose(middle[..., 1], expected.expand(8, 8), atol=1e-5)
    assert torch.allclose(captioning._stretch_positions(code, old, old), code)


# -- scores of captions of photos ------------------------------------------------------------------


def by_hand_bleu(written, references, n):
    """Corpus BLEU-n of Papineni et al. 2002, from its formulae."""

    def grams(words, k):
        return Counter(tuple(words[i : i + k]) for i in range(len(words) - k + 1))

    logs, length, closest = 0.0, 0, 0
    for k in range(1, n + 1):
        matched = total = 0
        for said, texts in zip(written, references, strict=True):
            allowed = Counter()
            for text in texts:
                allowed |= grams(text.split(), k)
            found = grams(said.split(), k)
            matched += sum((found & allowed).values())
            total += sum(found.values())
        logs += np.log(matched / total) / n
    for said, texts in zip(written, references, strict=True):
        size = len(said.split())
        length += size
        closest += min((abs(len(t.split()) - size), len(t.split())) for t in texts)[1]
    return np.exp(min(0, 1 - closest / length) + logs)


def test_scores_are_those_of_their_formulae():
    pytest.importorskip("pycocoevalcap", reason="the scores of captions need pycocoevalcap")
    written = [
        "a brown dog runs over the green grass",
        "two men in a small boat",
        "two men in a small boat",
    ]
    references = [
        ["a brown dog runs over grass", "the dog runs over the green grass"],
        ["two men sit in a small boat", "people on the water"],
        ["a man in a small boat on the water", "fishing"],
    ]
    shown = [[text.capitalize() + " ." for text in texts] for texts in references]
    figures = caption_scores.score_captions([text.upper() for text in written], shown)
    for n in (1, 2, 3, 4):
        assert figures[f"bleu{n}"] == pytest.approx(by_hand_bleu(written, references, n), abs=1e-6)
    assert figures["distinct"] == 2
    same = caption_scores.score_captions(["a dog runs over grass"], [["a dog runs over grass"]])
    assert same["bleu4"] == pytest.approx(1, abs=1e-6) and same["rouge_l"] == pytest.approx(1)


def test_baselines():
    texts = [["A dog.", "Some dog"], ["a cat", "a dog"], ["a bird", "a cow"]]
    train = captions.CaptionedPhotos(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), texts)
    assert caption_scores.commonest_caption(train) == "a dog"
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    asked = torch.tensor([[-3.0, -2.0], [0.1, 2.0]])
    assert caption_scores.nearest_captions(train, features, asked) == ["a bird", "a cat"]


def test_figures_of_photos(tmp_path, folder, monkeypatch, capsys):
    pytest.importorskip("pycocoevalcap", reason="the scores of captions need pycocoevalcap")
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    for kind in ("npz", "json"):
        (folder / f"test.{kind}").write_bytes((folder / f"val.{kind}").read_bytes())
    changes = ["epochs=1", "rarest=1", "encoder.img_size=32", "encoder.depth=1", "batch=3"]
    words = [word for change in changes for word in ("--set", change)]
    out = str(tmp_path / "photo-captions.safetensors")
    assert main(["flickr8k-words", "--data", str(folder), "--out", out, *words]) == 0
    capsys.readouterr()
    asked = ["caption", "photo-captions", "--data", str(folder)]
    assert evaluation(asked) == 0
    printed = json.loads(capsys.readouterr().out)
    metrics = zoo.load("photo-captions").card.metrics
    assert printed["test_photos"] == 6 and metrics["cider"] == printed["cider"]
    assert 0 <= printed["nearest_bleu4"] <= 1 and 1 <= printed["distinct"] <= 6
    assert evaluation([*asked, "--beams", "2"]) == 0
    assert "bleu4_beam2" in zoo.load("photo-captions").card.metrics
    assert evaluation(["caption", "photo-captions"]) == 1
    assert "--data" in capsys.readouterr().err
