"""LoRA adapters are merged into their base: a model that runs both side by side says the same."""

import importlib.util
import json
import os
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model import zoo
from model.errors import ModelNotFound, ModelRejected
from model.zoo import lora
from model.zoo.lora import AdapterConfig, merge_adapters, read_adapter_config
from model.zoo.uploads import lay_out
from tests.fuzz.hostile_weights import state_of_vit

hubs = [
    pytest.mark.hubs,
    pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers"),
    pytest.mark.filterwarnings("ignore"),
]
QUERY = "vit.encoder.layer.{}.attention.attention.query"
IN_MEMORY = "vit.layers.{}.attention.q_proj"  # as transformers 5 names it


def adapter_tensors(name: str, width: int = 32, rank: int = 2, root: str = "base_model.model."):
    """A change of every block's layer of this name, and a head of three classes."""
    torch.manual_seed(1)
    tensors = {}
    for block in range(2):
        layer = root + name.format(block)
        tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, width)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(width, rank)
    tensors[f"{root}classifier.weight"] = torch.randn(3, width)
    tensors[f"{root}classifier.bias"] = torch.randn(3)
    return tensors


def write_adapters(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    values = {"peft_type": "LORA", "lora_alpha": 8, "r": 2, "base_model_name_or_path": "me/base"}
    (folder / "adapter_config.json").write_text(json.dumps(values | config))
    return folder


class SideBySide(nn.Module):
    """A Linear with its change beside it, as peft runs them."""

    def __init__(self, layer, down, up, scale):
        super().__init__()
        self.layer, self.down, self.up, self.scale = layer, down, up, scale

    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.down.T) @ self.up.T


# The formula


@pytest.mark.parametrize("by_root", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_merged_layer_computes_what_both_compute_side_by_side(by_root, transposed):
    torch.manual_seed(0)
    layer, down, up = nn.Linear(6, 5), torch.randn(4, 6), torch.randn(5, 4)
    weight = layer.weight.detach()
    base = {"blocks.0.attn.qkv.weight": weight.T if transposed else weight}
    adapters = {"blocks.0.attn.qkv.lora_A.weight": down, "blocks.0.attn.qkv.lora_B.weight": up}
    config = AdapterConfig(alpha=3.0, by_root=by_root, transposed=transposed)
    merged, _ = merge_adapters("mine", base, adapters, config)
    found = merged["blocks.0.attn.qkv.weight"]
    x = torch.randn(7, 6)
    wanted = SideBySide(layer, down, up, 3.0 / (2.0 if by_root else 4.0))(x)
    found = found.T if transposed else found
    assert torch.allclose(nn.functional.linear(x, found, layer.bias), wanted, atol=1e-5)


def test_a_convolution_is_changed_as_two_convolutions_do():
    torch.manual_seed(0)
    conv, down, up = nn.Conv2d(3, 8, 4, 4), torch.randn(2, 3, 4, 4), torch.randn(8, 2, 1, 1)
    adapters = {"proj.lora_A.weight": down, "proj.lora_B.weight": up}
    merged, _ = merge_adapters(
        "mine", {"proj.weight": conv.weight.detach()}, adapters, AdapterConfig(2.0)
    )
    x = torch.randn(1, 3, 8, 8)
    beside = nn.functional.conv2d(nn.functional.conv2d(x, down, stride=4), up)
    found = nn.functional.conv2d(x, merged["proj.weight"], conv.bias, stride=4)
    assert torch.allclose(found, conv(x) + beside, atol=1e-4)


def test_dora_keeps_directions_and_sets_lengths():
    torch.manual_seed(0)
    weight, down, up = torch.randn(5, 6), torch.randn(2, 6), torch.randn(5, 2)
    lengths = torch.rand(5) + 1
    adapters = {
        "fc.lora_A.weight": down,
        "fc.lora_B.weight": up,
        "fc.lora_magnitude_vector": lengths,
    }
    merged, _ = merge_adapters("mine", {"fc.weight": weight}, adapters, AdapterConfig(2.0))
    found = merged["fc.weight"]
    assert torch.allclose(found.norm(dim=1), lengths, atol=1e-5)
    directions = nn.functional.cosine_similarity(found, weight + up @ down, dim=1)
    assert torch.allclose(directions, torch.ones(5), atol=1e-5)


def test_a_layer_s_own_alpha():
    config = AdapterConfig(alpha=8.0, alphas={"blocks.0.fc": 2.0})
    assert (config.scale("vit.blocks.0.fc", 4), config.scale("blocks.1.fc", 4)) == (0.5, 2.0)


# Opened


@pytest.fixture
def base(tmp_path):
    from tests.model.zoo.test_hugging_face_folder import save

    net = save(tmp_path / "base")
    return tmp_path / "base", net


def expected(net, tensors, name):
    """The base's own net with the adapters beside its queries, and the new head."""
    net.classifier = nn.Linear(32, 3)
    root = "base_model.model."
    with torch.no_grad():
        net.classifier.weight.copy_(tensors[f"{root}classifier.weight"])
        net.classifier.bias.copy_(tensors[f"{root}classifier.bias"])
    for block, layer in enumerate(net.vit.layers):
        stem = root + name.format(block)
        down, up = tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"]
        layer.attention.q_proj = SideBySide(layer.attention.q_proj, down, up, 8 / 2)
    return net


@pytest.mark.parametrize("name", [QUERY, IN_MEMORY], ids=["file's names", "names in memory"])
@pytest.mark.parametrize("way", ["argument", "same folder", "uploads", "file of the base"])
class TestOnItsBase:
    pytestmark = hubs

    @torch.no_grad()
    def test_it_answers_as_both_side_by_side(self, tmp_path, base, name, way):
        folder, net = base
        tensors = adapter_tensors(name)
        path = write_adapters(tmp_path / "adapters", tensors)
        given = {"base": folder}
        if way == "same folder":
            path, given = write_adapters(folder, tensors), {}
        elif way == "uploads":
            files = [*path.iterdir(), *folder.iterdir()]
            (tmp_path / "laid").mkdir()
            laid = lay_out([(f.name, f.read_bytes()) for f in files], tmp_path / "laid")
            path, given = laid.path, laid.given
        elif way == "file of the base":
            (folder / "model.safetensors").rename(tmp_path / "base.safetensors")
            given = {"base": tmp_path / "base.safetensors", "heads": 4}
        bundle = zoo.load(path, **given)
        images = torch.randn(2, 3, 32, 32)
        wanted = expected(net, tensors, name)(pixel_values=images).logits
        assert (bundle.net(images) - wanted).abs().max() < 1e-4 * wanted.abs().max()
        assert "rank 2 are merged into 2 of its layers" in bundle.card.note


@torch.no_grad()
def test_a_whole_model_of_peft_in_one_file(tmp_path):
    file, state = tmp_path / "mine.pt", state_of_vit()
    torch.manual_seed(0)
    layer = "blocks.0.attn.proj"
    width = len(state[f"{layer}.weight"])
    down, up = torch.randn(2, width), torch.randn(width, 2)
    whole = {f"base_model.model.{name}": tensor for name, tensor in state.items()}
    for kind in ("weight", "bias"):
        tensor = whole.pop(f"base_model.model.{layer}.{kind}")
        whole[f"base_model.model.{layer}.base_layer.{kind}"] = tensor
    whole[f"base_model.model.{layer}.lora_A.default.weight"] = down
    whole[f"base_model.model.{layer}.lora_B.default.weight"] = up
    torch.save({"state_dict": whole}, file)
    with pytest.raises(ModelRejected, match="lora_alpha="):
        zoo.load(file)
    bundle = zoo.load(file, lora_alpha=4)
    wanted = state[f"{layer}.weight"] + 2 * up @ down
    assert torch.allclose(bundle.net.state_dict()["blocks.0.attention.proj.weight"], wanted)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 4}))
    again = zoo.load(file).net.state_dict()
    assert torch.equal(again["blocks.0.attention.proj.weight"], wanted)


# Named


def test_without_the_base_it_is_named_with_the_way_out(tmp_path):
    folder = write_adapters(tmp_path / "mine", adapter_tensors(QUERY))
    for path in (folder, str(folder), folder / "adapter_model.safetensors"):
        with pytest.raises(ModelRejected, match=r"LoRA adapters.*base, me/base, too.*base="):
            zoo.load(path)
    with pytest.raises(ModelNotFound, match="no base"):
        zoo.load(folder, base=tmp_path / "nothing")
    with pytest.raises(ModelNotFound, match="no base"):
        zoo.load(folder, base="timm/vit_tiny_patch16_224")


def test_adapters_of_another_model(tmp_path):
    torch.save(state_of_vit(), tmp_path / "base.pt")
    folder = write_adapters(tmp_path / "mine", adapter_tensors("elsewhere.{}.fc"))
    with pytest.raises(ModelRejected, match=r"changes elsewhere.0.fc, which its base"):
        zoo.load(folder, base=tmp_path / "base.pt")
    folder = write_adapters(tmp_path / "mine", adapter_tensors("blocks.{}.attn.proj", width=999))
    with pytest.raises(ModelRejected, match="belong to another model"):
        zoo.load(folder, base=tmp_path / "base.pt")


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"alpha_pattern": {".*query": 3}}, "alpha_pattern"),
        ({"alpha_pattern": [3]}, "by which factor"),
        ({"lora_alpha": "much"}, "by which factor"),
        ({"lora_alpha": 1e6}, "by which factor"),
        ({"lora_alpha": 10**40}, "cannot be used"),
        ({"auto_map": {"AutoModel": "evil.py"}}, "program of its own"),
    ],
)
def test_a_config_that_is_not_merged(tmp_path, config, word):
    folder = write_adapters(tmp_path / "mine", adapter_tensors(QUERY), **config)
    with pytest.raises(ModelRejected, match=word) as caught:
        zoo.load(folder)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("x.lora_E.weight", "not merged here"),
        ("x.lora_A.other.weight", "2 adapters"),
        ("x.lora_B.weight", "one half"),
        ("x.lora_bias.weight", "one half|biases"),
    ],
)
def test_adapters_of_other_kinds(name, word):
    adapters = {"y.lora_A.default.weight": torch.ones(1, 2), name: torch.ones(2, 1)}
    adapters |= {"y.lora_B.default.weight": torch.ones(2, 1)}
    with pytest.raises(ModelRejected, match=word):
        merge_adapters("mine", {"y.weight": torch.ones(2, 2)}, adapters, AdapterConfig(1.0))


# Hostile


def test_the_base_s_name_is_shown_and_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(state_of_vit(), tmp_path / "secret.pt")
    folder = write_adapters(
        tmp_path / "mine", adapter_tensors(QUERY), base_model_name_or_path="secret.pt"
    )
    with pytest.raises(ModelRejected, match=r"Give their base, secret\.pt, too"):
        zoo.load(folder)
    write_adapters(folder, adapter_tensors(QUERY), base_model_name_or_path="../" * 5_000)
    assert len(read_adapter_config(folder / "adapter_config.json").base) <= 100


class Evil:
    def __reduce__(self):
        return os.system, ("echo ran",)


def test_a_pickle_of_adapters_is_read_as_any_stranger_s(tmp_path):
    folder = write_adapters(tmp_path / "mine", adapter_tensors(QUERY))
    tensors = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(state_of_vit(), tmp_path / "base.pt")
    events = []
    looking = True
    sys.addaudithook(lambda event, _: events.append(event) if looking else None)
    torch.save({**tensors, "x": Evil()}, folder / "adapter_model.bin")
    events.clear()
    with pytest.raises(ModelRejected, match="Nothing of it was run"):
        zoo.load(folder, base=tmp_path / "base.pt")
    looking = False
    assert not {"os.system", "subprocess.Popen", "exec", "pickle.find_class"} & set(events)


def test_ranks_and_shapes_are_bounded_before_they_are_multiplied():
    """Two thin tensors whose product would take petabytes."""
    thin = {"y.lora_A.weight": torch.ones(1, 50_000_000).expand(1, -1)}
    thin |= {"y.lora_B.weight": torch.ones(50_000_000, 1)}
    with pytest.raises(ModelRejected, match="belong to another model"):
        merge_adapters("mine", {"y.weight": torch.ones(2, 2)}, thin, AdapterConfig(1.0))
    deep = {"y.lora_A.weight": torch.ones(lora.MAX_RANK + 1, 2)}
    deep |= {"y.lora_B.weight": torch.ones(2, lora.MAX_RANK + 1)}
    with pytest.raises(ModelRejected, match="belong to another model"):
        merge_adapters("mine", {"y.weight": torch.ones(2, 2)}, deep, AdapterConfig(1.0))
