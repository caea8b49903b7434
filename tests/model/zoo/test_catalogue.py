"""Embedded models by name, and what becomes of a photo on its way into one."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model import zoo
from model.bundle import Bundle
from model.datasets import samples
from model.errors import ModelNotFound, ModelRejected
from model.nets.vit import VisionTransformer, ViTConfig
from model.preprocessing import Resize
from model.tokens import TokenLayout
from model.zoo import checkpoints

TINY = ViTConfig(img_size=16, patch_size=8, num_classes=3, dim=16, depth=2, heads=2, mlp_dim=24)


def save(name: str, config: ViTConfig = TINY, **more) -> None:
    net = VisionTransformer(config)
    channels = config.in_channels
    card = {
        "name": name,
        "task": "classify",
        "config": dataclasses.asdict(config),
        "classes": ["ant", "bee", "cat"],
        "normalisation": {"mean": [0.4] * channels, "std": [0.2] * channels},
    }
    checkpoints.save_checkpoint(net, checkpoints.DIRECTORY / f"{name}.safetensors", card | more)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of embedded checkpoints that holds `cifar10` and `an-other`."""
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    save("an-other")
    save("cifar10")
    return tmp_path


def bundle(height: int, width: int, **rule) -> Bundle:
    layout = TokenLayout((1, 1), (), (height, width))
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    return Bundle("x", torch.nn.Identity(), layout, mean, std, Resize((height, width), **rule))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


# Names


def test_names_begin_with_the_default(shelf):
    assert zoo.names() == ["cifar10", "an-other"]
    save("photos")
    assert zoo.names() == ["photos", "cifar10", "an-other"]


def test_names_leave_out_what_is_no_classifier_or_has_no_card(shelf):
    save("captioner", task="caption")
    save("broken")
    (shelf / "broken.json").write_text("{")
    save("bare")
    (shelf / "bare.json").unlink()
    assert zoo.names() == ["cifar10", "an-other"]


def test_a_folder_without_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path / "none")
    assert zoo.names() == []
    with pytest.raises(ModelNotFound, match="No checkpoint is embedded"):
        zoo.load("cifar10")


def test_load_gives_a_bundle_that_runs(shelf):
    loaded = zoo.load("cifar10")
    assert (loaded.name, loaded.classes) == ("cifar10", ["ant", "bee", "cat"])
    assert loaded.image_size == loaded.tokens.image_size == (16, 16)
    assert loaded.tokens == loaded.net.tokens
    assert not loaded.net.training
    assert loaded.card.task == "classify"
    with torch.inference_mode():
        assert loaded.net(loaded.prepare(samples.load("coffee"))).shape == (1, 3)


def test_a_checkpoint_also_opens_by_its_path(shelf):
    by_name, by_path = zoo.load("cifar10"), zoo.load(str(shelf / "cifar10.safetensors"))
    assert by_path.card == by_name.card
    assert torch.equal(by_path.net.head.weight, by_name.net.head.weight)


def test_random_weights_are_the_same_model_untrained(shelf):
    trained, random = zoo.load("cifar10"), zoo.load("cifar10", weights="random")
    again = zoo.load("cifar10", weights="random")
    assert random.net.config == trained.net.config
    assert random.name != trained.name
    assert not torch.equal(random.net.head.weight, trained.net.head.weight)
    assert torch.equal(random.net.head.weight, again.net.head.weight)
    assert not random.net.training
    assert random.card.config == trained.card.config
    assert not {"metrics", "confusion", "curve", "epochs", "sha256"} & set(random.card.as_dict())


@pytest.mark.parametrize("name", ["cifra10", "CIFAR10", "cifar-10"])
def test_a_misspelt_name_is_answered_with_the_nearest(shelf, name):
    with pytest.raises(ModelNotFound, match="Did you mean “cifar10”") as caught:
        zoo.load(name)
    assert "timm/NAME" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "zzz", "../no-such-folder", "a/b/c", "torchvision/", ".", "x\0y", "x\ny" * 500]
)
def test_other_unknown_names(shelf, name):
    with pytest.raises(ModelNotFound, match="Embedded are cifar10, an-other") as caught:
        zoo.load(name)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_a_missing_file(shelf):
    with pytest.raises(ModelNotFound, match=r"no file mine\.pt"):
        zoo.load("mine.pt")


def test_heads_and_normalisation_belong_to_files(shelf):
    with pytest.raises(ModelRejected, match="knows its own heads"):
        zoo.load("cifar10", heads=3)
    with pytest.raises(ModelRejected, match="“trained” or “random”"):
        zoo.load("cifar10", weights="best")


def test_a_damaged_checkpoint_is_rejected(shelf):
    path = shelf / "cifar10.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelRejected, match="sha256"):
        zoo.load("cifar10")


@pytest.mark.parametrize(
    "change",
    [
        {"normalisation": None},
        {"normalisation": {"mean": [0.5] * 3}},
        {"normalisation": {"mean": [0.5] * 2, "std": [0.5] * 2}},
        {"normalisation": {"mean": [0.5] * 3, "std": [0.5, 0, 0.5]}},
        {"normalisation": {"mean": ["a"] * 3, "std": [0.5] * 3}},
        {"resize": {"interpolation": "magic"}},
        {"resize": {"zoom": 2}},
        {"resize": {"resized": "x"}},
        {"resize": {"resized": 0}},
        {"resize": {"resized": 30_000}},
        {"resize": {"resized": [32, 30_000]}},
    ],
)
def test_a_card_that_does_not_say_how_to_prepare_a_photo(shelf, change):
    card = shelf / "cifar10.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(ModelRejected, match=r"card of cifar10.safetensors"):
        zoo.load("cifar10")


def test_a_grey_model_is_given_grey(shelf):
    save("grey", dataclasses.replace(TINY, in_channels=1))
    loaded = zoo.load("grey")
    prepared = loaded.prepare(Image.new("RGB", (30, 30), (255, 0, 0)))
    assert prepared.shape == (1, 1, 16, 16)
    assert prepared[0, 0, 0, 0].item() == pytest.approx((76 / 255 - 0.4) / 0.2, abs=1e-5)


# From photo to tensor

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_the_frame_is_exactly_what_is_prepared(width, height, rows, cols):
    """Overlays drawn on the frame lie right only if nothing but the frame is seen."""
    photo = noise(width, height)
    wanted = bundle(rows, cols)
    whole = bundle(rows, cols, resized=(rows, cols))
    assert torch.equal(wanted.prepare(photo), whole.prepare(wanted.frame(photo)))
    assert wanted.prepare(photo).shape == (1, 3, rows, cols)


@given(
    st.integers(40, 200),
    st.integers(40, 200),
    st.integers(8, 40),
    st.integers(0, 8) | st.tuples(st.integers(40, 50), st.integers(40, 50)),
)
@settings(max_examples=100, deadline=None)
def test_the_frame_shows_what_a_published_rule_keeps(width, height, side, more):
    """A gradient tells where each pixel came from."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    photo = Image.fromarray(np.stack([x, y, x], -1).astype(np.uint8))
    rule = Resize((side, side), side + more if isinstance(more, int) else more)
    left, top, right, bottom = rule.box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    seen = np.asarray(rule(photo), dtype=float)
    assert seen.shape == (side, side, 3)
    step_x, step_y = (right - left) / side, (bottom - top) / side
    assert abs(seen[0, 0, 0] + 0.5 - left - step_x / 2) <= 2 + step_x / 4
    assert abs(seen[0, 0, 1] + 0.5 - top - step_y / 2) <= 2 + step_y / 4
    assert abs(seen[-1, -1, 0] + 0.5 - right + step_x / 2) <= 2 + step_x / 4
    assert abs(seen[-1, -1, 1] + 0.5 - bottom + step_y / 2) <= 2 + step_y / 4


@given(SIDES, SIDES, st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_preparing_a_square_model_s_frame_is_preparing_the_photo(width, height, side):
    photo, square = noise(width, height), bundle(side, side)
    assert torch.equal(square.prepare(photo), square.prepare(square.frame(photo)))


@given(st.integers(20, 400), st.integers(20, 400), st.integers(8, 40), st.integers(8, 40))
@settings(max_examples=150, deadline=None)
def test_the_frame_is_central_largest_and_of_the_model_s_shape(width, height, rows, cols):
    left, top, right, bottom = Resize((rows, cols)).box(width, height)
    assert 0 <= left <= right <= width
    assert 0 <= top <= bottom <= height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    assert (right - left, bottom - top)[0 if width * rows <= height * cols else 1] == (
        width if width * rows <= height * cols else height
    )
    assert (right - left) * rows == pytest.approx((bottom - top) * cols, abs=max(rows, cols))


def test_nothing_outside_the_frame_reaches_the_model():
    photo = noise(60, 40)
    other = noise(60, 40, seed=1)
    square = bundle(16, 16)
    left, top, right, bottom = square.resize.box(60, 40)
    assert (left, top, right, bottom) == (10, 0, 50, 40)
    other.paste(photo.crop((left, top, right, bottom)), (left, top))
    assert torch.equal(square.prepare(photo), square.prepare(other))


def test_a_photo_of_the_model_s_size_is_only_normalised():
    photo = noise(24, 16)
    prepared = bundle(16, 24).prepare(photo)
    values = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
    mean = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    std = torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    assert prepared.dtype == torch.float32
    assert torch.allclose(prepared[0], (values - mean) / std, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_any_pillow_image_is_prepared(mode):
    assert bundle(8, 8).prepare(noise(20, 20).convert(mode)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("photo", samples.names())
@pytest.mark.parametrize("resized", [56, 64, (60, 70)])
def test_a_published_rule_is_torchvision_s_resize_and_centre_crop(photo, resized):
    from model.nets.torchvision_cpu import ensure_operators

    ensure_operators()
    from torchvision.transforms import v2

    theirs = v2.Compose(
        [
            v2.Resize(resized, v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(56),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]),
        ]
    )
    image = samples.load(photo)
    ours = bundle(56, 56, resized=resized).prepare(image)[0]
    assert (ours - theirs(image)).abs().max() < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        {"registers": 10**9},
        {"registers": 10**300},
        {"dim": 10**13},
        {"depth": 10**300},
        {"norm_eps": float("nan")},
        {"stem": [1] * 10**5},
        {"stem": [[10**13]]},
    ],
)
def test_numbers_of_a_card_drive_nothing_before_they_are_bounded(shelf, config):
    path = shelf / "cifar10.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"config": card["config"] | config}))
    with pytest.raises(ModelRejected, match="larger than any model's") as caught:
        zoo.load("cifar10")
    assert len(str(caught.value)) < 300


def test_a_mean_of_hundreds_of_digits(shelf):
    path = shelf / "cifar10.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"normalisation": {"mean": [10**400] * 3, "std": [1] * 3}}))
    with pytest.raises(ModelRejected, match="how a photo is normalised"):
        zoo.load("cifar10")


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}},
        {"a": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}},
        {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]} for n in range(60_000)},
    ],
    ids=["float4", "dimensions", "scales", "many"],
)
def test_tensors_that_torch_does_not_have(shelf, tmp_path, header):
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(4)
    card = json.loads((shelf / "cifar10.json").read_text())
    (shelf / "cifar10.safetensors").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    (shelf / "cifar10.json").write_text(json.dumps(card | {"sha256": sha256}))
    (tmp_path / "alone.safetensors").write_bytes(data)
    for name in ("cifar10", tmp_path / "alone.safetensors"):
        with pytest.raises(ModelRejected):
            zoo.load(name)


@pytest.mark.parametrize(
    "name",
    [
        "hf/../../secret.pt",
        "hf/../../secret.pt/",
        "hf/a/../secret.pt",
        "timm/../secret.pt",
        "torchvision/../secret.pt",
        "hf/a/b/",
        "hf/a/b.pt/..",
    ],
)
def test_a_hub_s_name_is_never_a_path(shelf, tmp_path, monkeypatch, name):
    save("secret")
    (tmp_path / "hf" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path, tmp_path.parent, tmp_path / "hf"):
        shutil.copy(shelf / "secret.safetensors", place / "secret.pt")
    for folder in ("timm", "torchvision"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ModelNotFound):
        zoo.load(name)
