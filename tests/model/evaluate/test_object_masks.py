"""IoU of masks with boxes."""

import json

import numpy as np
import pytest
import torch

from model import zoo
from model.errors import DataError
from model.evaluate.__main__ import main
from model.evaluate.object_masks import cover_iou, measure_masks, middle_cover, scatter_masks


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    boxes = np.array([[0, 0, 31, 31], [8, 8, 23, 23], [0, 0, 7, 31]], np.int16)
    pictures = {"images": images, "labels": np.zeros(3, int), "classes": ["a"]}
    np.savez(tmp_path / "test.npz", boxes=boxes, **pictures)
    return tmp_path


def test_the_iou_is_that_of_areas():
    cover = torch.zeros(1, 2, 2, dtype=torch.float64)
    cover[0, 0] = torch.tensor([1.0, 0.5])  # three halves of four patches
    masks = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).double()
    assert cover_iou(masks, cover).item() == pytest.approx(1 / 2.5)
    assert cover_iou(torch.ones_like(cover), cover).item() == pytest.approx(1.5 / 4)
    assert middle_cover((3, 3)).sum().item() == pytest.approx(4.5)


def test_chance_keeps_the_size_of_a_mask():
    masks = torch.rand(4, 5, 5) < 0.3
    scattered = scatter_masks(masks, torch.Generator().manual_seed(1))
    assert torch.equal(masks.sum((1, 2)), scattered.sum((1, 2)))
    assert not torch.equal(masks, scattered)


def test_the_command_prints_every_figure(folder, capsys):
    assert main(["objects", "cs231n-cifar10", "--data", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 3 and found["name"] == "cs231n-cifar10"
    # The whole picture, a quarter of it in the middle, a quarter at the side.
    assert found["iou_whole"] == pytest.approx((1 + 0.25 + 0.25) / 3, abs=1e-4)
    assert found["iou_middle"] == pytest.approx((0.5 + 0.5 + side_overlap()) / 3, abs=1e-4)
    assert {"iou_token_cut", "chance_attention_mass", "iou_first_component"} <= found.keys()


def side_overlap() -> float:
    rim = (1 - 0.5**0.5) / 2
    both = (0.25 - rim) * 0.5**0.5
    return both / (0.25 + 0.5 - both)


def test_data_without_boxes_is_refused(folder):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    np.savez(folder / "test.npz", images=images, labels=np.zeros(1, int), classes=["a"])
    with pytest.raises(DataError, match="no boxes"):
        measure_masks(zoo.load("cs231n-cifar10"), folder)
