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


def mend(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


@pytest.mark.parametrize(
    "values",
    [
        {"num_labels": "2", "label2id": {"healthy": "0", "ill": "1"}},
        {"id2label": ["healthy", "ill"], "label2id": None},
        {"num_attention_heads": 4.0, "num_hidden_layers": "2", "image_size": ["32", "32"]},
    ],
)
def test_a_config_written_by_hand_opens_as_the_library_s(folder, values):
    net = save(folder)
    mend(folder / "config.json", **values)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text, encoding="utf-8-sig")  # as Windows writes it
    assert_same(zoo.load(folder), net)
    assert zoo.load(folder / "model.safetensors").net.config.heads == 4


def test_fewer_labels_than_the_head_has_leave_it_without_names(folder):
    save(folder)
    mend(folder / "config.json", id2label={"0": "one"}, label2id={"one": 0})
    bundle = zoo.load(folder)
    assert bundle.classes is None and bundle.net(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize("opened", ["", "model.safetensors"])
@pytest.mark.parametrize("part", [False, True])
def test_what_white_is_before_it_is_normalised(folder, opened, part):
    """A processor may leave bytes as they are; transformers 5 writes one for images and text."""
    save(folder)
    file = folder / "preprocessor_config.json"
    mend(file, do_rescale=False, image_mean=[25.5, 51, 76.5], image_std=[127.5] * 3)
    if part:
        whole = json.dumps({"image_processor": json.loads(file.read_text())})
        file.rename(folder / "processor_config.json").write_text(whole)
    bundle = zoo.load(folder / opened)
    assert bundle.mean == pytest.approx([0.1, 0.2, 0.3]) and bundle.std == pytest.approx([0.5] * 3)


def test_a_deviation_of_zero_is_refused(folder):
    save(folder)
    mend(folder / "preprocessor_config.json", image_std=[0.0] * 3)
    with pytest.raises(ModelRejected, match="above 0"):
        zoo.load(folder)


def test_one_file_of_weights_may_have_any_name(folder):
    net = save(folder)
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    (folder / "optimizer.pt").write_bytes(b"")
    assert_same(zoo.load(folder), net)


def test_what_has_no_place_in_the_model_is_named(folder):
    save(folder)
    mend(folder / "config.json", architectures=None)
    assert "Left out of the file: classifier.bias" in zoo.load(folder).card.note


@pytest.mark.parametrize(
    ("change", "word"),
    [({"model_type": "myvit"}, "“myvit”, which the installed"), ({"model_type": [1]}, "kind of")],
)
def test_a_kind_that_the_library_does_not_have_is_named(folder, change, word):
    save(folder)
    mend(folder / "config.json", **change)
    with pytest.raises(ModelRejected, match=word):
        zoo.load(folder)


def test_weights_in_half_precision_bear_it_in_their_name(folder):
    net = save(folder)
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    assert_same(zoo.load(folder), net)


def test_a_config_of_fewer_layers_makes_no_smaller_model(folder):
    save(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(ModelRejected, match="a larger model than its config"):
        zoo.load(folder)


@pytest.mark.parametrize("kind", ["ViT", "Swin"])
@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_a_replaced_head_never_blocks_the_encoder(folder, kind, layers):
    net = save(folder, kind)
    width = net.config.hidden_size
    net.classifier = torch.nn.Sequential(*[torch.nn.Linear(width, width) for _ in range(layers)])
    net.save_pretrained(folder)
    bundle = zoo.load(folder)
    images = torch.randn(2, 3, 32, 32)
    answer = bundle.net(images)
    assert bundle.name == "mine"
    if kind == "ViT" and layers == 1:  # one Linear is understood, whatever it is called
        wanted = net(pixel_values=images).logits
    elif kind == "ViT":
        wanted = net.vit(pixel_values=images).last_hidden_state[:, 0]
        assert "classifier.0.weight" in bundle.card.left_out
    else:
        wanted = net.swin(pixel_values=images).last_hidden_state.mean(1)
        assert "head" in bundle.card.note
    assert (answer - wanted).abs().max() < 1e-4 * wanted.abs().max()


def timm_folder(folder, **more):
    """A folder as timm's repositories on the hub are, and the model in it."""
    timm = pytest.importorskip("timm")
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=3, **settings).eval()
    folder.mkdir(exist_ok=True)
    save_file(net.state_dict(), folder / "model.safetensors")
    stated = {"mean": [0.1, 0.2, 0.3], "std": [0.5] * 3, "input_size": [3, 32, 32]}
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 3,
        "model_args": settings,
        "label_names": ["ant", "bee", "wasp"],
        "pretrained_cfg": stated,
    }
    (folder / "config.json").write_text(json.dumps(config | more))
    return net


@torch.no_grad()
def test_a_clone_of_a_folder_of_timm(folder):
    net = timm_folder(folder)
    for path in (folder, folder / "model.safetensors"):
        bundle = zoo.load(path)
        images = torch.randn(2, 3, 32, 32)
        assert torch.allclose(bundle.net(images), net(images), atol=1e-5)
        assert bundle.classes == ["ant", "bee", "wasp"] and bundle.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"architecture": "local-dir:/etc"}, "does not have"),
        ({"architecture": "hf-hub:me/evil"}, "does not have"),
        ({"num_classes": 10**12}, "cannot be used"),
        ({"model_args": {"depth": 10**6}}, "no model|cannot be used"),
        ({"model_args": {"img_size": 31}}, "not those of its config|no model"),
    ],
)
def test_a_config_of_timm_names_no_place_and_no_size_without_bounds(folder, more, word):
    timm_folder(folder, **more)
    with pytest.raises(ModelRejected, match=word):
        zoo.load(folder)


def test_a_config_of_timm_sets_nothing_but_sizes(folder):
    """timm would fetch or read what `checkpoint_path` and `pretrained` say."""
    timm_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] |= {"checkpoint_path": "/etc/passwd", "pretrained": True}
    (folder / "config.json").write_text(json.dumps(config))
    assert zoo.load(folder).tokens.grid == (4, 4)


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
