"""The numbers of a layer on every family, against the modules' own outputs and by hand."""

import importlib.util
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.intervention.attention_reader import NO_PROJECTION, NO_SCORES
from model.intervention.block_reader import NO_MLP, NO_RESIDUAL
from model.intervention.graph_reader import UNEXPLAINED, read_layer
from model.nets.torchvision_cpu import ensure_operators
from model.recording.recorder import AttentionRecorder
from model.recording.windows import Windows
from tests.model.hub_cache import use_cache
from tests.model.hub_captioners import publish
from tests.model.recording import test_families as families
from tests.model.recording.test_families import CASES, Case, with_sharp_attention

WHOLE = {
    "torchvision vit_b_16",
    "torchvision swin_t",
    "timm vit",
    "timm deit distilled",
    "timm beit",
    "timm vit reg4 dinov2",
    "timm eva02",
    "timm vit rope (mixed)",
    "timm dinov3",
    "timm swin",
    "timm swin, fused",
    "Hugging Face ViT",
    "Hugging Face DeiT",
    "Hugging Face BEiT",
    "Hugging Face DINOv2 with registers",
    "Hugging Face CLIP vision",
    "Hugging Face BLIP vision",
    "Hugging Face SAM vision",
    "Hugging Face ViTDet",
    "OpenAI CLIP image tower",
    "OpenAI CLIP text tower",
    "nn.TransformerEncoder",
    "lucidrains vit-pytorch",
}
"""Families of which everything is found, from the token to the MLP."""
NO_MODULE = {"lucidrains vit-pytorch"}
"""Families without a module for a whole block."""
MODELS = [pytest.param(case, id=case.family.replace(" ", "-")) for case in CASES]


def one(case: Case, monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, Callable]:
    """The family's net, and what runs it on one image."""
    ensure_operators()
    pytest.importorskip(case.package)
    for name in ("IMAGES", "LARGER", "SEQUENCE", "MEMORY", "WORDS", "PADDING"):
        monkeypatch.setattr(families, name, getattr(families, name)[:1])
    torch.manual_seed(0)
    net = with_sharp_attention(case.build().eval())
    if case.run is families.show:
        return net, lambda: net(families.IMAGES[:1])
    return net, lambda: case.run(net)


def outputs_of(net: nn.Module, run: Callable) -> dict[str, list[Tensor]]:
    """Every tensor that each module returns first, by torch's own hooks."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, module in net.named_modules():

        def keep(_, given, output, name=name):
            first = output[0] if isinstance(output, tuple | list) else output
            if isinstance(first, Tensor):
                seen.setdefault(name, []).append(first)

        hooks.append(module.register_forward_hook(keep))
    with AttentionRecorder(net):  # fast paths round in another way
        run()
    for hook in hooks:
        hook.remove()
    return seen


def is_among(tokens: Tensor, windows: Windows | None, outputs: list[Tensor]) -> bool:
    """Whether tokens (N, D) are one of these outputs, whatever the arrangement."""
    forms = [tokens]
    if windows is not None:  # without what pads a window
        forms.append(windows.join(tokens.T.unflatten(1, (windows.count, windows.area))))
    return any(
        torch.allclose(output.flatten().sort().values, own.flatten().sort().values, atol=1e-6)
        for output in outputs
        for own in forms
        if output.numel() == own.numel()
    )


@pytest.mark.hubs
@pytest.mark.parametrize("case", MODELS)
@torch.no_grad()
def test_heads_and_projection_sum_to_the_modules_output(case, monkeypatch):
    net, run = one(case, monkeypatch)
    with AttentionRecorder(net) as recorder:
        run()
    outputs = outputs_of(net, run)
    names = list(dict.fromkeys(record.name for record in recorder.records))
    for layer, name in enumerate(names):
        numbers = read_layer(net, run, layer)
        assert numbers.record.name == name
        windows = numbers.record.windows
        parents = [".".join(name.split(".")[:depth]) for depth in range(name.count(".") + 2)]
        around = [t for parent in parents for t in outputs.get(parent, [])]
        beside = outputs.get(f"{parents[-2]}.output.dense", [])
        assert numbers.difference() < 1e-5
        assert is_among(numbers.projected, windows, around + beside)
        check_rows(numbers)
        if case.family in WHOLE:
            assert numbers.missing == []
            assert numbers.block_difference() < 1e-5
        if case.family in WHOLE - NO_MODULE:
            assert is_among(numbers.leaving, windows, around)


def check_rows(numbers) -> None:
    """The map that is made of queries, keys and bias is the recorded one."""
    batch, heads, queries, _ = numbers.record.shape
    for window in range(batch):
        for head in range(heads):
            rows = slice(window * queries, (window + 1) * queries)
            weights = numbers.record.weights(head)[window, 0].double()
            torch.testing.assert_close(numbers.rows(head, rows), weights, atol=1e-5, rtol=1e-5)


@pytest.mark.hubs
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["vit-gpt2", "blip"])
@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers")
@torch.no_grad()
def test_captioners_of_the_hub(kind, tmp_path, monkeypatch):
    from model import zoo

    use_cache(monkeypatch, tmp_path)
    publish(kind, tmp_path)
    net = zoo.load(f"hf/org/{kind}").net
    memory = net.encode_image(torch.randn(1, 3, 32, 32))
    words = torch.tensor([[1, 7, 8, 9]])
    run = lambda: net.teacher_force(memory, words)  # noqa: E731
    with AttentionRecorder(net) as recorder:
        run()
    kinds = []
    for layer, record in enumerate(recorder.records):
        numbers = read_layer(net, run, layer)
        assert numbers.record.name == record.name and numbers.missing == []
        assert numbers.changed == ""
        assert numbers.difference() < 1e-5
        assert numbers.entering is not None and numbers.mlp is not None
        if record.kind == "self":
            assert numbers.bias is not None and numbers.bias[..., 0, 1:].isneginf().all()
        else:
            assert numbers.block_difference() < 1e-5
            assert numbers.key.shape[1] == memory.shape[1]
        kinds.append(record.kind)
    assert set(kinds) == {"self", "cross"}


# -- models in which something cannot be found ----------------------------------------------------


class Attention(nn.Module):
    """An attention whose parts can be changed."""

    def __init__(self, project: Callable | None = None) -> None:
        super().__init__()
        self.num_heads = 3
        self.qkv, self.proj = nn.Linear(48, 144), nn.Linear(48, 48)
        self.project = project or (lambda x: self.qkv(x))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, 3, 16)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Net(nn.Module):
    def __init__(self, attention: nn.Module, residual: bool = True) -> None:
        super().__init__()
        self.attention, self.residual = attention, residual

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        attended = self.attention(tokens)
        return tokens + attended if self.residual else attended


TOKENS = torch.randn(1, 48, 3, 3, generator=torch.Generator().manual_seed(8))


def test_queries_from_no_linear_layer():
    weight = torch.randn(144, 48) / 7
    net = Net(Attention(lambda x: x @ weight.T)).eval()
    numbers = read_layer(net, TOKENS)
    assert numbers.missing[:1] == [NO_PROJECTION] and NO_MLP in numbers.missing
    assert numbers.query.shape == (3, 9, 16) and numbers.asking is None
    assert numbers.difference() < 1e-5
    torch.testing.assert_close(numbers.entering, TOKENS[0].flatten(1).T)


def test_without_residual_the_numbers_end_with_the_attention():
    numbers = read_layer(Net(Attention(), residual=False).eval(), TOKENS)
    assert numbers.missing == [NO_RESIDUAL]
    assert numbers.projected.shape == (9, 48) and numbers.leaving is None


def test_a_map_that_queries_and_keys_do_not_make():
    """Cosine attention with a temperature for each head: nothing is claimed of its scores."""
    case = next(case for case in CASES if case.family == "timm swinv2")
    with pytest.MonkeyPatch.context() as patch:
        net, run = one(case, patch)
        numbers = read_layer(net, run, 0)
    assert numbers.missing == [NO_SCORES]
    assert numbers.query is None and numbers.value is not None
    assert numbers.difference() < 1e-5


class Doubled(Attention):
    """Its heads are doubled by a call that nobody can follow to a number."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 3, 16)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        with torch.no_grad():
            mixed.numpy()[:] *= 2
        return self.proj(mixed.transpose(1, 2).flatten(2))


def test_what_is_not_understood_is_measured_and_admitted():
    numbers = read_layer(Net(Doubled()).eval(), TOKENS)
    assert numbers.difference() > 1e-3
    assert UNEXPLAINED.format(numbers.difference()) in numbers.missing
