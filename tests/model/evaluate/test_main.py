import json
import math

import numpy as np
import pytest
import torch

from model.attribution.metrics.localisation import peak_inside, points_inside
from model.evaluate.__main__ import main
from model.evaluate.classify import calibration_error, classification_figures, count_confusion
from model.evaluate.pointing import attention_maps, box_edges, box_shares, pointing_game
from model.nets.vit import build
from model.recording.recorder import AttentionRecorder
from model.zoo import cards, checkpoints


def net_for(**overrides):
    torch.manual_seed(0)
    small = {"img_size": 16, "patch_size": 4, "num_classes": 7, "dim": 16, "depth": 2, "heads": 2}
    return build("vit", **(small | overrides)).eval()


def test_accuracy_counts_the_best_and_the_best_five():
    logits = torch.arange(7.0).repeat(4, 1)  # the best is 6, then 5, 4, 3, 2
    figures = classification_figures(logits, torch.tensor([6, 2, 1, 6]))
    assert figures["test_accuracy"] == 0.5
    assert figures["top5"] == 0.75
    assert "top5" not in classification_figures(logits[:, :5], torch.tensor([4, 4, 0, 1]))


def test_calibration_against_a_plain_loop():
    logits = 3 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 4, (500,), generator=torch.Generator().manual_seed(1))
    probabilities = logits.double().softmax(1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    expected = 0.0
    for i in range(15):
        chosen = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if chosen.any():
            gap = abs(right[chosen].mean() - confidence[chosen].mean())
            expected += chosen.mean() * gap
    assert math.isclose(calibration_error(logits, labels), expected, rel_tol=1e-9)


def test_calibration_of_the_sure():
    sure = torch.eye(3) * 1000
    assert calibration_error(sure, torch.tensor([0, 1, 2])) == 0
    assert calibration_error(sure, torch.tensor([1, 2, 0])) == 1


def test_confusion_counts_rows_for_columns():
    logits = torch.eye(3)[[0, 0, 2, 1]]
    assert count_confusion(logits, torch.tensor([0, 1, 2, 1])).tolist() == [
        [1, 0, 0],
        [1, 1, 0],
        [0, 0, 1],
    ]


def test_boxes_include_their_last_pixels_and_no_more():
    boxes = torch.tensor([[0, 0, 63, 63], [0, 0, 9, 9], [0, 0, 9, 9]], dtype=torch.int16)
    points = torch.tensor([[32.0, 32.0], [9.5, 9.5], [10.0, 1.0]])
    assert points_inside(points, box_edges(boxes)).tolist() == [True, True, False]
    assert box_shares(boxes[:1], (64, 64)).tolist() == [1.0]


def test_blind_points_hit_as_often_as_boxes_are_large():
    """Every patch in turn is the peak: the hits are chance itself."""
    random = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 16, (200, 2, 2), generator=random).sort(1).values
    boxes = (corners * 4 + torch.tensor([[0], [3]])).flatten(1).short()  # whole patches of 4 pixels
    hits = [
        peak_inside(torch.eye(256)[i].view(1, 16, 16), box_edges(box[None]), (64, 64)).item()
        for box in boxes[:20]
        for i in range(256)
    ]
    assert sum(hits) / len(hits) == pytest.approx(box_shares(boxes[:20], (64, 64)).mean().item())


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_maps_are_those_of_the_explicit_matrices(pool):
    net = net_for(pool=pool, cls_token=pool == "cls")
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(images)
    maps = attention_maps(recorder.records, net.tokens)
    first, second = (r.weights().double().mean(1) for r in recorder.records)
    eye = torch.eye(net.tokens.tokens, dtype=torch.float64)
    product = (second + eye) / 2 @ ((first + eye) / 2)
    rows = slice(0, 1) if pool == "cls" else slice(None)
    for name, matrix in (("attention", second), ("rollout", product)):
        expected = matrix[:, rows].mean(1)[:, net.tokens.patch_slice].view(3, 4, 4)
        torch.testing.assert_close(maps[name].double(), expected, atol=1e-6, rtol=0)


def test_pointing_at_whole_and_at_empty_corners():
    net = net_for()
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)

    def prepare(pictures):
        return torch.nn.functional.interpolate(pictures.float() / 255, (16, 16))

    whole = torch.tensor([[0, 0, 31, 31]] * 5, dtype=torch.int16)
    assert set(pointing_game(net, images, whole, prepare, batch=2).values()) == {1.0}
    corner = torch.tensor([[0, 0, 0, 0]] * 5, dtype=torch.int16)  # no patch has its middle there
    figures = pointing_game(net, images, corner, prepare)
    assert figures["pointing_attention"] == figures["pointing_centre"] == 0
    assert figures["pointing_chance"] == 1 / 32**2


@pytest.fixture
def shipped(tmp_path):
    net = net_for()
    card = {
        "name": "tiny",
        "task": "classify",
        "config": vars(net.config),
        "classes": list("abcdefg"),
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "data": "Noise",
        "metrics": {"training_seconds": 1},
    }
    checkpoints.save_checkpoint(net, tmp_path / "tiny.safetensors", card)
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "test.npz",
        images=random.integers(0, 256, (30, 16, 16), dtype=np.uint8),
        labels=random.integers(0, 7, 30),
        classes=list("abcdefg"),
        boxes=np.array([[0, 0, 7, 15]] * 30, np.int16),
    )
    return tmp_path


def run(shipped, *more):
    file = str(shipped / "tiny.safetensors")
    return main(["classify", file, "--data", str(shipped), *more])


def test_the_command_writes_its_figures_onto_the_card(shipped, capsys):
    before, old = checkpoints.load_checkpoint(shipped / "tiny.safetensors")
    assert run(shipped, "--limit", "10") == 0
    assert cards.read_card(shipped / "tiny.safetensors") == old
    assert run(shipped) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    after, card = checkpoints.load_checkpoint(shipped / "tiny.safetensors")
    assert printed.pop("name") == "tiny"
    assert card.metrics == {"training_seconds": 1} | printed
    assert printed["pointing_chance"] == 0.5
    assert sum(map(sum, card.confusion)) == printed["test_pictures"] == 30
    assert card.sha256 == old.sha256
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(a, b)


def test_mistakes_are_one_sentence(shipped, capsys):
    assert main(["classify", "nothing", "--data", str(shipped)]) == 1
    assert 'no checkpoint "nothing". Known: ' in capsys.readouterr().err
    np.savez(
        shipped / "test.npz",
        images=np.zeros((2, 16, 16), np.uint8),
        labels=[0, 0],
        classes=["x"],
    )
    assert run(shipped) == 1
    error = capsys.readouterr().err
    assert "other classes (x) than are wanted (a, b, c, 7 in all)" in error
    assert len(error.splitlines()) == 1
