"""A folder of transformers opens as transformers opens it, and nothing in it is run."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import zoo
from model.errors import ModelNotFound, ModelRejected
from model.nets.torchvision_cpu import ensure_operators

pytestmark = [
    pytest.mark.hubs,
    pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers"),
    pytest.mark.filterwarnings("ignore"),
]

SIZES = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4]}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mine"


def save(folder: Path, kind: str = "ViT", processor: bool = True, **more):
    ensure_operators()
    import transformers

    torch.manual_seed(0)
    sizes = {"Swin": SWIN | {"window_size": 4}}.get(kind, SIZES)
    config = getattr(transformers, f"{kind}Config")(
        **sizes, id2label={0: "healthy", 1: "ill"}, label2id={"healthy": 0, "ill": 1}
    )
    net = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
    net.save_pretrained(folder, **more)
    if processor:
        size = {"height": 32, "width": 32}
        transformers.ViTImageProcessor(size=size, image_mean=[0.1, 0.2, 0.3]).save_pretrained(
            folder
        )
    return net


@torch.no_grad()
def assert_same(bundle: zoo.Bundle, net) -> None:
    images = torch.randn(2, 3, 32, 32)
    expected = net(pixel_values=images).logits
    assert (bundle.net(images) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert bundle.classes == ["healthy", "ill"]


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Swin"])
@pytest.mark.parametrize("saved", ["whole", "shards", "pickle"])
def test_a_folder_opens_as_transformers_opens_it(folder, monkeypatch, kind, saved):
    net = save(folder, kind, **{"shards": {"max_shard_size": "20KB"}}.get(saved, {}))
    if saved == "pickle":
        as_pickle(folder)
    assert (len(list(folder.glob("*-of-*"))) > 1) == (saved == "shards")
    monkeypatch.chdir(folder.parent)
    for name in (folder, "mine", "./mine", str(folder)):
        bundle = zoo.load(name)
        assert_same(bundle, net)
        assert bundle.mean == (0.1, 0.2, 0.3)
        assert bundle.name == "mine"


def test_weights_alone_are_read_with_the_config_beside_them(folder):
    net = save(folder)
    bundle = zoo.load(folder / "model.safetensors")
    assert_same(bundle, net)
    assert bundle.net.blocks[0].attention.heads == 4
    assert bundle.net.config.norm_eps == 1e-12
    assert bundle.mean == (0.1, 0.2, 0.3)
    assert not {"heads", "mean", "std", "activation"} & set(bundle.card.assumed)
    assert zoo.load(folder / "model.safetensors", heads=2).net.config.heads == 2
    (folder / "config.json").rename(folder / "model.json")  # as the app lays it beside the weights
    assert_same(zoo.load(folder / "model.safetensors"), net)


def test_weights_of_another_architecture_open_with_their_folder(folder):
    net = save(folder, "Swin")
    assert_same(zoo.load(folder / "model.safetensors"), net)


def test_without_a_processor_it_says_what_is_assumed(folder):
    net = save(folder, processor=False)
    bundle = zoo.load(folder)
    assert_same(bundle, net)
    assert "assumed" in bundle.card.note


def test_random_weights_need_no_file_of_weights(folder):
    save(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"neither model\.safetensors nor"):
        zoo.load(folder)
    assert zoo.load(folder, weights="random").name == "mine (random weights)"


def test_a_missing_shard(folder):
    save(folder, max_shard_size="20KB")
    max(folder.glob("*-of-*")).unlink()
    with pytest.raises(ModelRejected, match="parts of a model"):
        zoo.load(folder)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("opened", ["", "model.safetensors"])
def test_a_program_of_its_own_is_never_run(folder, file, opened):
    save(folder)
    values = json.loads((folder / file).read_text())
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(folder / 'created')!r})")
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    (folder / file).write_text(json.dumps(values | {"auto_map": auto_map}))
    with pytest.raises(ModelRejected, match=r"auto_map.*never runs"):
        zoo.load(folder / opened)
    assert not (folder / "created").exists()


class Trap:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_of_a_folder_is_read_as_any_stranger_s(folder):
    save(folder)
    as_pickle(folder)
    torch.save(
        {"a": torch.ones(1), "b": Trap(str(folder / "created"))}, folder / "pytorch_model.bin"
    )
    with pytest.raises(ModelRejected, match="Nothing of it was run"):
        zoo.load(folder)
    assert not (folder / "created").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -1},
        {"hidden_size": 10**400},
        {"num_attention_heads": 10**9},
        {"image_size": [10**8, 32]},
        {"layer_norm_eps": float("nan")},
        {"id2label": {"one": "a"}},
        {"num_register_tokens": 10**6},
    ],
)
@pytest.mark.parametrize("opened", ["", "model.safetensors"])
def test_numbers_of_a_config_drive_nothing_before_they_are_bounded(folder, values, opened):
    save(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    with pytest.raises(ModelRejected) as caught:
        zoo.load(folder / opened)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["", "[", "[" * 100_000, "3", '{"model_type": "vit"', '{"model_type": "none"}']
)
def test_damaged_configs_are_sentences(folder, text):
    save(folder)
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelRejected):
        zoo.load(folder)
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(ModelRejected):
        zoo.load(folder / "model.safetensors")


def test_heads_belong_to_files(folder):
    save(folder)
    with pytest.raises(ModelRejected, match="says heads"):
        zoo.load(folder, heads=3)
