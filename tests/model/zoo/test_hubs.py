"""Models of torchvision, timm and Hugging Face: their own preprocessing, classes and tokens.

Nothing is downloaded: architectures are built with random weights, small ones are saved to disk
and opened from there, and a network that is missing is a sentence.
"""

import importlib.util
import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from model import AttentionRecorder, zoo
from model.analysis.head_measures import measure_layers
from model.analysis.token_order import random_order, shuffle_pixels
from model.attribution.gradients import token_gradcam
from model.attribution.trace import trace_class
from model.bundle import Bundle
from model.datasets import samples
from model.errors import ModelNotFound, ModelRejected
from model.nets.torchvision_cpu import ensure_operators
from model.recorded_image import record_image
from model.survey.head_survey import survey_heads
from model.vit import build
from model.zoo.hubs import fetching, first_tokens, hub_files
from tests.model.hub_cache import cache, use_cache

SHARED = Path(os.environ.get("SACCADE_SHARED", Path(__file__).parents[3].parent / "shared"))
REAL = SHARED / "weights" / "vit_tiny_patch16_224_imagenet1k.fp16.safetensors"

needs_timm = pytest.mark.skipif(not importlib.util.find_spec("timm"), reason="no timm")
needs_hf = pytest.mark.skipif(
    not importlib.util.find_spec("transformers"), reason="no transformers"
)


@pytest.fixture
def offline(monkeypatch):
    """A machine whose network is away; opening a connection is counted."""
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def check_tokens(bundle: Bundle) -> None:
    """The layout must account for every token that the first layer attends to."""
    with torch.inference_mode(), AttentionRecorder(bundle.net, layers=[0]) as recorder:
        out = bundle.net(bundle.prepare(samples.load("coffee")))
    assert out.ndim == 2
    if bundle.classes is not None:
        assert out.shape[1] == len(bundle.classes)
    assert recorder.records[0].shape[-1] == bundle.tokens.tokens


def check_preprocessing(bundle: Bundle, reference: torch.Tensor, photo: str) -> None:
    ours = bundle.prepare(samples.load(photo))
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() < 0.02  # a grey value of 256 is at least 0.008


# torchvision


@pytest.mark.hubs
@pytest.mark.parametrize(
    ("name", "grid", "prefix", "patch"),
    [
        ("vit_b_32", (7, 7), ("cls",), (32, 32)),
        ("swin_t", (56, 56), (), (4, 4)),
    ],
)
def test_torchvision(name, grid, prefix, patch):
    bundle = zoo.load(f"torchvision/{name}", weights="random")
    layout = bundle.tokens
    assert (layout.grid, layout.prefix, layout.patch) == (grid, prefix, patch)
    assert bundle.classes[:2] == ["tench", "goldfish"]
    assert not bundle.net.training
    from torchvision.models import get_model_weights

    theirs = get_model_weights(name).DEFAULT.transforms()
    check_preprocessing(bundle, theirs(samples.load("chelsea"))[None], "chelsea")
    if prefix:
        check_tokens(bundle)


def test_torchvision_names_are_checked():
    with pytest.raises(ModelNotFound, match="Did you mean “vit_b_16”"):
        zoo.load("torchvision/vit_b16")
    with pytest.raises(ModelNotFound, match="no model or weights “resnet18”"):
        zoo.load("torchvision/resnet18")
    with pytest.raises(ModelNotFound, match="Did you mean “IMAGENET1K_V1”"):
        zoo.load("torchvision/vit_b_16.IMAGENET1K_V7")


def test_torchvision_offline_names_the_file(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ModelNotFound, match=r"vit_b_16-\w+\.pth.*network once") as caught:
        zoo.load("torchvision/vit_b_16")
    assert "With random weights" in str(caught.value)
    assert list(tmp_path.rglob("*.pth")) == []


def test_a_damaged_download_of_torchvision_is_a_sentence(monkeypatch, tmp_path):
    ensure_operators()
    from torchvision.models import ViT_B_16_Weights

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    name = ViT_B_16_Weights.DEFAULT.url.rpartition("/")[2]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(b"not weights")
    with pytest.raises(ModelRejected, match=f"{name}.*damaged"):
        zoo.load("torchvision/vit_b_16")


# timm


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("name", "grid", "prefix"),
    [
        ("test_vit", (10, 10), ("cls",)),
        ("deit_tiny_distilled_patch16_224", (14, 14), ("cls", "dist")),
        ("vit_dwee_patch16_reg1_gap_256", (16, 16), ("reg0",)),
        ("vit_relpos_small_patch16_224", (14, 14), ()),
        ("eva02_tiny_patch14_224", (16, 16), ("cls",)),
        ("vit_small_patch16_dinov3", (16, 16), ("cls", "reg0", "reg1", "reg2", "reg3")),
    ],
)
def test_timm(name, grid, prefix):
    bundle = zoo.load(f"timm/{name}", weights="random")
    assert (bundle.tokens.grid, bundle.tokens.prefix) == (grid, prefix)
    assert bundle.tokens.image_size == bundle.image_size
    check_tokens(bundle)


@pytest.mark.hubs
@needs_timm
def test_a_class_token_and_a_distillation_token_in_one_parameter():
    tokens = zoo.load("timm/pit_ti_distilled_224", weights="random").tokens
    assert (tokens.grid, tokens.prefix) == ((27, 27), ("cls", "dist"))


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize("photo", ["chelsea", "astronaut"])
def test_timm_s_own_preprocessing_and_classes(photo):
    bundle = zoo.load("timm/test_vit", weights="random")
    import timm

    rule = timm.data.resolve_data_config(pretrained_cfg=bundle.net.pretrained_cfg)
    reference = timm.data.create_transform(**rule)(samples.load(photo))
    check_preprocessing(bundle, reference[None], photo)
    assert bundle.classes[:2] == ["tench", "goldfish"]
    assert len(set(bundle.classes)) == 1000
    assert [bundle.classes[i] for i in (134, 517)] == ["crane (134)", "crane (517)"]
    assert [bundle.classes[i] for i in (638, 639)] == ["maillot", "maillot, tank suit"]
    assert bundle.card.licence == "apache-2.0"


@pytest.mark.hubs
@needs_timm
def test_windowed_models_of_timm():
    bundle = zoo.load("timm/swin_tiny_patch4_window7_224", weights="random")
    assert (bundle.tokens.grid, bundle.tokens.prefix) == ((56, 56), ())


PIT = {(27, 27), (14, 14), (7, 7)}


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("name", "kind", "grid", "prefix", "stages"),
    [
        (
            "pit_ti_224",
            "PoolingVisionTransformer",
            (27, 27),
            ("cls",),
            {(27, 27), (14, 14), (7, 7)},
        ),
        ("levit_128s", "LevitDistilled", (14, 14), (), {(14, 14), (7, 7), (4, 4)}),
        pytest.param(
            "crossvit_tiny_240",
            "CrossVit",
            (20, 20),
            ("cls",),
            {(20, 20), (14, 14)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "samvit_base_patch16_224",
            "VisionTransformerSAM",
            (14, 14),
            (),
            {(14, 14)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "tiny_vit_5m_224",
            "TinyVit",
            (28, 28),
            (),
            {(28, 28), (14, 14), (7, 7)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "visformer_tiny", "Visformer", (14, 14), (), {(14, 14), (7, 7)}, marks=pytest.mark.slow
        ),
        ("convit_tiny", "ConVit", (14, 14), ("cls",), {(14, 14)}),
        pytest.param(
            "tnt_s_legacy_patch16_224",
            "TNT",
            (14, 14),
            ("cls",),
            {(14, 14), (56, 56)},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_timm_s_other_families_with_each_stage_s_grid(name, kind, grid, prefix, stages):
    bundle = zoo.load(f"timm/{name}", weights="random")
    assert type(bundle.net).__name__ == kind
    assert (bundle.tokens.grid, bundle.tokens.prefix) == (grid, prefix)
    recorded = record_image(bundle, samples.load("coffee"))
    assert {layer.tokens.grid for layer in recorded.layers} == stages
    maps = recorded.maps(0, recorded.layers[0].tokens.tokens // 2)
    for layer, tokens in enumerate(recorded.layers):
        drawn = recorded.layer_maps(layer, tokens.tokens.tokens // 2)
        assert drawn.shape[1:] == tokens.tokens.grid
        assert (drawn.sum((1, 2)) < 1 + 1e-4).all() and (drawn.sum((1, 2)) > 0.2).all()
    assert maps.shape[2:] == max(stages)
    measures = measure_layers(recorded.records, bundle.tokens)
    assert measures["entropy"].shape == (len(recorded.layers), recorded.heads)
    *_, surveyed = survey_heads(bundle, [samples.load("coffee"), samples.load("chelsea")])
    assert surveyed.mean()["entropy"].shape == measures["entropy"].shape
    named = recorded.layers[0].tokens.prefix
    shares = recorded.prefix_shares(0, 0)
    assert shares.shape == (len(recorded.layers), recorded.heads, len(named))
    if named:
        row = recorded.records[0].weights(queries=[0])[0, :, 0, 0]
        np.testing.assert_allclose(shares[0, : len(row), 0], row, atol=1e-6)
    trace = trace_class(bundle.net, bundle.prepare(samples.load("coffee")), bundle.tokens, 1)
    assert token_gradcam(trace).shape == (1, *grid)


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("test_vit@80x48", (5, 3)),
        ("vit_tiny_patch16_224@160x256", (10, 16)),
        ("pit_ti_224@256x128", (31, 15)),
        ("swin_tiny_patch4_window7_224@192x320", (48, 80)),
        ("visformer_tiny@192", (12, 12)),
    ],
)
def test_pictures_of_another_size_and_aspect(name, grid):
    bundle = zoo.load(f"timm/{name}", weights="random")
    assert bundle.tokens.grid == grid
    assert (
        bundle.name
        == f"timm/{name if 'x' in name.partition('@')[2] else name + 'x192'} (random weights)"
    )
    recorded = record_image(bundle, samples.load("coffee"))
    assert recorded.layers[0].tokens.grid == grid
    size = tuple(int(side) for side in bundle.name.partition("@")[2].split(" ")[0].split("x"))
    assert bundle.image_size == size
    plain, _, _ = name.partition("@")
    given = zoo.load(f"timm/{plain}", weights="random", img_size=size)
    assert given.name == bundle.name


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("test_vit@33x50", "does not take pictures of 33 x 50"),
        ("test_vit@9000x16", "at most 2,048 pixels"),
        ("test_vit@big", "is no size of pictures"),
        ("xcit_nano_12_p16_224", r"no layer of it.*cls_attn_blocks.0.attn.*weighs channels"),
        pytest.param("halonet26t", "cannot be shown.*folded into it", marks=pytest.mark.slow),
    ],
)
def test_what_timm_cannot_show_is_a_true_sentence(name, sentence):
    with pytest.raises(ModelRejected, match=sentence):
        zoo.load(f"timm/{name}", weights="random")


@pytest.mark.hubs
@needs_timm
def test_random_weights_are_the_same_each_time():
    first, second = (zoo.load("timm/test_vit", weights="random") for _ in range(2))
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.hubs
@needs_timm
def test_timm_names_are_checked():
    with pytest.raises(ModelNotFound, match="Did you mean “vit_tiny_patch16_224”"):
        zoo.load("timm/vit_tiny_patch16_223")
    for weights in ("nonsense", ""):
        with pytest.raises(ModelNotFound, match=f"“{weights}”"):
            zoo.load(f"timm/vit_tiny_patch16_224.{weights}")
    with pytest.raises(ModelNotFound, match="no weights for vit_base_patch16_18x2_224"):
        zoo.load("timm/vit_base_patch16_18x2_224")
    with pytest.raises(ModelRejected, match="No attention was seen in ResNet"):
        zoo.load("timm/resnet18", weights="random")


@pytest.mark.hubs
@needs_timm
def test_a_model_too_large_takes_no_memory():
    with pytest.raises(ModelRejected, match="6,716 million parameters"):
        zoo.load("timm/vit_7b_patch16_dinov3", weights="random")


@pytest.mark.hubs
@needs_timm
def test_timm_offline_names_the_file_at_once(offline, tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    with pytest.raises(ModelNotFound, match=r"file model\.safetensors of timm/test_vit"):
        zoo.load("timm/test_vit")
    assert len(offline) < 4  # not the library's minutes of trying again


@pytest.mark.hubs
@needs_timm
@pytest.mark.skipif(not REAL.exists(), reason="no shared weights")
def test_timm_with_real_weights_knows_the_photos(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: str(REAL))
    bundle = zoo.load("timm/vit_tiny_patch16_224")
    assert bundle.mean == (0.5, 0.5, 0.5)
    for photo, right in [("chelsea", "Egyptian cat"), ("coffee", "espresso")]:
        with torch.inference_mode():
            logits = bundle.net(bundle.prepare(samples.load(photo)))[0]
        assert right in [bundle.classes[i] for i in logits.topk(5).indices]


@pytest.mark.hubs
@needs_timm
def test_a_damaged_download_of_timm_is_a_sentence(monkeypatch, tmp_path):
    import huggingface_hub

    file = tmp_path / "model.safetensors"
    file.write_bytes(b"\xff" * 100)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: str(file))
    with pytest.raises(ModelRejected, match="cannot be used"):
        zoo.load("timm/test_vit")


# Hugging Face

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}


def hf_config(kind: str, **more):
    ensure_operators()  # transformers imports torchvision
    import transformers

    return getattr(transformers, kind)(**SIZES, **more)


def publish(config, processor=None, model_class=None, name: str = "org/tiny") -> torch.nn.Module:
    """Keep a small random model in the hub's cache, its files in a folder of its name."""
    import transformers

    torch.manual_seed(1)
    auto = model_class or transformers.AutoModelForImageClassification
    if model_class is None:
        config.architectures = [kind_of(config)]
    net = auto.from_config(config) if hasattr(auto, "from_config") else auto(config)
    net.save_pretrained(name)
    (processor or transformers.ViTImageProcessor(size={"height": 32, "width": 32})).save_pretrained(
        name
    )
    cache(Path(name))
    return net.eval()


def kind_of(config) -> str:
    return type(config).__name__.replace("Config", "ForImageClassification")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_cache(monkeypatch, tmp_path)
    return tmp_path


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_names_of_classes_go_by_their_numbers_however_the_file_orders_them(shelf, offline):
    labels = {number: f"class {number}" for number in range(12)}
    publish(hf_config("ViTConfig", id2label=labels, label2id={}))
    file = shelf / "org" / "tiny" / "config.json"
    config = json.loads(file.read_text())
    config["id2label"] = dict(sorted(config["id2label"].items()))  # "0", "1", "10", "11", "2", ...
    file.write_text(json.dumps(config))
    assert zoo.load("hf/org/tiny").classes == list(labels.values())


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_names_of_classes_may_be_numbers(shelf, offline):
    publish(hf_config("ViTConfig", num_labels=2))
    file = shelf / "org" / "tiny" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id2label": {"0": 0, "1": 1.5}}))
    assert zoo.load("hf/org/tiny").classes == ["0", "1.5"]


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_patch_that_does_not_divide_the_picture_leaves_a_rim_out(shelf, offline):
    import transformers

    config = transformers.SiglipVisionConfig(**SIZES | {"image_size": 34})
    size = transformers.SiglipImageProcessor(size={"height": 34, "width": 34})
    publish(config, size, transformers.AutoModel)
    bundle = zoo.load("hf/org/tiny")
    assert (bundle.image_size, bundle.tokens.grid) == ((34, 34), (4, 4))
    photo = samples.load("rocket")
    assert bundle.frame(photo).size == tuple(round(32 / 34 * side) for side in photo.size)
    images = bundle.prepare(photo)
    moved = shuffle_pixels(images, bundle.tokens, random_order(16, 1))
    assert torch.equal(moved[..., 32:, :], images[..., 32:, :])
    assert torch.equal(moved.flatten().sort().values, images.flatten().sort().values)
    assert not torch.equal(moved, images)


@pytest.mark.hubs
@needs_hf
@pytest.mark.parametrize(
    ("kind", "more", "prefix"),
    [
        ("ViTConfig", {}, ("cls",)),
        ("DeiTConfig", {}, ("cls", "dist")),
        ("BeitConfig", {}, ("cls",)),
        ("Dinov2Config", {}, ("cls",)),
        ("Dinov2WithRegistersConfig", {"num_register_tokens": 2}, ("cls", "reg0", "reg1")),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_hugging_face_classifiers(shelf, offline, kind, more, prefix):
    labels = {0: "cat, house cat", 1: "dog", 2: "cup"}
    net = publish(hf_config(kind, id2label=labels, label2id={}, **more))
    bundle = zoo.load("hf/org/tiny")
    assert bundle.tokens.prefix == prefix
    assert (bundle.tokens.grid, bundle.tokens.patch) == ((4, 4), (8, 8))
    assert bundle.classes == ["cat", "dog", "cup"]
    assert bundle.mean == (0.5, 0.5, 0.5)
    check_tokens(bundle)
    images = bundle.prepare(samples.load("rocket"))
    with torch.inference_mode():
        assert torch.equal(bundle.net(images), net(pixel_values=images).logits)
    untrained = zoo.load("hf/org/tiny", weights="random")
    with torch.inference_mode():
        assert not torch.equal(untrained.net(images), bundle.net(images))


@pytest.mark.hubs
@needs_hf
@pytest.mark.parametrize(
    ("kind", "more"),
    [("Dinov2Config", {}), ("Dinov2WithRegistersConfig", {"num_register_tokens": 2})],
)
@pytest.mark.filterwarnings("ignore")
def test_dinov2_reads_the_class_token_beside_the_mean_of_the_patches(shelf, offline, kind, more):
    """Each by the length of its half of the class's weights."""
    net = publish(hf_config(kind, id2label={0: "cat", 1: "dog"}, label2id={}, **more))
    bundle = zoo.load("hf/org/tiny")
    halves = net.classifier.weight[1].detach().double().unflatten(0, (2, -1)).norm(dim=1)
    images = bundle.prepare(samples.load("rocket"))
    read = trace_class(bundle.net, images, bundle.tokens, 1).readout_weights[0].double()
    assert float(read[0]) == pytest.approx(float(halves[0] / halves.sum()), abs=1e-6)
    expected = (halves[1] / halves.sum() / 16).expand(16)
    torch.testing.assert_close(read[bundle.tokens.patch_slice], expected, atol=1e-6, rtol=0)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "prefix"), [("CLIP", ("cls",)), ("Siglip", ())])
def test_the_image_tower_of_a_model_of_images_and_text(shelf, family, prefix):
    import transformers

    text = {k: v for k, v in SIZES.items() if "size" not in k} | {
        "hidden_size": 32,
        "intermediate_size": 32,
        "vocab_size": 50,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = getattr(transformers, f"{family}Config")(vision_config=SIZES, text_config=text)
    publish(config, model_class=getattr(transformers, f"{family}Model"))
    bundle = zoo.load("hf/org/tiny")
    assert bundle.tokens.prefix == prefix
    assert bundle.classes is None
    check_tokens(bundle)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_model_without_a_head_has_no_classes(shelf):
    import transformers

    publish(hf_config("ViTConfig"), model_class=transformers.ViTModel)
    bundle = zoo.load("hf/org/tiny")
    assert bundle.classes is None
    check_tokens(bundle)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "resample": 3}),
        (
            "CLIPImageProcessor",
            {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}},
        ),
        (
            "DeiTImageProcessor",
            {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}},
        ),
        (
            "ViTImageProcessor",
            {"size": {"height": 32, "width": 32}, "do_normalize": False},
        ),
    ],
)
def test_hugging_face_s_own_preprocessing(shelf, kind, rule):
    import transformers

    processor = getattr(transformers, kind)(**rule)
    publish(hf_config("ViTConfig"), processor)
    bundle = zoo.load("hf/org/tiny")
    reference = processor(samples.load("chelsea"), return_tensors="pt")["pixel_values"]
    check_preprocessing(bundle, reference, "chelsea")


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_hugging_face_offline_names_the_file_at_once(shelf, offline):
    with pytest.raises(ModelNotFound, match=r"file config\.json of nobody/nothing"):
        zoo.load("hf/nobody/nothing")
    assert len(offline) < 4
    config = hf_config("ViTConfig")
    config.architectures = ["ViTForImageClassification"]
    config.save_pretrained("org/half")
    cache(Path("org/half"))
    with pytest.raises(ModelNotFound, match=r"preprocessor_config\.json of org/half"):
        zoo.load("hf/org/half")
    publish(config, name="org/half")
    (shelf / "org/half/model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"model\.safetensors of org/half"):
        zoo.load("hf/org/half")


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_hugging_face_files_that_do_not_work(shelf):
    publish(hf_config("ViTConfig"))
    (shelf / "org/tiny/model.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(ModelRejected, match="cannot be used"):
        zoo.load("hf/org/tiny")
    publish(hf_config("ViTConfig", num_labels=5), name="org/mixed")
    headless = publish(hf_config("ViTConfig"), model_class=_model("ViTModel"), name="org/other")
    assert headless
    os.replace("org/other/model.safetensors", "org/mixed/model.safetensors")
    with pytest.raises(ModelRejected, match="not those of its config"):
        zoo.load("hf/org/mixed")


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_masked_autoencoder_shows_every_patch_in_its_place(shelf, offline):
    net = publish(hf_config("ViTMAEConfig", mask_ratio=0.75), model_class=_model("ViTMAEModel"))
    bundle = zoo.load("hf/org/tiny")
    assert (bundle.tokens.grid, bundle.tokens.prefix) == ((4, 4), ("cls",))
    images = bundle.prepare(samples.load("rocket"))
    with torch.no_grad(), AttentionRecorder(bundle.net, layers=[0]) as recorder:
        bundle.net(images)
    # The first layer's keys by hand, from the patches in reading order.
    layer = net.encoder.layer[0] if hasattr(net, "encoder") else net.layers[0]
    patches = net.embeddings.patch_embeddings(images) + net.embeddings.position_embeddings[:, 1:]
    key = next(m for n, m in layer.named_modules() if n.endswith(("key", "k_proj")))
    norm = next(m for n, m in layer.named_modules() if n.endswith("layernorm_before"))
    keys = key(norm(patches)).unflatten(-1, (2, 16)).transpose(1, 2)
    torch.testing.assert_close(recorder.records[0].key[:, :, 1:], keys, atol=1e-5, rtol=0)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "prefix"), [("CLIP", ("cls",)), ("Siglip", ())])
def test_a_classifier_made_of_a_model_of_images_and_text(shelf, offline, family, prefix):
    import transformers

    text = {k: v for k, v in SIZES.items() if "size" not in k} | {
        "hidden_size": 32,
        "intermediate_size": 32,
        "vocab_size": 50,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = getattr(transformers, f"{family}Config")(
        vision_config=SIZES, text_config=text, id2label={0: "cat", 1: "dog"}, label2id={}
    )
    net = publish(config)
    bundle = zoo.load("hf/org/tiny")
    assert (bundle.tokens.prefix, bundle.classes) == (prefix, ["cat", "dog"])
    images = bundle.prepare(samples.load("rocket"))
    with torch.inference_mode():
        assert torch.equal(bundle.net(images), net(pixel_values=images).logits)
    check_tokens(bundle)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("channels", [1, 4, 12, 13])
def test_models_of_other_numbers_of_channels(shelf, offline, channels):
    publish(hf_config("ViTConfig", num_channels=channels))
    bundle = zoo.load("hf/org/tiny")
    images = bundle.prepare(samples.load("rocket"))
    assert images.shape == (1, channels, 32, 32)
    assert len(bundle.mean) == len(bundle.std) == channels
    recorded = record_image(bundle, samples.load("rocket"))
    assert recorded.layers[0].tokens.grid == (4, 4)
    pixels = torch.tensor(bundle.std[0]) * images[0] + bundle.mean[0]
    photo = torch.from_numpy(np.array(bundle.resize(samples.load("rocket")))) / 255
    if channels == 1:
        grey = np.array(bundle.resize(samples.load("rocket").convert("L"))) / 255
        assert np.abs(pixels[0].numpy() - grey).max() < 1e-5
    else:
        torch.testing.assert_close(pixels[:3], photo.movedim(-1, 0).float(), atol=1e-5, rtol=0)
        assert "channel" in bundle.card.note


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_model_without_a_preprocessor_opens_and_says_what_is_assumed(shelf, offline):
    publish(hf_config("ViTConfig"))
    (shelf / "org/tiny/preprocessor_config.json").unlink()
    cache(Path("org/tiny"), absent=("preprocessor_config.json",))
    bundle = zoo.load("hf/org/tiny")
    assert bundle.image_size == (32, 32) and bundle.mean == (0.5, 0.5, 0.5)
    assert "assumed" in bundle.card.note


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "more", "grid"),
    [("ViT", {}, (8, 4)), ("Dinov2", {}, (8, 4)), ("ViTMAE", {}, (8, 4)), ("Swin", {}, (16, 8))],
)
def test_pictures_of_another_size_for_hugging_face(shelf, offline, kind, more, grid):
    config = hf_config(f"{kind}Config", **more)
    if kind == "Swin":
        import transformers

        config = transformers.SwinConfig(
            image_size=32,
            patch_size=4,
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
        )
    publish(config, model_class=_model(f"{kind}Model"))
    bundle = zoo.load("hf/org/tiny@64x32")
    assert (bundle.tokens.grid, bundle.image_size) == (grid, (64, 32))
    assert record_image(bundle, samples.load("coffee")).layers[0].tokens.grid == grid


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_given_no_pictures_is_named(shelf, offline):
    import transformers

    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=50,
    )
    publish(config, model_class=transformers.BertModel)
    with pytest.raises(ModelRejected, match=r"kind “bert”, which is not given pictures"):
        zoo.load("hf/org/tiny")


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_random_weights_need_the_config_and_no_weights(shelf, offline):
    publish(hf_config("ViTConfig", id2label={0: "cat", 1: "dog"}, label2id={}))
    (shelf / "org/tiny/model.safetensors").unlink()
    bundle = zoo.load("hf/org/tiny", weights="random")
    assert bundle.classes == ["cat", "dog"]
    assert not offline
    with pytest.raises(ModelNotFound, match=r"config\.json of org/none.*config\.json all the same"):
        zoo.load("hf/org/none", weights="random")


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_local_folder_of_a_hub_s_name_is_never_looked_at(shelf, offline):
    publish(hf_config("ViTConfig"), name="org/secret")
    (shelf / "hub" / "models--org--secret" / "refs" / "main").unlink()
    with pytest.raises(ModelNotFound, match=r"config\.json of org/secret"):
        zoo.load("hf/org/secret")


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 10**12),
        ("num_hidden_layers", 10**6),
        ("num_attention_heads", -4),
        ("image_size", 10**9),
        ("num_channels", 10**9),
        ("num_register_tokens", 10**9),
        ("depths", [1000] * 1000),
        ("auto_map", {"AutoModel": "evil.Model"}),
    ],
)
def test_numbers_of_a_config_are_bounded_before_a_model_is_built(shelf, offline, key, value):
    publish(hf_config("ViTConfig"))
    file = shelf / "org" / "tiny" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    for weights in ("trained", "random"):
        with pytest.raises(ModelRejected, match=r"no model has|any model has|program of its own"):
            zoo.load("hf/org/tiny", weights=weights)


@pytest.mark.hubs
@needs_hf
def test_weights_too_large_for_saccade_or_the_disk_are_not_fetched(shelf, monkeypatch):
    import huggingface_hub

    def download(repository, file, dry_run=False):
        assert dry_run, "nothing may be fetched"
        return SimpleNamespace(file_size=size)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub_files, "is_reachable", lambda address: True)
    size = 5 * 10**9
    with pytest.raises(ModelRejected, match=r"5\.0 GB, where 4 GB are the limit"):
        hub_files.find_file("org/huge", "model.safetensors", "hf/org/huge")
    size = 10**9
    monkeypatch.setattr(hub_files.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(ModelRejected, match=r"the disk has 1\.00 GB left"):
        hub_files.find_file("org/huge", "model.safetensors", "hf/org/huge")


def _model(name: str):
    import transformers

    return getattr(transformers, name)


@pytest.mark.parametrize(
    "name", ["gpt2", "a/b/c", "../etc/passwd", "org/..", "a b/c", "a/b.", "a/b--c", "a/b\n"]
)
@needs_hf
def test_hugging_face_names_have_an_owner(name):
    with pytest.raises(ModelNotFound, match="hf/ORG/NAME"):
        zoo.load(f"hf/{name}")


# What is optional


@pytest.mark.parametrize(
    ("name", "package"), [("timm/test_vit", "timm"), ("hf/org/tiny", "transformers")]
)
def test_a_missing_package_is_a_sentence_with_the_pip_line(monkeypatch, name, package):
    def absent(wanted):
        assert wanted == package
        raise ImportError(wanted)

    monkeypatch.setattr(fetching.importlib, "import_module", absent)
    with pytest.raises(ModelNotFound, match=f"pip install {package}"):
        zoo.load(name)


class AsksForValues(nn.Module):
    """A net whose way depends on the numbers in a picture."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images + images.sum().item())


@pytest.mark.parametrize("asks", [False, True])
def test_shapes_alone_tell_what_a_pass_tells(monkeypatch, asks):
    """Of a large model nothing is computed to find its tokens."""
    net = build("vit", img_size=32, patch_size=8, dim=32, depth=1, heads=2).eval()
    net = AsksForValues(net) if asks else net
    passes = []
    record = first_tokens._record

    def counted(*given):
        passes.append(1)
        return record(*given)

    monkeypatch.setattr(first_tokens, "_record", counted)
    wanted = first_tokens.find_first_tokens("mine", net, (32, 32))
    monkeypatch.setattr(first_tokens, "LARGE", 0)
    assert first_tokens.find_first_tokens("mine", net, (32, 32)) == wanted
    assert len(passes) == 1 + asks
    assert all(parameter.device.type == "cpu" for parameter in net.parameters())
