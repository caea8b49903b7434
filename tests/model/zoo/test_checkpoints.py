"""A checkpoint comes back as it was saved, or with a sentence."""

import dataclasses
import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model.errors import CheckpointError
from model.nets.vit import VisionTransformer, ViTConfig, build
from model.zoo import checkpoints

TINY = ViTConfig(img_size=16, patch_size=8, num_classes=3, dim=16, depth=2, heads=2, mlp_dim=24)


def card_of(net: VisionTransformer) -> dict:
    return {
        "name": "tiny",
        "task": "classify",
        "config": dataclasses.asdict(net.config),
        "classes": ["ant", "bee", "café"],
    }


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    net = VisionTransformer(TINY)
    path = tmp_path / "tiny.safetensors"
    checkpoints.save_checkpoint(net, path, card_of(net))
    return path


def sentence(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load_checkpoint(path)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def rewrite_card(path, **changes) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_weights_come_back_to_the_precision_of_float16(tmp_path):
    torch.manual_seed(1)
    net = VisionTransformer(TINY)
    path = tmp_path / "folder" / "tiny.safetensors"
    written = checkpoints.save_checkpoint(net, path, card_of(net))
    loaded, card = checkpoints.load_checkpoint(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert written.as_dict() == card_of(net) | {"sha256": sha256}
    assert card.as_dict() == json.loads(json.dumps(written.as_dict()))
    assert loaded.config == net.config
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, net.state_dict()[name].half().float()), name
    assert all(p.requires_grad for p in loaded.parameters())


def test_saving_again_writes_the_same_bytes(saved):
    before = saved.read_bytes()
    net, card = checkpoints.load_checkpoint(saved)
    checkpoints.save_checkpoint(net, saved, card)
    assert saved.read_bytes() == before


def test_saving_leaves_the_net_and_the_card_as_they_are(tmp_path):
    net = VisionTransformer(TINY)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    card = card_of(net)
    checkpoints.save_checkpoint(net, tmp_path / "a.safetensors", card)
    assert "sha256" not in card
    assert net.training
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])


def test_counters_stay_integers_and_large_values_stay_float32(tmp_path):
    net = build(
        "vit",
        img_size=16,
        patch_size=4,
        num_classes=3,
        dim=16,
        depth=1,
        heads=2,
        embed="stem",
        stem=(8, 8),
    )
    net(torch.randn(2, 3, 16, 16))
    norm = next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    norm.running_var.fill_(1e6)
    norm.num_batches_tracked.fill_(100_001)
    path = tmp_path / "stem.safetensors"
    checkpoints.save_checkpoint(net, path, card_of(net))
    loaded, _ = checkpoints.load_checkpoint(path)
    norm = next(m for m in loaded.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked.item() == 100_001
    assert torch.equal(norm.running_var, torch.full((8,), 1e6))
    stored = load_file(path)
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.float32, torch.int64}


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    net = VisionTransformer(TINY)
    with torch.no_grad():
        net.head.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"not finite \(head.weight\)"):
        checkpoints.save_checkpoint(net, tmp_path / "a.safetensors", card_of(net))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_files_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()
    net, card = checkpoints.load_checkpoint(saved)

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match="the disk is full"):
        checkpoints.save_checkpoint(net, saved, card)
    assert saved.read_bytes() == before
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_a_file_made_elsewhere_may_have_any_float_type(tmp_path):
    net = VisionTransformer(TINY)
    path = tmp_path / "a.safetensors"
    save_file({name: t.bfloat16() for name, t in net.state_dict().items()}, path)
    card = card_of(net) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    loaded, _ = checkpoints.load_checkpoint(path)
    assert torch.equal(loaded.head.weight, net.head.weight.bfloat16().float())


# What is refused


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    assert "damaged" in sentence(saved)


def test_one_flipped_bit(saved):
    data = bytearray(saved.read_bytes())
    data[-5] ^= 1
    saved.write_bytes(data)
    assert "sha256 differs" in sentence(saved)


@pytest.mark.parametrize("data", [b"", b"hello, this is text", bytes(64), b"\xff" * 64])
def test_a_foreign_file_with_a_card_that_vouches_for_it(saved, data):
    saved.write_bytes(data)
    rewrite_card(saved, sha256=hashlib.sha256(data).hexdigest())
    assert "no safetensors file" in sentence(saved)


def test_weights_of_another_model(saved):
    save_file({"a": torch.zeros(3)}, saved)
    rewrite_card(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
    assert "do not fit" in sentence(saved)


def test_a_card_of_another_size(saved):
    rewrite_card(saved, config=dataclasses.asdict(dataclasses.replace(TINY, depth=3)))
    assert "do not fit" in sentence(saved)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"positions": "sinusoidal", "img_size": 8 * 128}, "16,385 tokens"),
        ({"positions": "sinusoidal", "img_size": (8, 4096)}, "4,096 pixels"),
        ({"positions": "sinusoidal", "img_size": 2**30 + 1}, "do not tile"),
        ({"depth": 10**9}, "larger than any model"),
        ({"embed": "stem", "stem": [4, 16], "stem_depth": 10**9}, "larger than any model"),
    ],
)
def test_a_card_that_asks_for_a_servers_memory(saved, changed, word):
    """Of the weights' shapes none speaks against it, or it would take long to find one."""
    net = VisionTransformer(dataclasses.replace(TINY, positions="sinusoidal"))
    checkpoints.save_checkpoint(net, saved, card_of(net))
    rewrite_card(saved, config=dataclasses.asdict(TINY) | changed)
    assert word in sentence(saved)


def test_missing_files(saved, tmp_path):
    assert "no file" in sentence(tmp_path / "other.safetensors")
    saved.with_suffix(".json").unlink()
    assert "tiny.json" in sentence(saved)


def test_a_card_without_its_file(saved):
    saved.unlink()
    assert "tiny.safetensors" in sentence(saved)


def test_a_folder(tmp_path):
    (tmp_path / "a.json").mkdir()
    assert "cannot be read" in sentence(tmp_path / "a.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", "nul"])
def test_a_card_that_is_no_json(saved, text):
    saved.with_suffix(".json").write_bytes(text.encode("latin-1"))
    assert "JSON" in sentence(saved)


@pytest.mark.parametrize("card", [[], 3, None, {}, {"task": "classify", "sha256": "x"}])
def test_a_card_that_is_incomplete(saved, card):
    saved.with_suffix(".json").write_text(json.dumps(card))
    assert "config" in sentence(saved)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"wings": 2}, "wings"),
        ({"dim": "wide"}, "dim"),
        ({"dim": 10, "heads": 3}, "3 equal heads"),
        ({"norm": "sideways"}, "sideways"),
        ({"depth": None}, "depth"),
        ({"img_size": 17}, "17"),
    ],
)
def test_a_config_that_builds_no_model(saved, config, word):
    rewrite_card(saved, config=dataclasses.asdict(TINY) | config)
    assert "describes no model" in sentence(saved)
    assert word in sentence(saved)


def test_an_unknown_task(saved):
    rewrite_card(saved, task="sing")
    assert "sing" in sentence(saved)


def test_opening_draws_no_weights(monkeypatch):
    def drawn(*_):
        raise AssertionError("Weights were drawn that the file then replaces.")

    monkeypatch.setattr(VisionTransformer, "_initialise", drawn)
    assert (
        checkpoints.load_checkpoint(checkpoints.DIRECTORY / "photos.safetensors")[0].config.init
        == "mimetic"
    )
    with pytest.raises(AssertionError):
        build("cs231n")
